import { execFile } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { MEDIA_TYPES, descriptorOf, store, storeJson, type Stored } from '../../helpers/image.ts';

/** A tar as the layer of zstd:chunked that skopeo makes of it, below a folder of its own. */
export async function chunkedBySkopeo(folder: string, tar: Buffer): Promise<Buffer> {
  const layer = store(tar, MEDIA_TYPES.layer);
  const config = storeJson(
    { architecture: 'amd64', os: 'linux', rootfs: { type: 'layers', diff_ids: [layer.digest] } },
    MEDIA_TYPES.config,
  );
  const manifest = storeJson(
    {
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.manifest,
      config: descriptorOf(config),
      layers: [descriptorOf(layer)],
    },
    MEDIA_TYPES.manifest,
  );
  await writeLayout(join(folder, 'plain'), manifest, [layer, config]);
  const policy = join(folder, 'policy.json');
  await writeFile(policy, JSON.stringify({ default: [{ type: 'insecureAcceptAnything' }] }));
  const flags = ['--dest-compress', '--dest-compress-format', 'zstd:chunked'];
  const chunked = join(folder, 'chunked');
  await promisify(execFile)(
    'skopeo',
    ['--policy', policy, 'copy', ...flags, 'oci:plain:x', 'oci:chunked:x'],
    { cwd: folder },
  );
  const index = await readJson<{ manifests: [Stored] }>(join(chunked, 'index.json'));
  const copied = await readJson<{ layers: [Stored] }>(blobPath(chunked, index.manifests[0]));
  return readFile(blobPath(chunked, copied.layers[0]));
}

async function writeLayout(
  path: string,
  manifest: Stored,
  blobs: readonly Stored[],
): Promise<void> {
  await mkdir(join(path, 'blobs', 'sha256'), { recursive: true });
  for (const blob of [manifest, ...blobs]) await writeFile(blobPath(path, blob), blob.bytes);
  const annotations = { 'org.opencontainers.image.ref.name': 'x' };
  const index = { schemaVersion: 2, manifests: [{ ...descriptorOf(manifest), annotations }] };
  await writeFile(join(path, 'index.json'), JSON.stringify(index));
  await writeFile(join(path, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
}

function blobPath(layout: string, { digest }: Pick<Stored, 'digest'>): string {
  return join(layout, 'blobs', ...digest.split(':'));
}

async function readJson<Value>(path: string): Promise<Value> {
  return JSON.parse(await readFile(path, 'utf8')) as Value;
}
