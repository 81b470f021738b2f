import test from 'ava';
import { Sigstore } from '../../../src/admission/signatures/sigstore.ts';
import { TrustRoot } from '../../../src/admission/signatures/trust-root.ts';
import type { Refusal, Signer, Verified } from '../../../src/admission/verdict.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import {
  Authority,
  IDENTITY,
  ISSUER,
  newManifest,
  type Json,
  type JsonValue,
  type Signing,
} from './authority.ts';
import { chain, drop, get, getText, set, text, type Mutation } from './mutations.ts';

export const authority = await Authority.create();
/** One that calls itself the same, and that nobody trusts. */
export const rogue = await Authority.create();
export const manifest = newManifest();
export const other = newManifest();
export const image = { manifest, digest: digestOf(manifest) };
export const signers: readonly Signer[] = [{ kind: 'keyless', identity: IDENTITY, issuer: ISSUER }];

export const SIGN = 'https://sigstore.dev/cosign/sign/v1';
export const ENTRY = 'verificationMaterial.tlogEntries.0';
export const STAMP =
  'verificationMaterial.timestampVerificationData.rfc3161Timestamps.0.signedTimestamp';
export const CERTIFICATE = 'verificationMaterial.certificate.rawBytes';
export const SIGNATURE = 'dsseEnvelope.signatures.0.sig';
export const PAYLOAD = 'dsseEnvelope.payload';
export const ENTRIES = 'verificationMaterial.tlogEntries';
export const TIMES = 'verificationMaterial.timestampVerificationData';
export const BODY = `${ENTRY}.canonicalizedBody`;
export const CHECKPOINT = `${ENTRY}.inclusionProof.checkpoint.envelope`;
export const MESSAGE_DIGEST = 'messageSignature.messageDigest.digest';
export const ROOT_CERTIFICATE = 'certificateAuthorities.0.certChain.certificates.0.rawBytes';
/** In the body of an entry. */
export const SIGNED = 'spec.signatures.0.signature';

/** Statements of the image, and what differs. */
export function statement(changes: Json = {}, of: Uint8Array = manifest): Buffer {
  const sha256 = digestOf(of).slice('sha256:'.length);
  const subject = [{ name: 'ghcr.io/org/app', digest: { sha256 } }];
  const type = 'https://in-toto.io/Statement/v1';
  const all = { _type: type, subject, predicateType: SIGN, predicate: {}, ...changes };
  return Buffer.from(JSON.stringify(all));
}

export async function signed(signing: Partial<Signing> = {}, by = authority): Promise<Json> {
  return by.sign({ payload: statement(), ...signing });
}

export function subject(digest: Json): Buffer {
  return statement({ subject: [{ name: 'ghcr.io/org/app', digest }] });
}

export const ours = digestOf(manifest).slice('sha256:'.length);
export const ours512 = digestOf(manifest, 'sha512').slice('sha512:'.length);
export const theirs = digestOf(other).slice('sha256:'.length);

export const first = await signed();
export const second = await signed({ laterMs: 1000 });
export const proven = await signed({ log: 'hashedrekord 0.0.2' });
export const provenToo = await signed({ log: 'hashedrekord 0.0.2' });
export const forged = await signed({}, rogue);
export const plain = await signed({ payload: manifest, isPlain: true });

/** Version 0.1 and 0.2 keep a chain in place of a certificate. */
export const withChain: Mutation = (bundle) =>
  chain(
    drop('verificationMaterial.certificate'),
    set('verificationMaterial.x509CertificateChain', {
      certificates: [{ rawBytes: get(bundle, CERTIFICATE) }],
    }),
  )(bundle);
export const version = (number: string): Mutation =>
  set('mediaType', `application/vnd.dev.sigstore.bundle+json;version=${number}`);

/** A bundle, or how it is written, and why it does not count. */
export type Refused = readonly [name: string, bundle: Json | string, code: string];

/** Each of them is a test. */
export function testRefused(cases: readonly Refused[]): void {
  for (const [name, bundle, code] of cases) {
    test(`${name} is refused: ${code}`, (t) => {
      const judged = judge(bundle);
      t.is('code' in judged ? judged.code : 'admitted', code, JSON.stringify(judged));
    });
  }
}

export function judge(
  bundle: Json | string,
  by = signers,
  root: Json = authority.root,
): Verified | Refusal {
  const trust = { root: TrustRoot.parse(Buffer.from(JSON.stringify(root))), keys: new Map() };
  const written = Buffer.from(typeof bundle === 'string' ? bundle : JSON.stringify(bundle));
  return new Sigstore(trust).verifyBundle(written, { image, kind: 'signature', signers: by });
}

/** The same signature with an entry in the log that we trust, of what its own entry says. */
export async function enterAgain(bundle: Json, hasClock = true): Promise<Json> {
  const entry = await authority.enter(bodyOf(bundle));
  if (hasClock) return set(ENTRY, entry)(bundle);
  return chain(set(ENTRY, entry), drop(`${ENTRY}.inclusionPromise`))(bundle);
}

/** With a timestamp of our authority. */
export async function stampAgain(bundle: Json, laterMs = 0): Promise<Json> {
  const signature = Buffer.from(getText(bundle, SIGNATURE), 'base64');
  const signedTimestamp = await authority.stamp(signature, laterMs);
  return set(TIMES, { rfc3161Timestamps: [{ signedTimestamp }] })(bundle);
}

export function bodyOf(bundle: Json): Json {
  return JSON.parse(Buffer.from(getText(bundle, BODY), 'base64').toString()) as Json;
}

export function editBody(mutation: Mutation, bundle: Json): Json {
  return text(BODY, (value) => JSON.stringify(mutation(JSON.parse(value) as Json)))(bundle);
}

export function setInBody(path: string, value: JsonValue, bundle: Json): Json {
  return editBody(set(path, value), bundle);
}
