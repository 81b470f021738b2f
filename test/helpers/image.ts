/**
 * Generated content: the same arguments always give the same bytes, so a test that failed can
 * be run again. Every JSON document is laid out oddly on purpose: whoever parses and
 * serialises it again gets another digest.
 */
import { createCipheriv, createHash } from 'node:crypto';

export interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly artifactType?: string;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly platform?: Platform;
}

export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string;
}

export interface Stored {
  readonly digest: string;
  readonly size: number;
  readonly mediaType: string;
  readonly bytes: Buffer;
}

export interface Image {
  readonly manifest: Stored;
  readonly config: Stored;
  readonly layers: readonly Stored[];
  /** One of `layers`; throws when there is none. */
  readonly layer: (index: number) => Stored;
  /** The config and the layers, each digest once. */
  readonly blobs: readonly Stored[];
}

export interface Index {
  readonly manifest: Stored;
  readonly images: readonly Image[];
}

export const MEDIA_TYPES = {
  index: 'application/vnd.oci.image.index.v1+json',
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar',
  empty: 'application/vnd.oci.empty.v1+json',
  dockerList: 'application/vnd.docker.distribution.manifest.list.v2+json',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerConfig: 'application/vnd.docker.container.image.v1+json',
  dockerLayer: 'application/vnd.docker.image.rootfs.diff.tar',
  blob: 'application/octet-stream',
} as const;

