import { chmod, mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { get, open, TruncatedError } from '../helpers/client.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildBlob, buildImage } from '../helpers/image.ts';
import { blobPath, createTempFolder, partialPath, startMirror } from '../helpers/mirror.ts';
import { MirrorProcess } from '../helpers/process.ts';

test('a store that cannot take a blob: the client is served straight from upstream, verified', async (t) => {
  const registry = await FakeRegistry.start(t);
  const blob = registry.addBlob('library/app', buildBlob(1, 300_000), { name: 'layer' });
  const mirror = await startMirror(t, { upstreams: { 'docker.io': { url: registry.url } } });
  // A folder where the partial file would go fails every open, also for root.
  const partial = partialPath(mirror.storePath, blob.digest);
  await mkdir(join(partial, 'taken'), { recursive: true });
  const url = `${mirror.url}/v2/library/app/blobs/${blob.digest}`;
  const { body, headers } = await get(url);
  t.true(body.equals(blob.bytes));
  t.is(headers['cache-status'], 'entrepot; fwd=bypass');

  registry.corrupt(blob, { at: 5, times: 2 });
  await t.throwsAsync(get(url), { instanceOf: TruncatedError });
  registry.heal();

  await rm(partial, { recursive: true });
  t.is((await get(url)).headers['cache-status'], 'entrepot; fwd=miss; stored');
  t.is((await get(url)).headers['cache-status'], 'entrepot; hit');
});

test('a store that cannot take a manifest: the client is served all the same', async (t) => {
  const registry = await FakeRegistry.start(t);
  const image = buildImage({ seed: 1, layers: [10] });
  registry.addImage('library/app', 'v1', image, { name: 'app' });
  const mirror = await startMirror(t, { upstreams: { 'docker.io': { url: registry.url } } });
  // A file where the folder of its blob would go.
  const inTheWay = join(mirror.storePath, 'blobs', 'sha256');
  await writeFile(inTheWay, '');
  const { body, headers } = await get(`${mirror.url}/v2/library/app/manifests/v1`);
  t.true(body.equals(image.manifest.bytes));
  t.is(headers['cache-status'], 'entrepot; fwd=bypass');
  t.true(mirror.log.some(({ msg }) => msg === 'the manifest could not be kept'));
  await rm(inTheWay);
});

test('a held file that lost its end is found before the headers and fetched anew', async (t) => {
  const registry = await FakeRegistry.start(t);
  const blob = registry.addBlob('library/app', buildBlob(2, 10_000), { name: 'layer' });
  const mirror = await startMirror(t, { upstreams: { 'docker.io': { url: registry.url } } });
  const url = `${mirror.url}/v2/library/app/blobs/${blob.digest}`;
  await get(url);
  await mirror.idle();
  const path = blobPath(mirror.storePath, blob.digest);
  await chmod(path, 0o600);
  await writeFile(path, blob.bytes.subarray(0, 5_000));
  const { body, headers } = await get(url);
  t.true(body.equals(blob.bytes));
  t.is(headers['cache-status'], 'entrepot; fwd=miss; stored');
});

test('a held file that vanished is fetched anew', async (t) => {
  const registry = await FakeRegistry.start(t);
  const image = buildImage({ seed: 2, layers: [10_000] });
  registry.addImage('library/app', 'v1', image, { name: 'app' });
  const mirror = await startMirror(t, { upstreams: { 'docker.io': { url: registry.url } } });
  const paths = [`blobs/${image.layer(0).digest}`, `manifests/${image.manifest.digest}`];
  for (const path of paths) await get(`${mirror.url}/v2/library/app/${path}`);
  await mirror.idle();
  await rm(blobPath(mirror.storePath, image.layer(0).digest));
  const again = await get(`${mirror.url}/v2/library/app/${paths[0]}`);
  t.true(again.body.equals(image.layer(0).bytes));
});

test('a damaged manifest is not served but fetched anew', async (t) => {
  const registry = await FakeRegistry.start(t);
  const image = buildImage({ seed: 3, layers: [10] });
  registry.addImage('library/app', 'v1', image, { name: 'app' });
  const upstreams = { 'docker.io': { url: registry.url } };
  const first = await startMirror(t, { upstreams });
  const path = `/v2/library/app/manifests/${image.manifest.digest}`;
  await get(`${first.url}${path}`);
  await first.stop();
  const file = blobPath(first.storePath, image.manifest.digest);
  const bytes = Buffer.from(image.manifest.bytes);
  bytes[10] = (bytes[10] ?? 0) ^ 1;
  await chmod(file, 0o600);
  await writeFile(file, bytes);

  const second = await startMirror(t, { upstreams, storePath: first.storePath });
  const { body } = await get(`${second.url}${path}`);
  t.true(body.equals(image.manifest.bytes));
});

test('a disk that fills in the middle of a blob: each client gets the rest from upstream', async (t) => {
  const registry = await FakeRegistry.start(t);
  const blob = registry.addBlob('library/app', buildBlob(5, 3_000_000), { name: 'layer' });
  const small = registry.addBlob('library/app', buildBlob(6, 10_000), { name: 'small' });
  const folder = await createTempFolder(t);
  const upstreams = { 'docker.io': { url: registry.url } };
  const limit = { maxFileBytes: 1_000_000 };
  const mirror = await MirrorProcess.start(t, folder, { upstreams }, limit);
  const url = `${mirror.url}/v2/library/app/blobs`;
  const gate = registry.hold(blob, { after: 500_000 });
  const clients = await Promise.all([open(`${url}/${blob.digest}`), open(`${url}/${blob.digest}`)]);
  const heads = await Promise.all(clients.map((client) => client.read(400_000)));
  gate.open();
  for (const [index, client] of clients.entries()) {
    const body = Buffer.concat([heads[index] ?? Buffer.alloc(0), await client.rest()]);
    t.true(body.equals(blob.bytes));
  }
  // What the disk takes is kept as ever.
  t.true((await get(`${url}/${small.digest}`)).body.equals(small.bytes));
  t.is(await mirror.end('SIGTERM'), 0);
});

test('a catalog that cannot write takes nothing from the client', async (t) => {
  const registry = await FakeRegistry.start(t);
  const image = buildImage({ seed: 7, layers: [1000] });
  registry.addImage('library/app', 'v1', image, { name: 'app' });
  registry.addBlob('library/other', image.layer(0));
  const mirror = await startMirror(t, { upstreams: { 'docker.io': { url: registry.url } } });
  const tag = `${mirror.url}/v2/library/app/manifests/v1`;
  await get(tag);
  await get(`${mirror.url}/v2/library/app/blobs/${image.layer(0).digest}`);
  await mirror.idle();
  const full = async (): Promise<never> => {
    throw Object.assign(new Error('no space'), { code: 'LEVEL_IO_ERROR' });
  };
  Object.assign(mirror.server.catalog, { recordTag: full, recordLink: full });
  const again = await get(tag);
  t.true(again.body.equals(image.manifest.bytes));
  t.is(again.headers['cache-status'], 'entrepot; hit; detail=revalidated');
  const other = await get(`${mirror.url}/v2/library/other/blobs/${image.layer(0).digest}`);
  t.true(other.body.equals(image.layer(0).bytes));
  t.is(mirror.log.filter(({ msg }) => msg === 'the catalog could not be written').length, 2);
});
