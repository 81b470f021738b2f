import { Certificate } from '../../../src/admission/notation/certificate.ts';
import { Notation } from '../../../src/admission/notation/notation.ts';
import type { Refusal, Signer, Verified } from '../../../src/admission/verdict.ts';
import { X509Certificate } from 'node:crypto';
import { digestOf } from '../../../src/oci/digest.ts';
import fixtures from '../fixtures/notation.json' with { type: 'json' };

export const FORMS = { jws: 'application/jose+json', cose: 'application/cose' } as const;
export type Form = keyof typeof FORMS;
export type StoreType = 'ca' | 'signingAuthority' | 'tsa';

/** Everybody who signs in the fixtures; `plain` has one with a name of its own. */
export const EVERYBODY = 'x509.subject: C=US, ST=WA, O=Notary\\, Inc.';
export const MADE_AT = fixtures.madeAt * 1000;
export const LATER = MADE_AT + 3_600_000;
export const MANIFEST = Buffer.from(fixtures.manifest);
const SIGNATURES: Readonly<Record<string, Readonly<Record<Form, string>>>> = fixtures.signatures;
export const TOKENS: Readonly<Record<string, string>> = fixtures.tokens;
export const STORES: Readonly<Record<StoreType, Readonly<Record<string, string>>>> =
  fixtures.stores;

const read = (type: StoreType) => Object.values(STORES[type]).map(certificateOf);
const USUAL_STORES: Record<StoreType, readonly Certificate[]> = {
  ca: read('ca'),
  signingAuthority: read('signingAuthority'),
  tsa: read('tsa'),
};

/** How a signature is judged, where it is not as usual. */
export interface Judging {
  readonly mediaType?: string;
  readonly signers?: readonly Signer[];
  readonly level?: 'strict' | 'audit';
  readonly identities?: readonly string[];
  readonly stores?: Partial<Record<StoreType, readonly Certificate[]>>;
  readonly now?: number;
  readonly manifest?: Buffer;
}

export function envelopeOf(name: string, form: Form): Buffer {
  return Buffer.from(SIGNATURES[name]![form], 'base64');
}

export function certificateOf(pem: string): Certificate {
  return new Certificate(Buffer.from(new X509Certificate(pem).raw));
}

export function judge(
  envelope: Uint8Array,
  form: Form,
  {
    mediaType = FORMS[form],
    level = 'strict',
    identities = [EVERYBODY],
    now = MADE_AT,
    manifest = MANIFEST,
    ...judging
  }: Judging = {},
): Verified | Refusal {
  const named = identities.map((identity) => ({ kind: 'notation', identity, level }) as const);
  const stores = { ca: [], signingAuthority: [], tsa: [], ...(judging.stores ?? USUAL_STORES) };
  return new Notation(stores).verify(
    { mediaType, envelope },
    { image: { manifest, digest: digestOf(manifest) }, signers: judging.signers ?? named, now },
  );
}

/** `admitted`, or the code of the refusal. */
export function codeOf(judged: Verified | Refusal): string {
  return 'code' in judged ? judged.code : 'admitted';
}
