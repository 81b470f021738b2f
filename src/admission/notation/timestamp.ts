import { ASN1Obj } from '@sigstore/core';
import { hash, verify } from 'node:crypto';
import { Refused } from '../signatures/refused.ts';
import { Certificate } from './certificate.ts';
import { checkChain } from './chain.ts';
import { refuse } from './refuse.ts';
import { TEXTS } from './texts.ts';

/** Between these a clock saw a signature, milliseconds since 1970. */
export interface Span {
  readonly from: number;
  readonly until: number;
}

/** What stands in it is read again and again, each level by the one above. */
const MAX_BYTES = 2 ** 15;
const MAX_CERTIFICATES = 10;
const SIGNED_DATA = '1.2.840.113549.1.7.2';
const TIME = '1.2.840.113549.1.9.16.1.4';
const CONTENT_TYPE = '1.2.840.113549.1.9.3';
const MESSAGE_DIGEST = '1.2.840.113549.1.9.4';
const SIGNING_CERTIFICATE = '1.2.840.113549.1.9.16.2.47';
/** A clock that follows it and says nothing else is right to a second. */
const BASELINE_POLICY = '0.4.0.2023.1.1';
const SECOND_MS = 1_000;
const SET_TAG = 0x31;
const HASHES: Readonly<Record<string, string>> = {
  '2.16.840.1.101.3.4.2.1': 'sha256',
  '2.16.840.1.101.3.4.2.2': 'sha384',
  '2.16.840.1.101.3.4.2.3': 'sha512',
};

/**
 * When a clock saw a signature: the token is of that signature, signed by the one certificate that it names,
 * which is for nothing else, and which leads to one of the roots. At most 32 KiB and 10 certificates. Throws
 * `Refused`.
 * @see https://www.rfc-editor.org/rfc/rfc3161
 * @see https://www.rfc-editor.org/rfc/rfc5816
 */
export function readTimestamp(
  token: Buffer,
  signature: Uint8Array,
  roots: readonly Certificate[],
): Span {
  if (roots.length === 0) throw fault(TEXTS.noClocks);
  if (token.length > MAX_BYTES) throw refuse('too-large', { most: MAX_BYTES });
  try {
    return verifyToken(token, signature, roots);
  } catch (error) {
    throw error instanceof Refused ? error : fault((error as Error).message);
  }
}

function verifyToken(token: Buffer, signature: Uint8Array, roots: readonly Certificate[]): Span {
  const [type, wrapped] = ASN1Obj.parseBuffer(Buffer.from(token)).subs;
  const data = wrapped?.subs[0]?.subs ?? [];
  const [contentType, content] = data[2]?.subs ?? [];
  const info = content?.subs[0]?.value;
  const signers = data.at(-1)?.subs ?? [];
  const [signer] = signers;
  const isToken = type?.toOID() === SIGNED_DATA && contentType?.toOID() === TIME;
  if (!isToken || !info || !signer || signers.length !== 1) throw fault(TEXTS.notAToken);
  const certificates = data.find(({ tag }) => tag.isContextSpecific(0))?.subs ?? [];
  if (certificates.length > MAX_CERTIFICATES) {
    throw fault(TEXTS.tooMany({ what: 'certificates', most: MAX_CERTIFICATES }));
  }
  const known = certificates.map((each) => new Certificate(Buffer.from(each.toDER())));
  const leaf = checkSigner(signer, info, known);
  const span = readInfo(info, signature);
  const chain = chainOf(leaf, known, roots);
  checkChain(chain, 'timestamps');
  for (const { name, from, until } of chain) {
    const why = faultOfTime({ from, until }, span);
    if (why !== undefined) throw refuse('validity', { name, why });
  }
  return span;
}

/** Why something was not valid all that time; `undefined`: it was. */
export function faultOfTime({ from, until }: Span, at: Span): string | undefined {
  if (at.from < from) return TEXTS.notYet({ at: new Date(from).toISOString() });
  return at.until > until ? TEXTS.noLonger({ at: new Date(until).toISOString() }) : undefined;
}

