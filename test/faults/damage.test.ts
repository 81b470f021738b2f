import { execFile } from 'node:child_process';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import type { Digest } from '../../src/oci/digest.ts';
import { BlobStore } from '../../src/store/blob-store.ts';
import { get, TruncatedError, type ClientAnswer } from '../helpers/client.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildBlob, buildImage, type Image, type Stored } from '../helpers/image.ts';
import {
  blobPath,
  createTempFolder,
  startMirror,
  type MirrorOptions,
  type TestMirror,
} from '../helpers/mirror.ts';
import { flip, injure } from './injury.ts';
import { integrityFailures, timesLogged } from './store-report.ts';

const FOUND = 'a held blob is missing, damaged or unreadable';
const MISS = 'entrepot; fwd=miss; stored';
const HIT = 'entrepot; hit';
const TRUNCATED = { instanceOf: TruncatedError };

interface Scene {
  readonly registry: FakeRegistry;
  readonly mirror: TestMirror;
  readonly image: Image;
  blob(blob: Stored, headers?: Record<string, string>): Promise<ClientAnswer>;
  manifest(reference: string): Promise<ClientAnswer>;
}

/** A mirror that holds `library/app:v1`, whole. */
async function setUp(t: ExecutionContext): Promise<Scene> {
  const registry = await FakeRegistry.start(t);
  const image = buildImage({ seed: t.title, layers: [300_000, 20_000] });
  registry.addImage('library/app', 'v1', image, { name: 'app' });
  const mirror = await startMirror(t, { upstreams: { 'docker.io': { url: registry.url } } });
  const scene = { registry, image, ...through(mirror) };
  await pullAll(scene);
  registry.clear();
  return scene;
}

function through(mirror: TestMirror): Pick<Scene, 'mirror' | 'blob' | 'manifest'> {
  const at = `${mirror.url}/v2/library/app`;
  return {
    mirror,
    blob: async ({ digest }, headers = {}) => get(`${at}/blobs/${digest}`, { headers }),
    manifest: async (reference) => get(`${at}/manifests/${reference}`),
  };
}

async function pullAll({ mirror, image, blob, manifest }: Omit<Scene, 'registry'>): Promise<void> {
  await manifest('v1');
  for (const part of image.blobs) await blob(part);
  await mirror.idle();
}

test('a flipped bit: the reader is cut before its end, the next one has it anew', async (t) => {
  const { registry, mirror, image, blob } = await setUp(t);
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
    const { mirror, image, blob } = await setUp(t);
    const layer = image.layer(0);
    await injure(mirror.storePath, layer, 'flipped');
    await t.throwsAsync(blob(layer, { range: `bytes=${range}` }), TRUNCATED);
    await mirror.idle();
    t.deepEqual(await integrityFailures(mirror), { store: 1 });
    const again = await blob(layer, { range: 'bytes=0-99' });
    t.true(again.body.equals(layer.bytes.subarray(0, 100)));
  });
}

