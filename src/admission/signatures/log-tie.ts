import type { Bundle } from '@sigstore/bundle';
import { createPublicKey, X509Certificate, type KeyObject } from 'node:crypto';
import { refuse } from './refused.ts';
import { asBytes, asObject, parseStrictObject } from './strict-json.ts';
import { TEXTS } from './texts.ts';

type Entry = Bundle['verificationMaterial']['tlogEntries'][number];
type Json = Readonly<Record<string, unknown>>;

/** What made a signature: a certificate by its bytes, or a key. */
export type Maker = { readonly certificate: Buffer } | { readonly key: KeyObject };

const MAX_BODY = 2 ** 20;

/**
 * Throws `Refused` unless an entry of a log names the certificate or key that made the signature: the library
 * compares the signature and what it is of, and an entry of somebody else would do for it.
 */
export function checkTie(entry: Entry, maker: Maker): void {
  const named = readVerifier(entry);
  const isSame =
    'certificate' in maker
      ? 'certificate' in named && named.certificate.equals(maker.certificate)
      : 'key' in named && named.key.equals(maker.key);
  if (!isSame) throw refuse('log-tie', { why: TEXTS.otherKey });
}

function readVerifier({ canonicalizedBody }: Entry): Maker {
  const { kind, apiVersion, spec } = parseStrictObject(canonicalizedBody, 'body', MAX_BODY);
  const within = asObject(spec, 'spec');
  switch (`${String(kind)} ${String(apiVersion)}`) {
    case 'hashedrekord 0.0.1':
      return fromPem(at(at(within, 'signature'), 'publicKey')['content']);
    case 'dsse 0.0.1':
      return fromPem(first(within['signatures'])['verifier']);
    case 'intoto 0.0.2':
      return fromPem(first(at(at(within, 'content'), 'envelope')['signatures'])['publicKey']);
    case 'hashedrekord 0.0.2':
      return fromDer(at(at(at(within, 'hashedRekordV002'), 'signature'), 'verifier'));
    case 'dsse 0.0.2':
      return fromDer(at(first(at(within, 'dsseV002')['signatures']), 'verifier'));
    default:
      throw refuse('log-tie', { why: TEXTS.unknownKind });
  }
}

function fromPem(value: unknown): Maker {
  const pem = asBytes(value, 'publicKey').toString('latin1');
  if (!pem.includes('-----BEGIN CERTIFICATE-----')) return { key: createPublicKey(pem) };
  return { certificate: new X509Certificate(pem).raw };
}

function fromDer({ publicKey, x509Certificate }: Json): Maker {
  if (x509Certificate !== undefined) {
    return {
      certificate: asBytes(asObject(x509Certificate, 'certificate')['rawBytes'], 'rawBytes'),
    };
  }
  const key = asBytes(asObject(publicKey, 'publicKey')['rawBytes'], 'rawBytes');
  return { key: createPublicKey({ key, format: 'der', type: 'spki' }) };
}

function at(json: Json, name: string): Json {
  return asObject(json[name], name);
}

function first(list: unknown): Json {
  return asObject(Array.isArray(list) ? (list as unknown[])[0] : undefined, 'signatures[0]');
}
