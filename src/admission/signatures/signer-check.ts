import type { Bundle } from '@sigstore/bundle';
import { RFC3161Timestamp } from '@sigstore/core';
import { toSignedEntity, Verifier, type TrustMaterial } from '@sigstore/verify';
import type { KeyObject } from 'node:crypto';
import { findGlob, isGlob } from '../../config/glob.ts';
import type { Signer, Verified } from '../verdict.ts';
import { checkBounds } from './bounds.ts';
import { readIdentity, type Identity } from './certificate.ts';
import { checkTie, type Maker } from './log-tie.ts';
import { refuse } from './refused.ts';
import type { SignedContent } from './signed-content.ts';
import type { RootMaterial, TrustRoot } from './trust-root.ts';
import { TEXTS } from './texts.ts';

/** Whom signatures are traced back to. */
export interface SigstoreTrust {
  /** Without one nothing counts that is signed with a certificate, and entries in logs tell nothing. */
  readonly root?: TrustRoot | undefined;
  /** Public keys by their names. */
  readonly keys: ReadonlyMap<string, KeyObject>;
}

type Entry = Parameters<typeof checkTie>[0];
type Keyless = Extract<Signer, { kind: 'keyless' }>;

const NO_ROOT: RootMaterial = {
  certificateAuthorities: [],
  timestampAuthorities: [],
  tlogs: [],
  ctlogs: [],
};
/** Who signs with a certificate is seen by a log of certificates, by a log of signatures, and by a clock. */
const BY_CERTIFICATE = { ctlogThreshold: 1, tlogThreshold: 1, timestampThreshold: 1 };
/** The key itself is what is trusted. */
const BY_KEY = { ctlogThreshold: 0, tlogThreshold: 0, timestampThreshold: 0 };

/**
 * Who made a signature, and whether that is one who was asked for. Whatever a library throws is thrown on:
 * nothing of it is a success.
 */
export class SignerCheck {
  readonly #root: TrustRoot | undefined;
  readonly #keys: ReadonlyMap<string, KeyObject>;
  /** Of the configuration: as many as it has. */
  readonly #patterns = new Map<string, NonNullable<ReturnType<typeof findGlob>>>();

  constructor({ root, keys }: SigstoreTrust) {
    this.#root = root;
    this.#keys = keys;
  }

  /** Throws `Refused`, and whatever the library throws. */
  check(
    bundle: Bundle,
    content: SignedContent,
    signers: readonly Signer[],
  ): Pick<Verified, 'signer' | 'at'> {
    checkBounds(bundle);
    const material = bundle.verificationMaterial;
    switch (material.content.$case) {
      case 'publicKey':
        return this.#byKey(bundle, content, signers);
      case 'certificate':
        return this.#byCertificate(bundle, content, material.content.certificate.rawBytes, signers);
      case 'x509CertificateChain': {
        const [leaf] = material.content.x509CertificateChain.certificates;
        return this.#byCertificate(bundle, content, leaf!.rawBytes, signers);
      }
    }
  }

