import { isDigest, type Digest } from '../../src/oci/digest.ts';
import { MAX_MANIFEST_BYTES } from '../../src/oci/manifest.ts';
import { OCI_IMAGE_CONFIG, OCI_MANIFEST } from '../../src/oci/media-types.ts';
import { BundleError } from './bundle-error.ts';
import { chooseImage, type LayoutImage } from './layout-choice.ts';
import { parseDocument, type LayoutFiles } from './layout-files.ts';
import type { LayoutIntake } from './layout-intake.ts';
import { TEXTS } from './texts.ts';

interface ArchivedImage extends LayoutImage {
  readonly layers: readonly string[];
}

/** More than a runtime can stack. */
const MAX_LAYERS = 1_000;
const LAYER_TYPE = 'application/vnd.oci.image.layer.v1.tar';
const NAMED_BY_DIGEST = /^(?:sha256:)?(?<encoded>[0-9a-f]{64})(?:\.json)?$/;

/**
 * Makes an OCI image of one that stands in a docker-archive: config and layers are the bytes that are
 * there, and the same archive always gives the same manifest. Resolves with the manifest's digest, whose
 * bytes are in the store by then. Throws a `BundleError`, also when layers are not those of the config.
 */
export async function readDockerArchive(
  files: LayoutFiles,
  intake: LayoutIntake,
  ref: string | undefined,
): Promise<Digest> {
  const image = chooseImage(readImages(files), ref);
  const diffIds = await readDiffIds(image.digest, intake);
  if (diffIds.length !== image.layers.length || diffIds.length > MAX_LAYERS) {
    const counts = { layers: image.layers.length, told: diffIds.length };
    throw new BundleError('format', TEXTS.archiveLayers(counts));
  }
  const layers = [];
  for (const [at, name] of image.layers.entries()) {
    const digest = files.archived(name);
    const compression = compressionOf(await intake.read(digest, 4));
    if (compression === '' && digest !== diffIds[at]) {
      throw new BundleError(
        'content',
        TEXTS.layoutContent({ digest: String(diffIds[at]).slice(0, 80), actual: digest }),
      );
    }
    const size = intake.sizeOf(digest);
    layers.push({ mediaType: `${LAYER_TYPE}${compression}`, digest, size });
  }
  const { digest } = image;
  const config = { mediaType: OCI_IMAGE_CONFIG, digest, size: intake.sizeOf(digest) };
  const manifest = { schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers };
  const bytes = Buffer.from(JSON.stringify(manifest));
  return intake.takeUnnamed({ size: bytes.length, content: oneChunk(bytes) });
}

function readImages(files: LayoutFiles): ArchivedImage[] {
  const { manifest } = files;
  if (!Array.isArray(manifest)) throw new BundleError('format', TEXTS.archiveManifest);
  return manifest.map((entry: unknown): ArchivedImage => {
    const { Config, RepoTags, Layers } = (entry ?? {}) as Record<string, unknown>;
    const names = RepoTags ?? [];
    if (typeof Config !== 'string' || !isTexts(Layers) || !isTexts(names)) {
      throw new BundleError('format', TEXTS.archiveManifest);
    }
    const digest = files.archived(Config);
    const { encoded } = NAMED_BY_DIGEST.exec(Config)?.groups ?? {};
    const named = `sha256:${encoded}`;
    if (isDigest(named) && named !== digest) {
      throw new BundleError('content', TEXTS.layoutContent({ digest: named, actual: digest }));
    }
    return { digest, names, layers: Layers };
  });
}

/** What the config says that its layers are, uncompressed. */
async function readDiffIds(config: Digest, intake: LayoutIntake): Promise<readonly unknown[]> {
  const isSmall = (intake.sizeOf(config) ?? Infinity) <= MAX_MANIFEST_BYTES;
  const document = isSmall ? parseDocument('Config', await intake.read(config)) : undefined;
  const { rootfs } = (document ?? {}) as { rootfs?: { diff_ids?: unknown } | null };
  const diffIds = rootfs?.diff_ids;
  if (Array.isArray(diffIds)) return diffIds;
  throw new BundleError('format', TEXTS.archiveConfig);
}

/** As its media type ends: some tools leave layers compressed. */
function compressionOf(start: Buffer): '' | '+gzip' | '+zstd' {
  if (start.subarray(0, 2).equals(Buffer.from([0x1f, 0x8b]))) return '+gzip';
  return start.equals(Buffer.from([0x28, 0xb5, 0x2f, 0xfd])) ? '+zstd' : '';
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((each) => typeof each === 'string');
}

async function* oneChunk(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}
