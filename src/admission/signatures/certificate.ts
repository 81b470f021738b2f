import { ASN1Obj, X509Certificate } from '@sigstore/core';
import { X509Certificate as NodeCertificate } from 'node:crypto';
import { refuse } from './refused.ts';
import { TEXTS } from './texts.ts';

/** Who holds a certificate, and who knew them. */
export interface Identity {
  readonly identity: string;
  readonly issuer: string;
}

const ALTERNATIVE_NAMES = '2.5.29.17';
const ISSUER = '1.3.6.1.4.1.57264.1.8';
const ISSUER_OF_OLD = '1.3.6.1.4.1.57264.1.1';
const CODE_SIGNING = '1.3.6.1.5.5.7.3.3';
const EMAIL = 1;
const ADDRESS = 6;

/**
 * Who holds a certificate by its one name, an address or an e-mail. The library reads names by their lowest
 * seven bits and takes the first of several: here a name is ASCII, and the only one. Throws `Refused`.
 * @see https://github.com/sigstore/fulcio/blob/main/docs/oid-info.md
 */
export function readIdentity(der: Buffer<ArrayBuffer>): Identity {
  // The extended usage is what Node calls the usage.
  if (!asList(new NodeCertificate(der).keyUsage).includes(CODE_SIGNING)) {
    throw refuse('certificate', { why: TEXTS.notForCode });
  }
  const certificate = X509Certificate.parse(der);
  const names = certificate.extension(ALTERNATIVE_NAMES)?.valueObj.subs[0]?.subs ?? [];
  const [name] = names;
  const isNamed = name?.tag.isContextSpecific(EMAIL) || name?.tag.isContextSpecific(ADDRESS);
  if (!name || !isNamed || names.length !== 1) throw refuse('certificate', { why: TEXTS.names });
  return { identity: decode(name.value), issuer: readIssuer(certificate) };
}

function readIssuer(certificate: X509Certificate): string {
  const value = certificate.extension(ISSUER)?.value;
  // One is a text within the value, the other one the value itself.
  if (value) return decode(ASN1Obj.parseBuffer(Buffer.from(value)).value);
  const old = certificate.extension(ISSUER_OF_OLD)?.value;
  if (old) return decode(old);
  throw refuse('certificate', { why: TEXTS.noIssuer });
}

function asList(usage: unknown): readonly unknown[] {
  return Array.isArray(usage) ? usage : [];
}

function decode(bytes: Uint8Array): string {
  const text = Buffer.from(bytes).toString('latin1');
  if (/^[\x21-\x7e]+$/.test(text)) return text;
  throw refuse('certificate', { why: TEXTS.notText });
}