/** The certificate of who signed the content. */
function checkSigner({ subs }: ASN1Obj, info: Buffer, known: readonly Certificate[]): Certificate {
  const [, id, hashAlgorithm, signed, , signature] = subs;
  const [issuer, serial] = id?.subs ?? [];
  const leaf = known.find((each) => issuer && serial && each.isCalled(issuer.value, serial.value));
  if (!leaf || !signed?.tag.isContextSpecific(0) || !signature) throw fault(TEXTS.otherSigner);
  const name = hashOf(hashAlgorithm);
  const attributes = new Map(signed.subs.map((each) => [each.subs[0]?.toOID(), each.subs[1]]));
  const type = attributes.get(CONTENT_TYPE)?.subs[0]?.toOID();
  const digest = attributes.get(MESSAGE_DIGEST)?.subs[0]?.value;
  if (attributes.size !== signed.subs.length || type !== TIME) throw fault(TEXTS.notAToken);
  if (!digest?.equals(hash(name, info, 'buffer'))) throw fault(TEXTS.notByClock);
  // Whose certificate it is stands under the signature: another one of the same key is another clock.
  const [named] = attributes.get(SIGNING_CERTIFICATE)?.subs[0]?.subs[0]?.subs ?? [];
  if (!isNamed(named, leaf)) throw fault(TEXTS.otherSigner);
  const asSigned = Buffer.concat([header(SET_TAG, signed.value.length), signed.value]);
  if (!verify(name, asSigned, leaf.key, signature.value)) throw fault(TEXTS.notByClock);
  return leaf;
}

/** By its hash, SHA-256 unless another one is named. */
function isNamed(named: ASN1Obj | undefined, { der }: Certificate): boolean {
  const [first, second] = named?.subs ?? [];
  const isPlain = first?.tag.isOctetString() === true;
  const digest = isPlain ? first : second;
  const name = isPlain ? 'sha256' : hashOf(first);
  return digest?.value.equals(hash(name, der, 'buffer')) === true;
}

function readInfo(info: Buffer, signature: Uint8Array): Span {
  const [version, policy, imprint, , time, accuracy] = ASN1Obj.parseBuffer(Buffer.from(info)).subs;
  if (Number(version?.toInteger()) !== 1 || !time) throw fault(TEXTS.notAToken);
  const [algorithm, digest] = imprint?.subs ?? [];
  if (!digest?.value.equals(hash(hashOf(algorithm), signature, 'buffer'))) {
    throw fault(TEXTS.otherStamped);
  }
  const at = time.toDate().getTime();
  if (Number.isNaN(at)) throw fault(TEXTS.notAToken);
  const off = accuracyMs(accuracy) ?? (policy?.toOID() === BASELINE_POLICY ? SECOND_MS : 0);
  return { from: at - off, until: at + off };
}

/** Parts of a second count as a whole one. */
function accuracyMs(accuracy: ASN1Obj | undefined): number | undefined {
  if (!accuracy?.tag.isUniversal() || !accuracy.tag.constructed) return undefined;
  const seconds = accuracy.subs.map((each) =>
    each.tag.isInteger() ? Number(each.toInteger()) : 1,
  );
  return seconds.reduce((sum, each) => sum + each, 0) * SECOND_MS;
}

/** Up to a root that is trusted. What the token brings besides is left alone. */
function chainOf(
  leaf: Certificate,
  known: readonly Certificate[],
  roots: readonly Certificate[],
): readonly [Certificate, ...Certificate[]] {
  const chain: [Certificate, ...Certificate[]] = [leaf];
  let last = leaf;
  while (chain.length < MAX_CERTIFICATES) {
    const root = roots.find((each) => last.isIssuedBy(each));
    if (root) return [...chain, root];
    const next = known.find((each) => !chain.includes(each) && last.isIssuedBy(each));
    if (!next) break;
    chain.push(next);
    last = next;
  }
  throw fault(TEXTS.unknownClock);
}

function hashOf(algorithm: ASN1Obj | undefined): string {
  const name = HASHES[algorithm?.subs[0]?.toOID() ?? ''];
  if (name === undefined) throw fault(TEXTS.weakSignature);
  return name;
}

/** Of a value of less than 64 KiB in DER. */
function header(tag: number, length: number): Buffer {
  if (length < 0x80) return Buffer.from([tag, length]);
  if (length < 0x100) return Buffer.from([tag, 0x81, length]);
  return Buffer.from([tag, 0x82, length >> 8, length & 0xff]);
}

function fault(why: string): Error {
  return refuse('timestamp', { why });
}