/** Incompressible bytes that depend on nothing but `seed` and `size`; a longer run starts like a shorter one. */
export function randomBytes(seed: string | number, size: number): Buffer {
  const key = createHash('sha256').update(String(seed)).digest();
  return createCipheriv('aes-256-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(size));
}

export function digestOf(bytes: Buffer | string, algorithm = 'sha256'): string {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`;
}

export function store(bytes: Buffer | string, mediaType: string = MEDIA_TYPES.blob): Stored {
  const buffer = Buffer.from(bytes);
  return { digest: digestOf(buffer), size: buffer.length, mediaType, bytes: buffer };
}

export function buildBlob(seed: string | number, size: number, mediaType?: string): Stored {
  return store(randomBytes(seed, size), mediaType);
}

export function descriptorOf({ mediaType, digest, size }: Descriptor | Stored): Descriptor {
  return { mediaType, digest, size };
}

interface ManifestOptions {
  readonly artifactType?: string;
  readonly subject?: Descriptor | Stored;
  readonly annotations?: Readonly<Record<string, string>>;
}

export interface ImageOptions extends ManifestOptions {
  readonly seed: string | number;
  /** The size of each layer, or one that other images have too. */
  readonly layers: readonly (number | Stored)[];
  readonly docker?: boolean;
  readonly platform?: Platform;
}

export function buildImage(options: ImageOptions): Image {
  const { seed, docker = false } = options;
  const platform = options.platform ?? { os: 'linux', architecture: 'amd64' };
  const layerType = docker ? MEDIA_TYPES.dockerLayer : MEDIA_TYPES.layer;
  const layers = options.layers.map((layer, index) =>
    typeof layer === 'number' ? buildBlob(`${seed} layer ${index}`, layer, layerType) : layer,
  );
  const config = storeJson(
    {
      ...platform,
      created: '2020-01-01T00:00:00Z',
      config: { Labels: { seed: String(seed) } },
      rootfs: { type: 'layers', diff_ids: layers.map((layer) => layer.digest) },
    },
    docker ? MEDIA_TYPES.dockerConfig : MEDIA_TYPES.config,
  );
  const mediaType = docker ? MEDIA_TYPES.dockerManifest : MEDIA_TYPES.manifest;
  return assemble(mediaType, config, layers, options);
}

export interface ArtifactOptions extends ManifestOptions {
  readonly seed: string | number;
  readonly artifactType: string;
  readonly layers?: readonly number[];
}

/** An OCI artifact with the empty config: a signature, an attestation, an SBOM. */
export function buildArtifact(options: ArtifactOptions): Image {
  const layers = (options.layers ?? [64]).map((size, index) =>
    buildBlob(`${options.seed} artifact ${index}`, size),
  );
  return assemble(MEDIA_TYPES.manifest, store('{}', MEDIA_TYPES.empty), layers, options);
}

export interface IndexOptions extends ManifestOptions {
  readonly docker?: boolean;
}

export function buildIndex(
  children: readonly { readonly image: Image; readonly platform: Platform }[],
  { docker = false, ...rest }: IndexOptions = {},
): Index {
  const mediaType = docker ? MEDIA_TYPES.dockerList : MEDIA_TYPES.index;
  const manifests = children.map(({ image, platform }) => ({
    ...descriptorOf(image.manifest),
    platform,
  }));
  return {
    manifest: storeJson({ schemaVersion: 2, mediaType, manifests, ...extras(rest) }, mediaType),
    images: children.map(({ image }) => image),
  };
}

/** The index that clients keep under `fallbackTag(subject.digest)` in a registry without the referrers API. */
export function fallbackIndex(referrers: readonly (Image | Stored)[]): Stored {
  const manifests = referrers.map((referrer) =>
    referrerDescriptor('manifest' in referrer ? referrer.manifest : referrer),
  );
  return storeJson(
    { schemaVersion: 2, mediaType: MEDIA_TYPES.index, manifests },
    MEDIA_TYPES.index,
  );
}

export function fallbackTag(digest: string): string {
  const [algorithm = '', encoded = ''] = digest.split(':');
  return `${algorithm.slice(0, 32)}-${encoded.slice(0, 64)}`;
}

interface ParsedManifest {
  readonly artifactType?: string;
  readonly subject?: Descriptor;
  readonly config?: Descriptor;
  readonly annotations?: Record<string, string>;
}

export function subjectOf(manifest: Stored): string | undefined {
  return parseManifest(manifest).subject?.digest;
}

/** The descriptor of a referrer as the referrers API lists it. */
export function referrerDescriptor(manifest: Stored): Descriptor {
  const { artifactType, config, annotations } = parseManifest(manifest);
  const type = artifactType ?? config?.mediaType;
  return {
    ...descriptorOf(manifest),
    ...(type === undefined ? {} : { artifactType: type }),
    ...(annotations === undefined ? {} : { annotations }),
  };
}

/** JSON with whitespace in places where no serialiser puts it. */
export function oddJson(value: unknown): string {
  return `${write(value, '\n')}\n`;
}

export function storeJson(value: unknown, mediaType: string): Stored {
  return store(oddJson(value), mediaType);
}

function parseManifest(manifest: Stored): ParsedManifest {
  if (!manifest.mediaType.includes('json')) return {};
  try {
    return JSON.parse(manifest.bytes.toString()) as ParsedManifest;
  } catch {
    // A test may store bytes that are no JSON as a manifest.
    return {};
  }
}

function assemble(
  mediaType: string,
  config: Stored,
  layers: readonly Stored[],
  options: ManifestOptions,
): Image {
  const manifest = storeJson(
    {
      schemaVersion: 2,
      mediaType,
      config: descriptorOf(config),
      layers: layers.map(descriptorOf),
      ...extras(options),
    },
    mediaType,
  );
  const blobs = [...new Map([config, ...layers].map((blob) => [blob.digest, blob])).values()];
  const layer = (index: number): Stored => {
    const found = layers[index];
    if (!found) throw new RangeError(`the image has no layer ${index}`);
    return found;
  };
  return { manifest, config, layers, layer, blobs };
}

function extras({ artifactType, subject, annotations }: ManifestOptions): object {
  return {
    ...(artifactType === undefined ? {} : { artifactType }),
    ...(subject === undefined ? {} : { subject: descriptorOf(subject) }),
    ...(annotations === undefined ? {} : { annotations }),
  };
}

function write(value: unknown, indent: string): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const deeper = `${indent} \t`;
  if (Array.isArray(value)) {
    return `[${value.map((item) => `${deeper}${write(item, deeper)}`).join(' ,')} ]`;
  }
  const members = Object.entries(value).map(
    ([key, member]) => `${deeper}${JSON.stringify(key)} :  ${write(member, deeper)}`,
  );
  return `{${members.join(' ,')}${indent}}`;
}
