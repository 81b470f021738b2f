import { X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import { TEXTS } from './texts.ts';

/** What the certificate of a client says, as far as it was verified when hands were shaken. */
export interface ShownCertificate {
  /** `cert:…`, as rules name it. */
  readonly name: string;
  /** When it, or one of its authorities, ends; by the wall clock. */
  readonly endsAt: number;
  /** SHA-256 of its authorities as Node writes it, the nearest first. */
  readonly authorities: readonly string[];
}

/** The certificate says nothing here. */
export class CertificateError extends Error {
  override readonly name = 'CertificateError';
}

const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2';
/** More than any authority signs in a row. */
const MAX_CHAIN = 16;
/** In Node's text of all names none has a comma: one that has is written as JSON, with an escape in its place. */
const URI_NAME = /(?:^|, )URI:([^,]*)/;
const URI = /^[a-z][a-z0-9+.-]{0,31}:[\w.~:/?#[\]@!$&'()*+;=%-]{1,200}$/;
/** Without a colon: no common name can be taken for a URI. */
const COMMON_NAME = /^[\p{L}\p{N}][\p{L}\p{N}._@+/-]{0,199}$/u;

/** `undefined` where none was shown. Throws a `CertificateError` for one that does not count. */
export function readShownCertificate(socket: TLSSocket): ShownCertificate | undefined {
  const leaf = socket.getPeerX509Certificate();
  if (!leaf) return undefined;
  if (!socket.authorized) {
    throw new CertificateError(TEXTS.notVerified({ code: String(socket.authorizationError) }));
  }
  // None at all where the certificate has no such extension.
  if (!new Set<string>(leaf.keyUsage).has(CLIENT_AUTH))
    throw new CertificateError(TEXTS.notOfClients);
  const chain = chainOf(socket);
  return {
    name: `cert:${nameOf(leaf)}`,
    endsAt: Math.min(...chain.map(({ validToDate }) => validToDate.getTime())),
    authorities: chain.slice(1).map(({ fingerprint256 }) => fingerprint256),
  };
}

interface Link {
  readonly raw: Buffer;
  /** A root's is itself. */
  readonly issuerCertificate?: Link;
}

/** The certificate with those that it was verified by, up to a root. */
function chainOf(socket: TLSSocket): readonly X509Certificate[] {
  const chain: X509Certificate[] = [];
  let next: Link = socket.getPeerCertificate(true);
  for (let count = 0; count < MAX_CHAIN; count += 1) {
    chain.push(new X509Certificate(next.raw));
    const { issuerCertificate: issuer } = next;
    if (!issuer || issuer.raw.equals(next.raw)) break;
    next = issuer;
  }
  return chain;
}

/** The first name that is a URI, else the common name; other characters in it than names have are a fault. */
function nameOf(leaf: X509Certificate): string {
  const [, uri] = URI_NAME.exec(leaf.subjectAltName ?? '') ?? [];
  if (uri !== undefined) {
    if (URI.test(uri)) return uri;
    throw new CertificateError(TEXTS.nameUnusable);
  }
  // By the structure of the certificate; several are a list.
  const { CN: name } = leaf.toLegacyObject().subject as { readonly CN?: unknown };
  if (typeof name === 'string' && COMMON_NAME.test(name)) return name;
  throw new CertificateError(name === undefined ? TEXTS.nameless : TEXTS.nameUnusable);
}
