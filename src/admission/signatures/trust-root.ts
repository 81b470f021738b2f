import { TrustedRoot } from '@sigstore/protobuf-specs';
import { toTrustMaterial, type TrustMaterial } from '@sigstore/verify';
import { digestOf, type Digest } from '../../oci/digest.ts';
import { refuse } from './refused.ts';
import { parseStrictObject } from './strict-json.ts';
import { TEXTS } from './texts.ts';

const MEDIA_TYPES = new Set([
  'application/vnd.dev.sigstore.trustedroot+json;version=0.1',
  'application/vnd.dev.sigstore.trustedroot.v0.1+json',
  'application/vnd.dev.sigstore.trustedroot.v0.2+json',
]);
const MAX_BYTES = 2 ** 20;
const MAX_LIST = 64;
const MAX_CHAIN = 10;
const NO_KEY = (): never => {
  throw new TypeError('a trust root has no keys of signers');
};

/** What a trust root holds besides the keys that configuration names. */
export type RootMaterial = Omit<TrustMaterial, 'publicKey'>;

/**
 * Whom keyless signatures are traced back to: authorities of certificates and of time, and logs, as
 * `trusted_root.json` lists them. At most 1 MiB, 64 of each, and 10 certificates in a chain.
 */
export class TrustRoot {
  readonly digest: Digest;
  readonly material: RootMaterial;

  /** Throws a `TypeError` that says why it is no trust root. */
  static parse(bytes: Uint8Array): TrustRoot {
    try {
      return new TrustRoot(digestOf(bytes), readMaterial(bytes));
    } catch (error) {
      throw new TypeError(error instanceof Error ? error.message : String(error), { cause: error });
    }
  }

  private constructor(digest: Digest, material: RootMaterial) {
    this.digest = digest;
    this.material = material;
  }
}

function readMaterial(bytes: Uint8Array): RootMaterial {
  const json = parseStrictObject(bytes, 'it', MAX_BYTES);
  const type = String(json['mediaType']);
  if (!MEDIA_TYPES.has(type)) throw refuse('malformed', { why: TEXTS.trustRootType({ type }) });
  const root = TrustedRoot.fromJSON(json);
  const { certificateAuthorities, timestampAuthorities, tlogs, ctlogs } = root;
  for (const list of [certificateAuthorities, timestampAuthorities, tlogs, ctlogs]) {
    if (list.length > MAX_LIST) throw tooMany('authorities', MAX_LIST);
  }
  for (const { certChain } of [...certificateAuthorities, ...timestampAuthorities]) {
    const { length } = certChain?.certificates ?? [];
    if (length > MAX_CHAIN) throw tooMany('certificates', MAX_CHAIN);
  }
  if (certificateAuthorities.length === 0) {
    throw refuse('malformed', { why: TEXTS.noAuthority });
  }
  return toTrustMaterial(root, NO_KEY);
}

function tooMany(what: string, most: number): Error {
  return refuse('malformed', { why: TEXTS.tooMany({ what, most }) });
}
