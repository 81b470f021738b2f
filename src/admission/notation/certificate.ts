import { X509Certificate as Structure, type ASN1Obj } from '@sigstore/core';
import { X509Certificate, type KeyObject } from 'node:crypto';
import { refuse } from './refuse.ts';
import { weaknessOf } from './signing-algorithm.ts';
import { formatSubject, readSubject, type Subject } from './subject.ts';
import { TEXTS } from './texts.ts';

/** The work on a name within a certificate grows with the square of its length. */
const MAX_BYTES = 2 ** 14;
const MAX_CHAIN = 10;
const PSS = '1.2.840.113549.1.1.10';
const SHA_2 = new Set(['1', '2', '3'].map((last) => `2.16.840.1.101.3.4.2.${last}`));
/** RSA, then ECDSA. */
const SIGNED_WITH_SHA_2 = new Set([
  ...['11', '12', '13'].map((last) => `1.2.840.113549.1.1.${last}`),
  ...['2', '3', '4'].map((last) => `1.2.840.10045.4.3.${last}`),
]);
const BASIC_CONSTRAINTS = '2.5.29.19';
const KEY_USAGE = '2.5.29.15';
const EXTENDED_USAGE = '2.5.29.37';

interface Extension {
  readonly isCritical: boolean;
  readonly content: ASN1Obj;
}

/**
 * A certificate of at most 16 KiB, without anything behind it and no extension twice. Of its extensions three
 * are looked at, as Notation has it. Who reads one throws `Refused`, or whatever a library throws.
 */
export class Certificate {
  readonly der: Buffer;
  readonly key: KeyObject;
  /** Milliseconds since 1970, both within its time. */
  readonly from: number;
  readonly until: number;
  readonly subject: Subject;
  readonly name: string;
  readonly serialNumber: Buffer;
  readonly #certificate: X509Certificate;
  readonly #structure: Structure;
  readonly #extensions: ReadonlyMap<string, Extension>;

  constructor(der: Buffer<ArrayBuffer>) {
    if (der.length > MAX_BYTES) {
      const why = TEXTS.tooMany({ what: 'bytes in a certificate', most: MAX_BYTES });
      throw refuse('malformed', { why });
    }
    this.#certificate = parse(der);
    this.der = der;
    this.#structure = Structure.parse(der);
    this.key = this.#certificate.publicKey;
    this.from = this.#certificate.validFromDate.getTime();
    this.until = this.#certificate.validToDate.getTime();
    // What cannot be compared would be valid at all times.
    if (Number.isNaN(this.from + this.until)) throw refuse('malformed', { why: TEXTS.noValidity });
    this.subject = readSubject(this.#structure.tbsCertificate);
    this.name = formatSubject(this.subject);
    this.serialNumber = this.#structure.serialNumber;
    this.#extensions = readExtensions(this.#structure.extensions);
  }

  /** Of an authority, and how many of them may stand between it and the last one. */
  get authority(): { readonly below: number } | undefined {
    const { isCritical, content } = this.#extensions.get(BASIC_CONSTRAINTS) ?? {};
    const [isAuthority, below] = content?.subs ?? [];
    if (!isAuthority?.tag.isBoolean() || !isAuthority.toBoolean() || !isCritical) return undefined;
    return { below: below ? Number(below.toInteger()) : Infinity };
  }

  /** Whether it says that it is of an authority, in whichever way. */
  get claimsAuthority(): boolean {
    const [first] = this.#extensions.get(BASIC_CONSTRAINTS)?.content.subs ?? [];
    return first?.tag.isBoolean() === true && first.toBoolean();
  }

  /** The numbers of the bits that are set; `undefined` where nobody has to heed them. */
  get keyUsage(): readonly number[] | undefined {
    const { isCritical, content } = this.#extensions.get(KEY_USAGE) ?? {};
    if (!isCritical) return undefined;
    return content?.toBitString().flatMap((bit, at) => (bit === 1 ? [at] : []));
  }

  get extendedUsage(): { readonly isCritical: boolean; readonly uses: readonly string[] } {
    const { isCritical = false, content } = this.#extensions.get(EXTENDED_USAGE) ?? {};
    return { isCritical, uses: content?.subs.map((use) => use.toOID()) ?? [] };
  }

  /** What is too weak in it; `undefined`: nothing. */
  get weakness(): string | undefined {
    if (!this.#isSignedWithSha2()) return TEXTS.weakSignature;
    const key = weaknessOf(this.key);
    return key === undefined ? undefined : TEXTS.weakKey({ key });
  }

  isIssuedBy(issuer: Certificate): boolean {
    const isNamed = this.#structure.issuer.equals(issuer.#structure.subject);
    return isNamed && this.#certificate.verify(issuer.key);
  }

  /** As a message names its signer. */
  isCalled(issuer: Buffer, serialNumber: Buffer): boolean {
    return this.#structure.issuer.equals(issuer) && this.serialNumber.equals(serialNumber);
  }

  equals(other: Certificate): boolean {
    return this.der.equals(other.der);
  }

  #isSignedWithSha2(): boolean {
    const [algorithm, parameters] = this.#structure.root.subs[1]?.subs ?? [];
    const name = algorithm?.toOID() ?? '';
    if (name !== PSS) return SIGNED_WITH_SHA_2.has(name);
    // Left out, the hash is SHA-1.
    const hash = parameters?.subs.find(({ tag }) => tag.isContextSpecific(0));
    return SHA_2.has(hash?.subs[0]?.subs[0]?.toOID() ?? '');
  }
}

/** At least one and at most 10. */
export function readChain(
  ders: readonly Buffer<ArrayBuffer>[],
): readonly [Certificate, ...Certificate[]] {
  if (ders.length > MAX_CHAIN) {
    throw refuse('chain', { why: TEXTS.tooMany({ what: 'certificates', most: MAX_CHAIN }) });
  }
  const [first, ...others] = ders.map((der) => new Certificate(der));
  if (!first) throw refuse('chain', { why: TEXTS.noChain });
  return [first, ...others];
}

function parse(der: Buffer): X509Certificate {
  try {
    return new X509Certificate(der);
  } catch {
    throw refuse('malformed', { why: TEXTS.notCertificate });
  }
}

function readExtensions(list: readonly ASN1Obj[]): Map<string, Extension> {
  const extensions = new Map<string, Extension>();
  for (const { subs } of list) {
    const [id, critical] = subs;
    const [value] = subs.slice(-1);
    const name = id?.toOID() ?? '';
    if (extensions.has(name)) throw refuse('malformed', { why: TEXTS.extensionTwice });
    const isCritical = subs.length === 3 && critical?.toBoolean() === true;
    const [content] = value?.subs ?? [];
    if (content) extensions.set(name, { isCritical, content });
  }
  return extensions;
}
