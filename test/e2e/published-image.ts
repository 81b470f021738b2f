import { createHash } from 'node:crypto';
import type { ImageName } from './client.ts';
import { NATIVE_ARCHITECTURE } from './image-layout.ts';
import type { Registry } from './registry.ts';

interface Descriptor {
  readonly digest: string;
  readonly size: number;
}

interface IndexFields {
  readonly manifests: readonly (Descriptor & { readonly platform: { architecture: string } })[];
}

interface ManifestFields {
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
}

/** What an upstream holds under one tag, and what its parts are called. */
export interface PublishedImage {
  readonly byTag: ImageName;
  readonly byDigest: ImageName;
  /** The files a container of this machine's platform sees. */
  readonly files: readonly string[];
  /** Everything a pull for this machine's platform transfers, as `manifests/…` and `blobs/…`; the index first. */
  readonly parts: readonly string[];
  /** What their blobs weigh. */
  readonly bytes: number;
  /** The same for all platforms. */
  readonly allParts: readonly string[];
}

interface DescribeOptions {
  readonly registry: Registry;
  /** What clients call the registry. */
  readonly name: string;
  readonly repository: string;
  readonly files: readonly string[];
}

/** Reads back what was pushed as tag `1`: conversion gives manifests new digests. */
export async function describeImage(options: DescribeOptions): Promise<PublishedImage> {
  const { registry, name, repository, files } = options;
  const index = await registry.manifest(repository, '1');
  const digest = `sha256:${createHash('sha256').update(index).digest('hex')}`;
  const parts = [`manifests/${digest}`];
  const allParts = [...parts];
  let bytes = 0;
  for (const { digest: child, platform } of (JSON.parse(index) as IndexFields).manifests) {
    const manifest = JSON.parse(await registry.manifest(repository, child)) as ManifestFields;
    const blobs = [manifest.config, ...manifest.layers];
    const own = [`manifests/${child}`, ...blobs.map(({ digest: blob }) => `blobs/${blob}`)];
    allParts.push(...own);
    if (platform.architecture !== NATIVE_ARCHITECTURE) continue;
    parts.push(...own);
    bytes = blobs.reduce((sum, { size }) => sum + size, 0);
  }
  return {
    byTag: { registry: name, repository, reference: '1' },
    byDigest: { registry: name, repository, reference: digest },
    files,
    parts: [...new Set(parts)],
    bytes,
    allParts: [...new Set(allParts)],
  };
}