for (const injury of ['cut short', 'deleted', 'replaced by a folder'] as const) {
  test(`a blob, a config and a manifest that are ${injury}: nobody notices, it counts once each`, async (t) => {
    const { registry, mirror, image, blob, manifest } = await setUp(t);
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
    const first = await setUp(t);
    const { registry, image } = first;
    await first.mirror.stop();
    await injure(first.mirror.storePath, image.manifest, injury);
    registry.refuse();
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
  const first = await setUp(t);
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

interface Report {
  readonly startedAt: number;
  readonly blobs: number;
  readonly bytes: number;
  readonly damaged: readonly object[];
}

/** Verifies all through the admin API, and waits for its report. */
async function verify({ server }: TestMirror): Promise<Report> {
  const url = `${server.adminUrl}/api/v1/verify`;
  const headers = { 'content-type': 'application/json' };
  const { status } = await get(url, { method: 'POST', body: '{}', headers });
  if (status !== 202) throw new Error(`verification was not begun: ${status}`);
  for (;;) {
    const state = JSON.parse((await get(url)).body.toString()) as {
      running?: object;
      last: Report;
    };
    if (!state.running) return state.last;
  }
}

const INJURIES = [
  ['flipped', 'damaged'],
  ['cut short', 'truncated'],
  ['deleted', 'missing'],
  ['replaced by a folder', 'missing'],
] as const;

for (const [injury, fault] of INJURIES) {
  test(`verify: what is ${injury} is fetched again`, async (t) => {
    const { registry, mirror, image, blob } = await setUp(t);
    const held = [...image.blobs, image.manifest];
    for (const part of held) await injure(mirror.storePath, part, injury);
    const { damaged } = await verify(mirror);
    t.deepEqual(
      damaged,
      held
        .map(({ digest }) => digest)
        .toSorted()
        .map((digest) => ({ digest, fault, images: ['docker.io/library/app'], healed: true })),
    );
    t.is(registry.requests.filter(({ method }) => method === 'GET').length, held.length);
    t.deepEqual(await integrityFailures(mirror), { scrub: held.length });
    t.is(timesLogged(mirror, 'a held blob is damaged'), held.length);
    await mirror.idle();
    for (const part of image.blobs) t.is((await blob(part)).headers['cache-status'], HIT);
    const { damaged: none, blobs } = await verify(mirror);
    t.deepEqual({ none, blobs }, { none: [], blobs: held.length });
  });
}

type Absence = 'is down' | 'has it no more' | 'is not to be asked';

for (const [absence, reason] of [
  ['is down', /^docker\.io .*ECONNREFUSED|unreachable|refused/],
  ['has it no more', /^docker\.io\/library\/app has it no more$/],
  ['is not to be asked', /offline/],
] as readonly [Absence, RegExp][]) {
  test(`verify: damage is told with its reason when the upstream ${absence}`, async (t) => {
    const first = await setUp(t);
    const { registry, image } = first;
    const layer = image.layer(0);
    const upstreams = { 'docker.io': { url: registry.url } };
    const storePath = first.mirror.storePath;
    await first.mirror.stop();
    const options: MirrorOptions = {
      upstreams,
      storePath,
      offline: absence === 'is not to be asked',
    };
    const { mirror, blob } = through(await startMirror(t, options));
    await injure(storePath, layer, 'flipped');
    if (absence === 'is down') registry.refuse();
    if (absence === 'has it no more') registry.remove(layer);
    const { damaged } = await verify(mirror);
    const [only] = damaged as { reason?: string }[];
    t.regex(only?.reason ?? '', reason);
    const known = {
      digest: layer.digest,
      fault: 'damaged',
      images: ['docker.io/library/app'],
    };
    t.deepEqual(damaged, [{ ...known, healed: false, reason: only?.reason }]);
    if (absence === 'is not to be asked') return;
    t.not((await blob(layer)).status, 200);
    // It is told again until it is whole.
    t.deepEqual((await verify(mirror)).damaged.length, 1);

    if (absence === 'is down') await registry.accept();
    else registry.addBlob('library/app', layer);
    t.deepEqual((await verify(mirror)).damaged, [{ ...known, healed: true }]);
    await mirror.idle();
    t.true((await blob(layer)).body.equals(layer.bytes));
    t.deepEqual((await verify(mirror)).damaged, []);
    t.deepEqual(await integrityFailures(mirror), { scrub: 1 });
  });
}

test('rot that no time stamp shows is found by verify', async (t) => {
  const { mirror, image, blob } = await setUp(t);
  const layer = image.layer(0);
  await injure(mirror.storePath, layer, 'flipped');
  const { ctimeMs } = await stat(blobPath(mirror.storePath, layer.digest));
  await mirror.server.catalog.updateBlob(layer.digest as Digest, { changedAt: ctimeMs });
  const { damaged } = await verify(mirror);
  t.deepEqual(damaged, [
    { digest: layer.digest, fault: 'damaged', images: ['docker.io/library/app'], healed: true },
  ]);
  await mirror.idle();
  t.true((await blob(layer)).body.equals(layer.bytes));
});

test('a store restored with cp -a serves everything, and reads each blob for its digest once', async (t) => {
  const first = await setUp(t);
  const { image, registry } = first;
  await first.mirror.stop();
  const storePath = join(await createTempFolder(t), 'restored');
  await promisify(execFile)('cp', ['-a', first.mirror.storePath, storePath]);
  registry.refuse();
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
