import { appendFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import test from 'ava';
import { get, open } from '../helpers/client.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildBlob, buildImage } from '../helpers/image.ts';
import { createTempFolder, partialPath, startMirror } from '../helpers/mirror.ts';
import { MirrorProcess } from '../helpers/process.ts';

const MIB = 1024 * 1024;

test('kill -9 in the middle of a download: it goes on from where it was, and the store verifies', async (t) => {
  const registry = await FakeRegistry.start(t);
  const blob = registry.addBlob('library/app', buildBlob(1, 3 * MIB), { name: 'layer' });
  const config = { upstreams: { 'docker.io': { url: registry.url } } };
  const folder = await createTempFolder(t);
  const path = `/v2/library/app/blobs/${blob.digest}`;

  registry.hold(blob, { after: 2 * MIB });
  const first = await MirrorProcess.start(t, folder, config);
  const client = await open(`${first.url}${path}`);
  // What the client has read is in the file.
  t.is((await client.read(2 * MIB)).length, 2 * MIB);
  t.is(await first.end('SIGKILL'), 'SIGKILL');
  const partial = partialPath(join(folder, 'store'), blob.digest);
  t.is((await stat(partial)).size, 2 * MIB);

  const second = await MirrorProcess.start(t, folder, config);
  const { body } = await get(`${second.url}${path}`);
  t.true(body.equals(blob.bytes));
  t.deepEqual(registry.conversation(), [
    'GET /v2/library/app/blobs/<layer>',
    `GET /v2/library/app/blobs/<layer> bytes=${2 * MIB}-`,
  ]);
  t.is(await second.end('SIGTERM'), 0);
  // Its end checks every file and record.
  const third = await startMirror(t, {
    upstreams: { 'docker.io': { url: registry.url } },
    storePath: join(folder, 'store'),
  });
  const held = await get(`${third.url}${path}`);
  t.is(held.headers['cache-status'], 'entrepot; hit');
  await third.stop();
});

test('a partial file that does not fit the blob is given up, not served', async (t) => {
  const registry = await FakeRegistry.start(t);
  const blob = registry.addBlob('library/app', buildBlob(2, 100_000), { name: 'layer' });
  const upstreams = { 'docker.io': { url: registry.url } };
  const first = await startMirror(t, { upstreams });
  const url = `/v2/library/app/blobs/${blob.digest}`;
  const gate = registry.hold(blob, { after: 50_000 });
  const client = await open(`${first.url}${url}`);
  await client.read(50_000);
  await first.abandon();
  gate.open();
  await t.throwsAsync(client.rest());
  const partial = partialPath(first.storePath, blob.digest);
  await appendFile(partial, Buffer.alloc(100_000));

  const second = await startMirror(t, { upstreams, storePath: first.storePath });
  const { body } = await get(`${second.url}${url}`);
  t.true(body.equals(blob.bytes));
  await second.stop();
});

test('killed at random moments under load: no committed blob is lost or wrong', async (t) => {
  const registry = await FakeRegistry.start(t);
  const images = Array.from({ length: 6 }, (_, seed) =>
    buildImage({ seed: `load ${seed}`, layers: [200_000, 50_000, 1_000] }),
  );
  for (const [index, image] of images.entries()) {
    registry.addImage('library/app', `v${index}`, image);
  }
  const config = { upstreams: { 'docker.io': { url: registry.url, tags: { ttl: '1h' } } } };
  const folder = await createTempFolder(t);
  const pull = async (url: string, index: number): Promise<void> => {
    const image = images[index];
    if (!image) throw new Error(`no image ${index}`);
    await get(`${url}/v2/library/app/manifests/v${index}`);
    for (const blob of image.blobs) {
      const { body } = await get(`${url}/v2/library/app/blobs/${blob.digest}`);
      t.true(body.equals(blob.bytes), 'a completed body is right');
    }
  };
  for (let round = 0; round < 5; round += 1) {
    const mirror = await MirrorProcess.start(t, folder, config);
    const pulls = images.map((_, index) => pull(mirror.url, index).catch(() => undefined));
    await pause(20 + ((round * 37) % 90));
    await mirror.end('SIGKILL');
    await Promise.all(pulls);
    const check = await startMirror(t, {
      upstreams: { 'docker.io': { url: registry.url } },
      storePath: join(folder, 'store'),
      leftovers: { partials: true },
    });
    await check.stop();
  }
  const last = await MirrorProcess.start(t, folder, config);
  await Promise.all(images.map((_, index) => pull(last.url, index)));
  await last.end('SIGTERM');
  const check = await startMirror(t, {
    upstreams: { 'docker.io': { url: registry.url } },
    storePath: join(folder, 'store'),
  });
  await check.stop();
});
