import { Sigstore } from '../../../src/admission/signatures/sigstore.ts';
import { parsePublicKey } from '../../../src/admission/signatures/signing-key.ts';
import type { Kind } from '../../../src/admission/signatures/statement.ts';
import { TrustRoot } from '../../../src/admission/signatures/trust-root.ts';
import type { Refusal, Signer, Verified } from '../../../src/admission/verdict.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import { COSIGN, type Attached, type CosignFixture } from '../fixtures/cosign.ts';
import { getText } from './mutations.ts';
import type { Json } from './authority.ts';

/** How evidence is judged, where it is not as usual. */
export interface Judging {
  readonly kind?: Kind;
  /** The key that counts, by the name of its fixture; the usual one is that of the signature. */
  readonly keys?: readonly string[];
  readonly signers?: readonly Signer[];
  /** The image, by the name of its fixture. */
  readonly image?: string;
  readonly root?: Json;
}

/** Each key by the name of its fixture. */
const KEYS = new Map(
  Object.entries(COSIGN).map(([name, { publicKey }]) => [name, parsePublicKey(publicKey)]),
);

export const SIGN = 'https://sigstore.dev/cosign/sign/v1';

export function fixture(name: string): CosignFixture {
  return COSIGN[name]!;
}

/** The bundle of a key that states something of this type. */
export function bundleOf(name: string, predicateType = SIGN): Json {
  return fixture(name)
    .bundles.map((bundle) => JSON.parse(bundle) as Json)
    .find((bundle) => statementOf(bundle)['predicateType'] === predicateType)!;
}

export function statementOf(bundle: Json): Json {
  return JSON.parse(
    Buffer.from(getText(bundle, 'dsseEnvelope.payload'), 'base64').toString(),
  ) as Json;
}

/** The layer of a key: that of its signature, or that which states something of this type. */
export function layerOf(name: string, predicateType?: string): Attached {
  const { layers } = fixture(name);
  return layers.find(({ annotations }) => annotations['predicateType'] === predicateType)!;
}

export function judgeBundle(
  bundle: Json | string,
  name: string,
  judging: Judging = {},
): Verified | Refusal {
  const written = typeof bundle === 'string' ? bundle : JSON.stringify(bundle);
  return open(judging).verifyBundle(Buffer.from(written), asked(name, judging));
}

export function judgeLayer(
  layer: Attached,
  name: string,
  judging: Judging = {},
): Verified | Refusal {
  const { payload, ...rest } = layer;
  return open(judging).verifyClassic(
    { ...rest, payload: Buffer.from(payload) },
    asked(name, judging),
  );
}

export function codeOf(judged: Verified | Refusal): string {
  return 'code' in judged ? judged.code : 'admitted';
}

function open({ root }: Judging): Sigstore {
  const parsed = root && TrustRoot.parse(Buffer.from(JSON.stringify(root)));
  return new Sigstore({ root: parsed, keys: KEYS });
}

function asked(name: string, judging: Judging): Parameters<Sigstore['verifyBundle']>[1] {
  const { kind = 'signature', keys = [name], image = name } = judging;
  const { signers = keys.map((key) => ({ kind: 'key', key }) as const) } = judging;
  const manifest = Buffer.from(fixture(image).manifest);
  return { image: { manifest, digest: digestOf(manifest) }, kind, signers };
}
