import { isDigest, type Digest } from './digest.ts';
import { OCI_INDEX } from './media-types.ts';

/** @see https://github.com/opencontainers/image-spec/blob/main/descriptor.md */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
  readonly artifactType?: string;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly platform?: Platform;
}

export interface Platform {
  readonly architecture: string;
  readonly os: string;
  readonly variant?: string;
}

/** `os/architecture`, with the variant where there is one. */
export function formatPlatform({ os, architecture, variant }: Platform): string {
  return [os, architecture, ...(variant ? [variant] : [])].join('/');
}

/** The known fields of a descriptor; `undefined` for a value that is none. */
export function readDescriptor(value: unknown): Descriptor | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { mediaType, digest, size, artifactType, annotations, platform } = value as Record<
    string,
    unknown
  >;
  if (!isDigest(digest) || !Number.isSafeInteger(size) || (size as number) < 0) return undefined;
  return {
    mediaType: typeof mediaType === 'string' ? mediaType : '',
    digest,
    size: size as number,
    ...(typeof artifactType === 'string' && { artifactType }),
    ...(isStringMap(annotations) && { annotations }),
    ...(isPlatform(platform) && { platform }),
  };
}

export function isStringMap(value: unknown): value is Record<string, string> {
  return (
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    Object.values(value).every((entry) => typeof entry === 'string')
  );
}

function isPlatform(value: unknown): value is Platform {
  return (
    typeof value === 'object' &&
    value !== null &&
    typeof (value as Platform).architecture === 'string' &&
    typeof (value as Platform).os === 'string'
  );
}

/** The index that lists referrers, without them. */
export const REFERRERS_INDEX = { schemaVersion: 2, mediaType: OCI_INDEX } as const;

/**
 * The index that lists referrers, for the referrers API and for the fallback tag. The same
 * referrers give the same bytes.
 * @see https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#listing-referrers
 */
export function formatReferrersIndex(referrers: readonly Descriptor[]): Buffer {
  const manifests = referrers.map(describeReferrer);
  return Buffer.from(JSON.stringify({ ...REFERRERS_INDEX, manifests }));
}

/** The fields that the spec lists; `platform` is none of them. */
export function describeReferrer(descriptor: Descriptor): Omit<Descriptor, 'platform'> {
  const { mediaType, digest, size, artifactType, annotations } = descriptor;
  return {
    mediaType,
    digest,
    size,
    ...(artifactType !== undefined && { artifactType }),
    ...(annotations && { annotations }),
  };
}

/** A short string, an object of few fields, and their place in a list, as Node keeps them. */
const STRING_BYTES = 60;
const DESCRIPTOR_BYTES = 200;

/** Bytes of memory that an entry of a list takes, about: a name, or a descriptor with all its texts. */
export function weightOf(entry: string | Descriptor): number {
  if (typeof entry === 'string') return STRING_BYTES + entry.length;
  const { digest, mediaType, artifactType = '', annotations = {} } = entry;
  let weight = DESCRIPTOR_BYTES + weightOf(digest) + weightOf(mediaType) + artifactType.length;
  for (const key in annotations) weight += weightOf(key) + weightOf(annotations[key] ?? '');
  return weight;
}