  #byCertificate(
    bundle: Bundle,
    content: SignedContent,
    der: Buffer,
    signers: readonly Signer[],
  ): Pick<Verified, 'signer' | 'at'> {
    const asked = signers.filter((signer) => signer.kind === 'keyless');
    if (asked.length === 0) throw refuse('key-asked');
    const root = this.#root?.material;
    if (!root) throw refuse('trust-root');
    const publicKey = (): never => {
      throw refuse('signature');
    };
    const known = withKnownWitnesses(bundle, root);
    const isInLog = known.verificationMaterial.tlogEntries.length > 0;
    if (!isInLog && bundle.verificationMaterial.tlogEntries.length > 0) {
      throw refuse('log-entry', { why: TEXTS.unknownLog });
    }
    const options = BY_CERTIFICATE;
    const at = verify({ bundle: known, content, material: { ...root, publicKey }, options });
    checkWitnesses(known, root, { certificate: der }, at);
    const identity = readIdentity(Buffer.from(der));
    this.#checkIdentity(identity, asked);
    return { signer: { kind: 'keyless', ...identity }, ...(at !== undefined && { at }) };
  }

  /** The hint of a bundle is a word of its sender: each key that was asked for is tried. */
  #byKey(
    bundle: Bundle,
    content: SignedContent,
    signers: readonly Signer[],
  ): Pick<Verified, 'signer' | 'at'> {
    const asked = signers.filter((signer) => signer.kind === 'key');
    if (asked.length === 0) throw refuse('identity-asked');
    const root = this.#root?.material ?? NO_ROOT;
    for (const { key: name } of asked) {
      const key = this.#keys.get(name);
      if (!key || !content.verifySignature(key)) continue;
      const known = withKnownWitnesses(bundle, root);
      const publicKey: TrustMaterial['publicKey'] = () => ({
        publicKey: key,
        validFor: () => true,
      });
      const material = { ...root, publicKey };
      const at = verify({ bundle: known, content, material, options: BY_KEY });
      checkWitnesses(known, root, { key }, at);
      return { signer: { kind: 'key', key: name }, ...(at !== undefined && { at }) };
    }
    throw refuse('signature');
  }

  #checkIdentity({ identity, issuer }: Identity, asked: readonly Keyless[]): void {
    const named = asked.filter((signer) => this.#matches(signer.identity, identity));
    if (named.length === 0) throw refuse('identity', { identity });
    if (!named.some((signer) => signer.issuer === issuer))
      throw refuse('issuer', { identity, issuer });
  }

  /** A glob of the configuration, or the whole name. What is neither means nobody. */
  #matches(wanted: string, identity: string): boolean {
    if (!isGlob(wanted)) return wanted === identity;
    let pattern = this.#patterns.get(wanted);
    if (!pattern) {
      pattern = findGlob(wanted);
      if (pattern) this.#patterns.set(wanted, pattern);
    }
    return pattern?.matches(identity) ?? false;
  }
}

/** What the library says, and of the times that it verified the earliest. */
function verify(parts: {
  readonly bundle: Bundle;
  readonly content: SignedContent;
  readonly material: TrustMaterial;
  readonly options: typeof BY_CERTIFICATE;
}): number | undefined {
  const { bundle, content, material, options } = parts;
  const entity = { ...toSignedEntity(bundle), signature: content };
  new Verifier(material, options).verify(entity);
  const times = entity.timestamps.flatMap((each) => {
    if (each.$case === 'timestamp-authority') return [each.timestamp.signingTime.getTime()];
    const { inclusionPromise, integratedTime } = each.tlogEntry;
    return inclusionPromise ? [Number(integratedTime) * 1000] : [];
  });
  return times.length > 0 ? Math.min(...times) : undefined;
}

/** Throws `Refused` unless each entry is of this signer, in a log whose key was in use at that time. */
function checkWitnesses(bundle: Bundle, root: RootMaterial, maker: Maker, at?: number): void {
  for (const entry of bundle.verificationMaterial.tlogEntries) {
    checkTie(entry, maker);
    const isInUse = logsOf(entry, root).some(
      ({ validFor: { start, end } }) =>
        at === undefined || (start.getTime() <= at && at <= end.getTime()),
    );
    if (!isInUse) throw refuse('log-entry', { why: TEXTS.noKeyOfLog });
  }
}

/**
 * Witnesses whom the trust root does not know tell nothing, for or against: there may be newer ones than it
 * lists. A key needs none, a certificate is left with those that are known.
 */
function withKnownWitnesses(bundle: Bundle, root: RootMaterial): Bundle {
  const { tlogEntries, timestampVerificationData } = bundle.verificationMaterial;
  const timestamps = timestampVerificationData?.rfc3161Timestamps ?? [];
  const verificationMaterial = {
    ...bundle.verificationMaterial,
    tlogEntries: tlogEntries.filter((entry: Entry) => logsOf(entry, root).length > 0),
    timestampVerificationData: {
      rfc3161Timestamps: timestamps.filter(({ signedTimestamp }) => isKnown(signedTimestamp, root)),
    },
  };
  return { ...bundle, verificationMaterial };
}

function logsOf({ logId }: Pick<Entry, 'logId'>, { tlogs }: RootMaterial): RootMaterial['tlogs'] {
  return tlogs.filter(({ logID }) => logID.equals(logId.keyId));
}

function isKnown(signedTimestamp: Buffer, { timestampAuthorities }: RootMaterial): boolean {
  if (timestampAuthorities.length === 0) return false;
  const { signerIssuer, signerSerialNumber } = RFC3161Timestamp.parse(Buffer.from(signedTimestamp));
  return timestampAuthorities.some(({ certChain: [leaf] }) => {
    return leaf?.issuer.equals(signerIssuer) && leaf.serialNumber.equals(signerSerialNumber);
  });
}
