import { execFile } from 'node:child_process';
import { readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';
import type { Digest } from '../../src/oci/digest.ts';
import type { LevelCatalog } from '../../src/store/catalog/level-catalog.ts';
import { BlobStore } from '../../src/store/files/blob-store.ts';
import { TruncatedError } from '../helpers/client.ts';
import { buildBlob, buildImage } from '../helpers/image.ts';
import { blobPath, createTempFolder, startMirror } from '../helpers/mirror.ts';
import { breakDisk } from './bad-sectors.ts';
import { HIT, holdImage, MISS, through, verify } from './held-image.ts';
import { flip, injure } from './injury.ts';
import { integrityFailures, storeState, timesLogged } from './store-report.ts';

const FOUND = 'a held blob is missing, damaged or unreadable';
const TRUNCATED = { instanceOf: TruncatedError };

test('a flipped bit: the reader is cut before its end, the next one has it anew', async (t) => {
  const { registry, mirror, image, blob } = await holdImage(t);
  const layer = image.layer(0);
  await injure(mirror.storePath, layer, 'flipped');
  const error = await t.throwsAsync(blob(layer), TRUNCATED);
  t.deepEqual(
    { length: error?.received.length, promised: error?.headers['content-length'] },
    { length: layer.size - 1, promised: String(layer.size) },
  );
  await mirror.idle();
  // Found once: in the metrics, in the log, in quarantine, out of the catalog.
  t.deepEqual(await integrityFailures(mirror), { store: 1 });
  t.is(timesLogged(mirror, FOUND), 1);
  t.is(await mirror.server.catalog.findBlob(layer.digest as Digest), undefined);
  const name = layer.digest.replace(':', '-');
  t.true((await readFile(join(mirror.storePath, 'quarantine', name))).equals(flip(layer.bytes)));
  t.deepEqual(registry.conversation(), []);

  const { body, headers } = await blob(layer);
  t.true(body.equals(layer.bytes));
  t.is(headers['cache-status'], MISS);
  t.deepEqual(registry.conversation(), ['GET /v2/library/app/blobs/<app.layer0>']);
  await mirror.idle();
  t.is((await blob(layer)).headers['cache-status'], HIT);
  t.deepEqual(await integrityFailures(mirror), { store: 1 });
  t.is(timesLogged(mirror, FOUND), 1);
});

for (const range of ['0-99', '1000-1999', '150000-150000', '-1', '299999-', '0-9,20-29']) {
  test(`bytes=${range} of a damaged file never completes`, async (t) => {
    const { mirror, image, blob } = await holdImage(t);
    const layer = image.layer(0);
    await injure(mirror.storePath, layer, 'flipped');
    await t.throwsAsync(blob(layer, { range: `bytes=${range}` }), TRUNCATED);
    await mirror.idle();
    t.deepEqual(await integrityFailures(mirror), { store: 1 });
    const again = await blob(layer, { range: 'bytes=0-99' });
    t.true(again.body.equals(layer.bytes.subarray(0, 100)));
    t.true((await blob(layer)).body.equals(layer.bytes));
  });
}

for (const injury of ['cut short', 'deleted', 'replaced by a folder'] as const) {
  test(`a blob, a config and a manifest that are ${injury}: nobody notices, it counts once each`, async (t) => {
    const { registry, mirror, image, blob, manifest } = await holdImage(t);
    const injured = [image.layer(0), image.config, image.manifest];
    for (const part of injured) await injure(mirror.storePath, part, injury);
    for (const part of [image.layer(0), image.config]) {
      const answers = await Promise.all(Array.from({ length: 10 }, () => blob(part)));
      t.true(answers.every(({ body }) => body.equals(part.bytes)));
      await mirror.idle();
      t.is((await blob(part)).headers['cache-status'], HIT);
    }
    // From memory: its bytes are right.
    t.true((await manifest(image.manifest.digest)).body.equals(image.manifest.bytes));
    t.deepEqual(registry.conversation(), [
      'GET /v2/library/app/blobs/<app.layer0>',
      'GET /v2/library/app/blobs/<app.config>',
    ]);
    t.deepEqual(await integrityFailures(mirror), { store: 2 });
    t.is(timesLogged(mirror, FOUND), 2);
    const report = await verify(mirror);
    t.deepEqual(report.damaged, [
      {
        digest: image.manifest.digest,
        fault: injury === 'cut short' ? 'truncated' : 'missing',
        images: ['docker.io/library/app'],
        healed: true,
      },
    ]);
  });

  test(`a manifest that is ${injury} while nothing runs: fetched anew, not to be had when the upstream is down`, async (t) => {
    const first = await holdImage(t);
    const { registry, image } = first;
    await first.mirror.stop();
    await injure(first.mirror.storePath, image.manifest, injury);
    await registry.refuse();
    const upstreams = { 'docker.io': { url: registry.url } };
    const { mirror, manifest } = through(
      await startMirror(t, { upstreams, storePath: first.mirror.storePath }),
    );
    const refused = await manifest('v1');
    t.is(refused.status, 502);
    await registry.accept();
    const answers = await Promise.all(Array.from({ length: 5 }, () => manifest('v1')));
    t.true(answers.every(({ body }) => body.equals(image.manifest.bytes)));
    t.deepEqual(await integrityFailures(mirror), { store: 1 });
  });
}

test('a flipped bit in a manifest while nothing runs: never served, counted once', async (t) => {
  const first = await holdImage(t);
  const { registry, image } = first;
  await first.mirror.stop();
  await injure(first.mirror.storePath, image.manifest, 'flipped');
  const upstreams = { 'docker.io': { url: registry.url } };
  const { mirror, manifest } = through(
    await startMirror(t, { upstreams, storePath: first.mirror.storePath }),
  );
  const answers = await Promise.all(Array.from({ length: 5 }, () => manifest('v1')));
  t.true(answers.every(({ body }) => body.equals(image.manifest.bytes)));
  t.deepEqual(await integrityFailures(mirror), { store: 1 });
  t.is(timesLogged(mirror, 'a held manifest is missing or damaged'), 1);
});

test('a store restored with cp -a serves everything, and reads each blob for its digest once', async (t) => {
  const first = await holdImage(t);
  const { image, registry } = first;
  await first.mirror.stop();
  const storePath = join(await createTempFolder(t), 'restored');
  await promisify(execFile)('cp', ['-a', first.mirror.storePath, storePath]);
  await registry.refuse();
  const upstreams = { 'docker.io': { url: registry.url } };
  const { mirror, blob, manifest } = through(
    await startMirror(t, { upstreams, storePath, offline: true }),
  );
  const { catalog } = mirror.server;
  const verified: string[] = [];
  const updateBlob = catalog.updateBlob.bind(catalog);
  catalog.updateBlob = async (digest, change) => {
    verified.push(digest);
    return updateBlob(digest, change);
  };
  const digests = image.blobs.map(({ digest }) => digest);
  for (const round of [1, 2, 3]) {
    for (const part of image.blobs) {
      const { body, headers } = await blob(part);
      t.true(body.equals(part.bytes), `round ${round}`);
      t.is(headers['cache-status'], HIT);
      await mirror.idle();
    }
    t.true((await manifest('v1')).body.equals(image.manifest.bytes));
    t.deepEqual(verified, digests);
  }
  for (const digest of digests) {
    const { ctimeMs } = await stat(blobPath(storePath, digest));
    t.is((await catalog.findBlob(digest as Digest))?.changedAt, ctimeMs);
  }
});

test('a slow reader of damage does not take away what was fetched anew meanwhile', async (t) => {
  const path = await createTempFolder(t);
  const store = await BlobStore.open({ path, durability: 'rename' });
  const blob = buildBlob(1, 100_000);
  const digest = blob.digest as Digest;
  await store.writeBytes(digest, blob.bytes);
  await injure(path, blob, 'flipped');
  const told: string[] = [];
  const open = async (name: string) =>
    (await store.find(digest, undefined, { damaged: async () => void told.push(name) }))!.open();
  const [slow, quick] = [await open('slow'), await open('quick')];
  const readToEnd = async (reader: typeof slow): Promise<void> => {
    while ((await reader.read(Buffer.alloc(65_536))).length > 0);
  };
  await slow.read(Buffer.alloc(1000));
  await t.throwsAsync(readToEnd(quick), { name: 'IntegrityError' });
  await quick.close();
  await store.writeBytes(digest, blob.bytes);
  await t.throwsAsync(readToEnd(slow), { name: 'IntegrityError' });
  await slow.close();
  t.deepEqual(told, ['quick']);
  t.true((await store.readBytes(digest))?.equals(blob.bytes));
  t.deepEqual(await readdir(join(path, 'quarantine')), [digest.replace(':', '-')]);
});

test('a file that the disk cannot read: the reader is cut, the next one has it anew', async (t) => {
  const { registry, mirror, image, blob } = await holdImage(t);
  const layer = image.layer(0);
  await breakDisk(t, layer, { call: 'read', times: 1 });
  await t.throwsAsync(blob(layer), TRUNCATED);
  await mirror.idle();
  const { body, headers } = await blob(layer);
  t.true(body.equals(layer.bytes));
  t.is(headers['cache-status'], MISS);
  t.deepEqual(registry.conversation(), ['GET /v2/library/app/blobs/<app.layer0>']);
  t.deepEqual(await integrityFailures(mirror), { store: 1 });
  await mirror.idle();
  await breakDisk(t, layer, { call: 'read', times: 1 });
  t.deepEqual((await verify(mirror)).damaged, [
    { digest: layer.digest, fault: 'unreadable', images: ['docker.io/library/app'], healed: true },
  ]);
  await mirror.idle();
  t.is((await blob(layer)).headers['cache-status'], HIT);
});

test('a disk that breaks in the middle of a write: all who follow get the rest', async (t) => {
  const { registry, mirror, blob } = await holdImage(t);
  const cold = registry.addBlob('library/app', buildBlob(`${t.title} cold`, 2_000_000));
  const gate = registry.hold(cold, { after: 1_000_000 });
  const answers = Array.from({ length: 5 }, () => blob(cold));
  await gate.arrived();
  await breakDisk(t, cold, { call: 'write', times: 1 });
  gate.open();
  for (const { body } of await Promise.all(answers)) t.true(body.equals(cold.bytes));
  await mirror.idle();
  const { state, reason } = await storeState(mirror);
  t.deepEqual({ state, reason }, { state: 'failing', reason: 'EIO: i/o error, write' });
  t.is((await blob(cold)).headers['cache-status'], MISS);
  await mirror.idle();
  t.is((await blob(cold)).headers['cache-status'], HIT);
  t.deepEqual(await storeState(mirror), { state: 'ok' });
});

test('a catalog that cannot be read breaks no pull', async (t) => {
  const { registry, mirror, image } = await holdImage(t);
  const cold = buildImage({ seed: `${t.title} cold`, layers: [5000] });
  registry.addImage('library/app', 'cold', cold);
  await mirror.stop();
  const upstreams = { 'docker.io': { url: registry.url } };
  const next = await startMirror(t, { upstreams, storePath: mirror.storePath });
  const again = through(next);
  await next.server.store.care.settled;
  const broken = async (): Promise<never> => {
    throw Object.assign(new Error('corrupted block'), { code: 'LEVEL_CORRUPTION' });
  };
  const { blobs, manifests, tags, links } = (next.server.catalog as LevelCatalog).tables;
  const well = [blobs, manifests, tags, links].map((table) => ({
    table,
    get: table.get.bind(table),
  }));
  for (const { table } of well) Object.assign(table, { get: broken });
  for (const part of [...image.blobs, ...cold.blobs]) {
    for (const range of [undefined, 'bytes=0-0', 'bytes=-100']) {
      const { body, status } = await again.blob(part, range === undefined ? {} : { range });
      t.is(status, range === undefined ? 200 : 206);
      const expected = {
        'bytes=0-0': part.bytes.subarray(0, 1),
        'bytes=-100': part.bytes.subarray(-100),
      };
      t.true(body.equals(range === undefined ? part.bytes : expected[range as 'bytes=0-0']));
    }
    await next.idle();
  }
  for (const [tag, { manifest: expected }] of [
    ['v1', image],
    ['cold', cold],
  ] as const) {
    t.true((await again.manifest(tag)).body.equals(expected.bytes));
    t.true((await again.manifest(expected.digest)).body.equals(expected.bytes));
  }
  t.true(timesLogged(next, 'the catalog could not be read') > 0);
  for (const { table, get: works } of well) Object.assign(table, { get: works });
});

test('room that cannot be made takes nothing from the client', async (t) => {
  const { registry, mirror, blob, manifest } = await holdImage(t);
  const cold = buildImage({ seed: `${t.title} cold`, layers: [5000] });
  registry.addImage('library/app', 'cold', cold);
  const { budget } = mirror.server.store.care;
  const admit = budget.admit.bind(budget);
  budget.admit = async () => {
    throw new Error('the database is not open');
  };
  t.true((await blob(cold.layer(0))).body.equals(cold.layer(0).bytes));
  t.true((await manifest('cold')).body.equals(cold.manifest.bytes));
  await mirror.idle();
  const { state, reason } = await storeState(mirror);
  t.deepEqual({ state, reason }, { state: 'failing', reason: 'the database is not open' });
  budget.admit = admit;
  t.is((await blob(cold.layer(0))).headers['cache-status'], MISS);
  await mirror.idle();
  t.deepEqual(await storeState(mirror), { state: 'ok' });
});

test('a held blob whose record was lost is on record again once it was read', async (t) => {
  const { registry, mirror, image, blob } = await holdImage(t);
  const layer = image.layer(0);
  const { catalog } = mirror.server;
  await catalog.forgetBlob(layer.digest as Digest);
  t.is((await blob(layer)).headers['cache-status'], HIT);
  await mirror.idle();
  const { ctimeMs } = await stat(blobPath(mirror.storePath, layer.digest));
  const record = await catalog.findBlob(layer.digest as Digest);
  t.deepEqual(
    { size: record?.size, changedAt: record?.changedAt },
    { size: layer.size, changedAt: ctimeMs },
  );
  t.deepEqual(registry.conversation(), []);
});

test('a file in the place of a folder of blobs: the client is served, and it is kept later', async (t) => {
  const { registry, mirror, blob } = await holdImage(t);
  const cold = registry.addBlob('library/app', buildBlob(`${t.title} cold`, 10_000));
  const folder = dirname(blobPath(mirror.storePath, cold.digest));
  await writeFile(folder, '');
  t.true((await blob(cold)).body.equals(cold.bytes));
  await mirror.idle();
  t.is((await storeState(mirror)).state, 'failing');
  await rm(folder);
  t.is((await blob(cold)).headers['cache-status'], MISS);
  await mirror.idle();
  t.is((await blob(cold)).headers['cache-status'], HIT);
});
