/** What an upstream announces, sends without an end or leaves half done takes no more of the disk than it may. */
import { createServer } from 'node:http';
import { lstat, mkdir, readdir, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { parseDigest } from '../../src/oci/digest.ts';
import { get, open } from '../helpers/client.ts';
import { Gate } from '../helpers/gate.ts';
import { buildBlob, buildImage, type Image, type Stored } from '../helpers/image.ts';
import { createTempFolder, startMirror, type TestMirror } from '../helpers/mirror.ts';
import { idle, startScene, UPSTREAM, type Scene } from '../helpers/scene.ts';
import { serve } from '../helpers/serve.ts';
import { until } from '../helpers/until.ts';

const LAYER = 60_000;
const COUNT = 6;
/** Six images fill it up to the watermark. */
const MAX_BYTES = 375_000;
const always = { times: Infinity };

interface World extends Scene {
  readonly images: readonly Image[];
  readonly pullBlob: (blob: Stored) => Promise<Buffer>;
}

/** A mirror whose store is full of images `team/0` to `team/5`, none of which is pinned. */
async function startFull(t: ExecutionContext, store: object = {}): Promise<World> {
  const scene = await startScene(t, {
    store: { maxBytes: MAX_BYTES, ...store },
    leftovers: { partials: true },
  });
  const { registry, mirror, ask, clock } = scene;
  // The catalog of a store as small as this would be most of it.
  mirror.server.blobs.folders.otherSizes = async function* () {};
  mirror.server.store.care.otherBytes = 0;
  const images = Array.from({ length: COUNT }, (_, n) =>
    buildImage({ seed: `full ${n}`, layers: [LAYER] }),
  );
  for (const [n, image] of images.entries()) {
    registry.addImage(`team/${n}`, 'v1', image, { name: `i${n}` });
    clock.advance(1);
    await ask(`/v2/team/${n}/manifests/v1`);
    for (const { digest } of image.blobs) await ask(`/v2/team/${n}/blobs/${digest}`);
  }
  await idle(mirror);
  const pullBlob = async ({ digest }: Stored): Promise<Buffer> =>
    (await ask(`/v2/evil/app/blobs/${digest}`)).body;
  return { ...scene, images, pullBlob };
}

async function countHeld({ mirror, images }: World): Promise<number> {
  const held = await Promise.all(
    images.map(async (image) => mirror.server.catalog.hasBlob(parseDigest(image.layer(0).digest))),
  );
  return held.filter(Boolean).length;
}

/** Bytes of the files below a folder of the store. */
async function bytesBelow({ storePath }: Pick<TestMirror, 'storePath'>, folder: string) {
  const names = await readdir(join(storePath, folder), { recursive: true });
  const found = await Promise.all(
    names.map(async (name) => lstat(join(storePath, folder, name)).catch(() => undefined)),
  );
  return found.reduce((sum, each) => sum + (each?.isFile() ? each.size : 0), 0);
}

async function leave(url: string): Promise<void> {
  const client = await open(url);
  await client.read(1);
  client.destroy();
}

test('a length that is announced and does not come empties nothing, however often it is announced', async (t) => {
  const world = await startFull(t);
  const { registry, mirror } = world;
  const lies = Array.from({ length: 8 }, (_, n) => buildBlob(`lie ${n}`, 370_000));
  for (const lie of lies) {
    registry.addBlob('evil/app', lie);
    registry.cut(lie, { after: 1 });
    registry.status(lie, 404, always);
  }
  const asked = lies.map(async ({ digest }) =>
    get(`${mirror.url}/v2/evil/app/blobs/${digest}`).catch(() => undefined),
  );
  await Promise.all(asked);
  await idle(mirror);
  t.true((await countHeld(world)) >= COUNT - 1);
});

test('a pull that is left at its first bytes has displaced no more than as much again', async (t) => {
  const world = await startFull(t);
  const { registry, mirror } = world;
  const large = registry.addBlob('evil/app', buildBlob('large', 300_000));
  const gate = registry.hold(large, { after: 1000 });
  await leave(`${mirror.url}/v2/evil/app/blobs/${large.digest}`);
  await gate.arrived();
  t.true((await countHeld(world)) >= COUNT - 2);
  gate.open();
  await idle(mirror);
  t.true((await world.pullBlob(large)).equals(large.bytes));
});

test('a body without a length that does not end is kept up to the share of one blob', async (t) => {
  const share = 0.25;
  const maxBytes = 4 * 1024 * 1024;
  const chunk = Buffer.alloc(64 * 1024, 7);
  let sent = 0;
  const ended = new Gate();
  const server = createServer((request, response) => {
    if (!request.url?.includes('/blobs/')) return void response.writeHead(404).end();
    response.writeHead(200, { 'Content-Type': 'application/octet-stream' });
    const more = (): void => {
      while (!response.destroyed && response.write(chunk)) sent += chunk.length;
    };
    response.on('drain', more);
    response.on('close', () => ended.open());
    more();
  });
  const { href } = await serve(t, server);
  const mirror = await startMirror(t, {
    upstreams: { [UPSTREAM]: { url: href.slice(0, -1) } },
    store: { maxBytes, maxBlobShare: share },
  });
  let most = 0;
  const { aside } = mirror.server.blobs;
  const claim = aside.claim.bind(aside);
  aside.claim = async (name) => {
    const claimed = await claim(name);
    return {
      end: (options) => claimed.end(options),
      resize: (bytes) => {
        most = Math.max(most, bytes);
        claimed.resize(bytes);
      },
    };
  };
  await leave(`${mirror.url}/v2/evil/app/blobs/sha256:${'ab'.repeat(32)}`);
  await ended.pass();
  await idle(mirror);
  t.true(most > 0 && most <= maxBytes * share, `${most} of ${sent} bytes`);
  t.is(await bytesBelow(mirror, 'ingest'), 0);
});

test('what broken transfers left counts, and goes before any image', async (t) => {
  const world = await startFull(t, { maxBytes: 2 * MAX_BYTES });
  const { registry, mirror, ask } = world;
  for (let n = 0; n < 5; n += 1) {
    const broken = registry.addBlob('evil/app', buildBlob(`broken ${n}`, 80_000));
    registry.cut(broken, { after: 70_000 });
    registry.status(broken, 404, always);
    await ask(`/v2/evil/app/blobs/${broken.digest}`).catch(() => undefined);
    await idle(mirror);
  }
  t.is(await bytesBelow(mirror, 'ingest'), 350_000);
  const wanted = registry.addBlob('evil/app', buildBlob('wanted', 300_000));
  t.true((await world.pullBlob(wanted)).equals(wanted.bytes));
  await idle(mirror);
  t.is(await countHeld(world), COUNT);
  const all = (await bytesBelow(mirror, 'ingest')) + (await bytesBelow(mirror, 'blobs'));
  t.true(all <= 2 * MAX_BYTES, `${all} bytes`);
  t.true(mirror.log.some(({ msg }) => msg === 'partial and damaged files made room'));
});

test('a blob that is larger than its share is passed through, and the store is well', async (t) => {
  const world = await startFull(t, { maxBlobShare: 0.5 });
  const { registry, mirror } = world;
  const large = registry.addBlob('evil/app', buildBlob('large', MAX_BYTES * 0.6));
  t.true((await world.pullBlob(large)).equals(large.bytes));
  await idle(mirror);
  t.is(await countHeld(world), COUNT);
  t.is(mirror.server.store.care.health.condition.state, 'ok');
  t.is(mirror.server.store.care.budget.reservedBytes, 0);
});

test('everything below the path counts against the size of the store, and is shown', async (t) => {
  const storePath = await createTempFolder(t);
  const digest = `sha256-${'ab'.repeat(32)}`;
  for (const [folder, name, size] of [
    ['ingest', `${digest}@hub.example`, 1000],
    ['quarantine', digest, 200],
    ['.', 'of-somebody-else', 50_000],
  ] as const) {
    await mkdir(join(storePath, folder), { recursive: true });
    await writeFile(join(storePath, folder, name), Buffer.alloc(size));
  }
  const maxBytes = 120_000;
  const leftovers = { partials: true };
  const { mirror } = await startScene(t, { storePath, store: { maxBytes }, leftovers });
  const { care } = mirror.server.store;
  const { partial, quarantined, other } = care.bytes;
  t.like({ partial, quarantined }, { partial: 1000, quarantined: 200 });
  t.true(other! > 50_000 && other! < 60_000, `${other}`);
  const left = maxBytes - 1200 - other!;
  t.true(await care.budget.hasRoom(left));
  t.false(await care.budget.hasRoom(left + 1));
});

test('files of others count in full, in whatever folders, and however many they are', async (t) => {
  const MIB = 1024 * 1024;
  const storePath = await createTempFolder(t);
  const deep = join(storePath, 'theirs', ...Array.from({ length: 60 }, (_, n) => `d${n}`));
  await mkdir(deep, { recursive: true });
  await Promise.all(
    Array.from({ length: 11_000 }, async (_, n) => writeFile(join(deep, `${n}`), 'x'.repeat(100))),
  );
  for (const [folder, size] of [
    ['theirs', 70],
    ['blobs/lost+found', 10],
    ['blobs/sha256/ab', 5],
  ] as const) {
    await mkdir(join(storePath, folder), { recursive: true });
    await writeFile(join(storePath, folder, 'large'), '');
    await truncate(join(storePath, folder, 'large'), size * MIB);
  }
  const maxBytes = 120 * MIB;
  const { mirror } = await startScene(t, { storePath, store: { maxBytes } });
  const { care } = mirror.server.store;
  await care.settled;
  const other = 85 * MIB + 1_100_000;
  await until('all is measured', () => care.bytes['other']! >= other);
  t.true(care.bytes['other']! < other + 8 * MIB);
  const left = maxBytes - care.bytes['other']!;
  t.true(await care.budget.hasRoom(left));
  t.false(await care.budget.hasRoom(left + 1));
  t.true(mirror.log.some(({ msg }) => msg === 'most of the store is taken by other files'));
});
