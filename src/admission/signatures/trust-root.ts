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
  /** One line for each authority and log: what it is, and when it was in use. */
  readonly authorities: readonly string[];

  /** Throws a `TypeError` that says why it is no trust root. */
  static parse(bytes: Uint8Array): TrustRoot {
    try {
      return new TrustRoot(digestOf(bytes), readRoot(bytes));
    } catch (error) {
      throw new TypeError(error instanceof Error ? error.message : String(error), { cause: error });
    }
  }

  private constructor(digest: Digest, root: TrustedRoot) {
    this.digest = digest;
    this.material = toTrustMaterial(root, NO_KEY);
    this.authorities = describe(root);
  }
}

function readRoot(bytes: Uint8Array): TrustedRoot {
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
  return root;
}

function describe(root: TrustedRoot): string[] {
  const ofLogs = (what: string, logs: TrustedRoot['tlogs']): string[] =>
    logs.map(({ baseUrl, logId, publicKey }) => {
      const key = logId?.keyId.toString('hex').slice(0, 8) ?? '';
      return TEXTS.authority({ what, name: `${baseUrl} ${key}`, ...inUse(publicKey?.validFor) });
    });
  const ofCertificates = (what: string, list: TrustedRoot['certificateAuthorities']): string[] =>
    list.map(({ subject, uri, validFor }) => {
      const { organization = '', commonName = '' } = subject ?? {};
      const name = `${uri} ${organization}/${commonName}`.trim();
      return TEXTS.authority({ what, name, ...inUse(validFor) });
    });
  return [
    ...ofCertificates('certificates', root.certificateAuthorities),
    ...ofLogs('log of certificates', root.ctlogs),
    ...ofLogs('log of signatures', root.tlogs),
    ...ofCertificates('timestamps', root.timestampAuthorities),
  ];
}

function inUse(time: { start?: Date | undefined; end?: Date | undefined } | undefined): {
  from: string;
  until: string;
} {
  const [from = '', until = ''] = [time?.start, time?.end].map((each) =>
    each?.toISOString().slice(0, 10),
  );
  return { from, until };
}

function tooMany(what: string, most: number): Error {
  return refuse('malformed', { why: TEXTS.tooMany({ what, most }) });
}
