import type { ExecutionContext } from 'ava';
import { decodeInventory, type ReadInventory } from '../../../sync/bundle/inventory-file.ts';
import { get } from '../../helpers/client.ts';
import type { Image } from '../../helpers/image.ts';
import type { TestMirror } from '../../helpers/mirror.ts';

/** The inventory that a mirror gives of itself. */
export async function readSite(t: ExecutionContext, mirror: TestMirror): Promise<ReadInventory> {
  return decodeInventory(await fetchInventory(t, mirror));
}

export async function fetchInventory(t: ExecutionContext, mirror: TestMirror): Promise<Buffer> {
  const { status, headers, body } = await get(`${mirror.server.adminUrl}/api/v1/inventory`);
  t.deepEqual([status, headers['content-type']], [200, 'application/octet-stream']);
  return body;
}

/** Pulls paths of a repository, as clients do. */
export async function pull(
  t: ExecutionContext,
  mirror: TestMirror,
  repository: string,
  ...paths: readonly string[]
): Promise<void> {
  for (const path of paths) {
    t.is((await get(`${mirror.url}/v2/${repository}/${path}`)).status, 200, path);
  }
  await mirror.idle();
}

/** A manifest by its digest, and all its blobs. */
export async function pullImage(
  t: ExecutionContext,
  mirror: TestMirror,
  repository: string,
  { manifest, blobs }: Image,
): Promise<void> {
  const served = blobs.filter(({ mediaType }) => !mediaType.includes('foreign'));
  const paths = served.map(({ digest }) => `blobs/${digest}`);
  await pull(t, mirror, repository, `manifests/${manifest.digest}`, ...paths);
}
