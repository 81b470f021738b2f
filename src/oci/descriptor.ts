import { isDigest, type Digest } from './digest.ts';

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
