/** A store with a bit of everything, and all that a catalog answers about it. */
import { utimes } from 'node:fs/promises';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { digestOf, parseDigest } from '../../src/oci/digest.ts';
import { fallbackTag } from '../../src/oci/cosign.ts';
import { parseManifest } from '../../src/oci/manifest.ts';
import { parseRepository, parseTag, type Target } from '../../src/oci/reference.ts';
import { BlobStore } from '../../src/store/files/blob-store.ts';
import {
  type Catalog,
  type JournalEntry,
  type ManifestEntry,
} from '../../src/store/catalog/catalog.ts';
import { describeManifest } from '../../src/store/catalog/describe-manifest.ts';
import { LevelCatalog } from '../../src/store/catalog/level-catalog.ts';
import {
  buildArtifact,
  buildImage,
  buildIndex,
  type Image,
  type Stored,
} from '../helpers/image.ts';
import { blobPath, createTempFolder } from '../helpers/mirror.ts';

export const APP: Target = { upstream: 'registry.example', repository: parseRepository('app') };
export const OTHER: Target = { upstream: 'ghcr.io', repository: parseRepository('org/other') };
export const PIN = { origin: 'hand', image: 'registry.example/app:v1', reason: 'why', since: 5 };

const PLATFORMS = ['amd64', 'arm64'].map((architecture) => ({ os: 'linux', architecture }));
const images = PLATFORMS.map((platform) =>
  buildImage({ seed: platform.architecture, layers: [300], platform }),
);
const index = buildIndex(
  PLATFORMS.map((platform, position) => ({ image: images[position]!, platform })),
);
const signature = buildArtifact({
  seed: 'signature',
  artifactType: 'application/vnd.example.signature',
  subject: index.manifest,
  annotations: { a: 'b' },
});
const cosigned = buildArtifact({ seed: 'cosigned', artifactType: 'application/vnd.example' });
const lone = buildImage({ seed: 'lone', layers: [100, 200] });
const loose = images[0]!.layer(0).bytes.subarray(0, 50);

export const WORLD = { index, images, signature, cosigned, lone, loose: digestOf(loose) };

interface Recorded {
  readonly target: Target;
  readonly manifest: Stored;
  readonly tags: readonly string[];
  readonly blobs?: Image;
  readonly at: number;
}

const COSIGN = `${fallbackTag(parseDigest(index.manifest.digest))}.sig`;
/** In the order of being pulled. */
export const RECORDED: readonly Recorded[] = [
  { target: APP, manifest: index.manifest, tags: ['v1', 'latest'], at: 1000 },
  { target: APP, manifest: images[0]!.manifest, tags: [], blobs: images[0]!, at: 2000 },
  { target: APP, manifest: signature.manifest, tags: [], blobs: signature, at: 3000 },
  { target: APP, manifest: cosigned.manifest, tags: [COSIGN], at: 4000 },
  { target: OTHER, manifest: lone.manifest, tags: ['v1'], blobs: lone, at: 5000 },
  { target: OTHER, manifest: images[0]!.manifest, tags: ['copy'], at: 2000 },
];

export async function createStore(
  t: ExecutionContext,
): Promise<{ path: string; store: BlobStore }> {
  const path = await createTempFolder(t);
  return { path, store: await BlobStore.open({ path, durability: 'rename' }) };
}

export async function openCatalog(
  t: ExecutionContext,
  path: string,
  journal?: (entries: readonly JournalEntry[]) => void,
): Promise<LevelCatalog> {
  const catalog = await LevelCatalog.open(join(path, 'catalog'), {
    durability: 'rename',
    isReplay: true,
    ...(journal && { journal }),
  });
  t.teardown(async () => catalog.close());
  return catalog;
}

/** Every file of the world, written at the time that the catalog knows for it. */
export async function fillFiles(path: string, store: BlobStore): Promise<void> {
  for (const { manifest, at, blobs } of RECORDED) {
    await writeFileAt(path, store, { bytes: manifest.bytes, at });
    for (const { bytes } of blobs?.blobs ?? []) await writeFileAt(path, store, { bytes, at });
  }
  await writeFileAt(path, store, { bytes: loose, at: 6000 });
}

async function writeFileAt(
  path: string,
  store: BlobStore,
  { bytes, at }: { bytes: Buffer; at: number },
): Promise<void> {
  const digest = digestOf(bytes);
  await store.writeBytes(digest, bytes);
  await utimes(blobPath(path, digest), at / 1000, at / 1000);
}

function entryOf({ manifest, tags, at }: Recorded): ManifestEntry {
  const parsed = parseManifest(manifest.bytes, manifest.mediaType);
  return {
    ...describeManifest(parseDigest(manifest.digest), manifest.size, parsed),
    tags: tags.map((tag) => ({ tag: parseTag(tag), checkedAt: at })),
  };
}

export async function fillCatalog(catalog: Catalog): Promise<void> {
  for (const recorded of RECORDED) {
    const { target, at, blobs } = recorded;
    await catalog.recordManifest(target, entryOf(recorded), at);
    for (const { digest, size } of blobs?.blobs ?? []) {
      await catalog.recordBlob(target, parseDigest(digest), { size, storedAt: at });
    }
  }
  await catalog.recordBlob(APP, WORLD.loose, { size: loose.length, storedAt: 6000 });
  await catalog.changePins({ recorded: [PIN] });
}

/** What else a mirror records: a use, a manifest that no client asked for, a tag that is gone. */
export async function fillMore(catalog: Catalog): Promise<void> {
  const [, amd64, , , own] = RECORDED as [Recorded, Recorded, Recorded, Recorded, Recorded];
  const node = { target: APP, digest: parseDigest(amd64.manifest.digest) };
  await catalog.recordUse(node);
  await catalog.recordManifest(OTHER, { ...entryOf(RECORDED[2]!), isPulled: false }, 7000);
  const { digest } = own.manifest;
  const said = { digest: parseDigest(digest), checkedAt: 5000, goneAt: 8000 };
  await catalog.recordTag(OTHER, parseTag('v1'), said);
}

/** Everything that a catalog answers, as one document. */
export async function describe(catalog: LevelCatalog): Promise<Record<string, unknown>> {
  const { tables } = catalog;
  const nodes = await Array.fromAsync(catalog.manifests());
  return {
    tags: await tables.tags.iterator().all(),
    manifests: await tables.manifests.iterator().all(),
    members: await tables.members.iterator().all(),
    blobs: await tables.blobs.iterator().all(),
    links: await tables.links.keys().all(),
    holders: await tables.holders.keys().all(),
    referrers: await tables.referrers.iterator().all(),
    access: await tables.access.iterator().all(),
    oldest: await Array.fromAsync(catalog.oldest()),
    pins: await tables.pins.iterator().all(),
    names: await tables.names.keys().all(),
    uses: await tables.uses.keys().all(),
    graph: await Promise.all(
      nodes.map(async (node) => ({
        ...node,
        tags: await catalog.tagsOf(node),
        below: await catalog.below(node),
        ancestors: await catalog.ancestors(node),
      })),
    ),
  };
}
