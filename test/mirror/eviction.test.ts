import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import type { EvictionResult } from '../../src/store/care/care.ts';
import { get, open } from '../helpers/client.ts';
import { MINUTE, type Clock } from '../helpers/clock.ts';
import type { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildImage, randomBytes, type Image, type Stored } from '../helpers/image.ts';
import { startMirror, type TestMirror } from '../helpers/mirror.ts';
import { idle, startScene, told, UPSTREAM, type Ask, type SceneOptions } from '../helpers/scene.ts';

interface Place {
  readonly registry: FakeRegistry;
  readonly mirror: TestMirror;
  readonly clock: Clock;
  readonly ask: Ask;
  readonly images: readonly Image[];
  /** Pulls all of an image as a client does, and holds each answer to its bytes. */
  readonly pull: (image: Image) => Promise<void>;
}

/** A mirror with a store of this size, before a registry with images `team/0` to `team/n`. */
async function startPlace(
  t: ExecutionContext,
  { layers, ...options }: SceneOptions & { layers: readonly (readonly number[])[] },
): Promise<Place> {
  const scene = await startScene(t, { tags: { ttlMs: 1000 * MINUTE }, ...options });
  const { registry, mirror, clock, ask } = scene;
  await mirror.server.store.care.settled;
  // The catalog of a store as small as these would be most of it.
  mirror.server.blobs.folders.otherSizes = async function* () {};
  mirror.server.store.care.otherBytes = 0;
  const images = layers.map((sizes, n) => buildImage({ seed: `image ${n}`, layers: sizes }));
  for (const [n, image] of images.entries()) {
    registry.addImage(`team/${n}`, 'v1', image, { name: `i${n}` });
  }
  const pull = async (image: Image): Promise<void> => {
    clock.advance(1);
    const path = `/v2/team/${images.indexOf(image)}`;
    t.deepEqual((await ask(`${path}/manifests/v1`)).body, image.manifest.bytes);
    await Promise.all(
      image.blobs.map(async ({ digest, bytes }) =>
        t.true((await ask(`${path}/blobs/${digest}`)).body.equals(bytes)),
      ),
    );
    await idle(mirror);
  };
  return { registry, mirror, clock, ask, images, pull };
}

function sizeOf({ manifest, blobs }: Image): number {
  return blobs.reduce((sum, { size }) => sum + size, manifest.size);
}

async function bytesOnDisk({ storePath }: TestMirror): Promise<number> {
  const names = await readdir(join(storePath, 'blobs'), { recursive: true });
  const found = await Promise.all(
    names.map(async (name) => stat(join(storePath, 'blobs', name)).catch(() => undefined)),
  );
  return found.reduce((sum, each) => sum + (each?.isFile() ? each.size : 0), 0);
}

async function heldRepositories({ server }: TestMirror): Promise<string[]> {
  const nodes = await Array.fromAsync(server.catalog.manifests());
  return nodes.map(({ target }) => target.repository as string).toSorted();
}

/** Repositories that went, and those that stayed with their reasons. */
function short({ images, kept }: EvictionResult): unknown {
  return {
    went: images.map(({ image }) => image),
    kept: kept.map(({ image, why }) => `${image}: ${why}`),
  };
}

interface Summary {
  readonly state: string;
  readonly reason?: string;
  readonly bytes: number;
  readonly reservedBytes: number;
}

async function summary({ server }: TestMirror): Promise<Summary> {
  const answer = await get(`${server.adminUrl}/api/v1/store`);
  return JSON.parse(answer.body.toString()) as Summary;
}

async function metric({ server }: TestMirror, line: string): Promise<string | undefined> {
  const { body } = await get(`${server.adminUrl}/metrics`);
  const found = body
    .toString()
    .split('\n')
    .find((each) => each.startsWith(`${line} `));
  return found?.slice(line.length + 1);
}

test('two hundred pulls through a small store: right bytes, and never more than the budget', async (t) => {
  const count = 24;
  const layers = Array.from({ length: count }, (_, n) => [2000 + 500 * (n % 5), 6000, 100 * n]);
  const maxBytes = 60_000;
  const { mirror, images, pull } = await startPlace(t, {
    store: { maxBytes, durability: 'rename' },
    layers,
  });
  const largest = Math.max(...images.map(sizeOf));
  const choices = randomBytes('pulls', 200);
  let most = 0;
  for (const [turn, choice] of choices.entries()) {
    // Some are wanted more often than others.
    await pull(images[Math.floor((choice / 256) ** 2 * count)]!);
    const { bytes } = mirror.server.catalog.usage;
    t.true(bytes <= maxBytes, `${bytes} bytes after ${turn} pulls`);
    if (turn % 50 === 0) t.true((await bytesOnDisk(mirror)) <= maxBytes + largest);
    most = Math.max(most, bytes);
  }
  t.true(most > maxBytes - largest);
  await mirror.server.store.care.budget.evict(0);
  t.is(await bytesOnDisk(mirror), mirror.server.catalog.usage.bytes);
  t.is(await metric(mirror, 'entrepot_store_bytes{state="reserved"}'), '0');
  t.not(await metric(mirror, 'entrepot_evicted_bytes_total{reason="budget"}'), undefined);
});

test('many at once pull through a small store', async (t) => {
  const layers = Array.from({ length: 12 }, (_, n) => [3000, 4000 + n]);
  const maxBytes = 30_000;
  const { mirror, images, pull } = await startPlace(t, {
    store: { maxBytes, durability: 'rename' },
    layers,
  });
  for (let round = 0; round < 5; round += 1) {
    await Promise.all(images.map(async (image) => pull(image)));
    t.true(mirror.server.catalog.usage.bytes <= maxBytes);
  }
  await mirror.server.store.care.budget.evict(0);
  t.is(await bytesOnDisk(mirror), mirror.server.catalog.usage.bytes);
});

test('the last pull counts over a restart', async (t) => {
  const layers = [[1000], [1000], [1000]];
  const { registry, mirror, clock, images, pull } = await startPlace(t, { layers });
  for (const image of [...images, images[0]!]) await pull(image);
  const { storePath } = mirror;
  await mirror.stop();
  const next = await startMirror(t, {
    storePath,
    clock,
    upstreams: { [UPSTREAM]: { url: registry.url } },
  });
  await next.server.store.care.settled;
  t.deepEqual(short(await next.server.store.care.budget.evict(1)), {
    went: [`${UPSTREAM}/team/1`],
    kept: [],
  });
});

test('a slow client of the oldest image gets all of its blob, and the image stays until then', async (t) => {
  const size = 24 * 1024 * 1024;
  const { mirror, images, pull, clock } = await startPlace(t, { layers: [[size], [1000]] });
  for (const image of images) await pull(image);
  const layer = images[0]!.layer(0);
  const slow = await open(`${mirror.url}/v2/team/0/blobs/${layer.digest}`);
  const start = await slow.read(10);
  // The pull itself raises it: make it the oldest again.
  clock.advance(1);
  await pull(images[1]!);
  const { budget } = mirror.server.store.care;
  t.deepEqual(short(await budget.evict(Infinity)), {
    went: [`${UPSTREAM}/team/1`],
    kept: [`${UPSTREAM}/team/0: being pulled`],
  });
  t.true(Buffer.concat([start, await slow.rest()]).equals(layer.bytes));
  await mirror.idle();
  t.deepEqual(short(await budget.evict(Infinity)), {
    went: [`${UPSTREAM}/team/0`],
    kept: [],
  });
  t.is(await bytesOnDisk(mirror), 0);
});

test('an image whose blob is on its way stays, and is whole afterwards', async (t) => {
  const { registry, mirror, images, pull, ask } = await startPlace(t, {
    layers: [[50_000, 10], [1000]],
  });
  const [image, other] = images as [Image, Image];
  const { digest, bytes } = image.layer(0);
  const gate = registry.hold(digest, { after: 100 });
  await ask('/v2/team/0/manifests/v1');
  const asked = ask(`/v2/team/0/blobs/${digest}`);
  await gate.arrived();
  await ask(`/v2/team/0/blobs/${image.layer(1).digest}`);
  // Not `pull`, which waits until nothing runs.
  for (const { digest: each } of other.blobs) await ask(`/v2/team/1/blobs/${each}`);
  await ask('/v2/team/1/manifests/v1');
  const { budget } = mirror.server.store.care;
  t.deepEqual(short(await budget.evict(Infinity)), {
    went: [`${UPSTREAM}/team/1`],
    kept: [`${UPSTREAM}/team/0: being pulled`],
  });
  gate.open();
  t.true((await asked).body.equals(bytes));
  await mirror.idle();
  t.deepEqual(await heldRepositories(mirror), ['team/0']);
  registry.clear();
  await pull(image);
  t.deepEqual(registry.conversation(), ['GET /v2/team/0/blobs/<i0.config>']);
});

test('what was evicted is fetched again, once, and kept again', async (t) => {
  const { registry, mirror, images, pull } = await startPlace(t, { layers: [[1000]] });
  await pull(images[0]!);
  await mirror.server.store.care.budget.evict(Infinity);
  t.is(await bytesOnDisk(mirror), 0);
  registry.clear();
  await pull(images[0]!);
  await pull(images[0]!);
  t.deepEqual(registry.conversation().toSorted(), [
    'GET /v2/team/0/blobs/<i0.config>',
    'GET /v2/team/0/blobs/<i0.layer0>',
    'GET /v2/team/0/manifests/<i0>',
    'HEAD /v2/team/0/manifests/v1',
  ]);
});

const NOTHING = 'what is held is pinned, in use, or not enough to make room';

async function passThrough(t: ExecutionContext, place: Place, blob: Stored): Promise<void> {
  const { mirror, ask, registry } = place;
  const before = await bytesOnDisk(mirror);
  for (const _ of [1, 2]) {
    registry.clear();
    const answer = await ask(`/v2/team/1/blobs/${blob.digest}`);
    t.is(answer.status, 200);
    t.true(answer.body.equals(blob.bytes));
    await mirror.idle();
    t.true(registry.requests.length > 0);
  }
  t.is(await bytesOnDisk(mirror), before);
  const reason = `no room for ${blob.size} bytes: ${NOTHING}`;
  const { state, reason: why, reservedBytes } = await summary(mirror);
  t.deepEqual({ state, why, reservedBytes }, { state: 'full', why: reason, reservedBytes: 0 });
  const line = `entrepot_cache_requests_total{upstream="${UPSTREAM}",kind="blob",method="GET",result="bypass"}`;
  t.is(await metric(mirror, line), '2');
  const lines = mirror.log.filter(({ msg }) => String(msg).startsWith('the store takes nothing'));
  t.deepEqual(
    lines.map(({ state: said, reason: because }) => [said, because]),
    [['full', reason]],
  );
}

test('what has no room beside what is pinned is passed through, said, and kept again after unpinning', async (t) => {
  const place = await startPlace(t, {
    store: { maxBytes: 100_000 },
    layers: [[60_000], [70_000]],
  });
  const { mirror, images, pull, ask, clock } = place;
  await pull(images[0]!);
  const { pins } = mirror.server.store.care;
  const pin = { origin: 'hand', image: `${UPSTREAM}/team/0:v1` };
  await pins.add({ ...pin, since: clock.now() });
  const blob = images[1]!.layer(0);
  await passThrough(t, place, blob);
  await pins.remove(pin);
  clock.advance(1);
  t.true((await ask(`/v2/team/1/blobs/${blob.digest}`)).body.equals(blob.bytes));
  await mirror.idle();
  t.is((await summary(mirror)).state, 'ok');
  t.is(told(await ask(`/v2/team/1/blobs/${blob.digest}`)).cache, 'entrepot; hit');
  t.deepEqual(await heldRepositories(mirror), []);
});

test('a store full of pins stays full while small things still fit, and is ok a minute after it has room again', async (t) => {
  const place = await startPlace(t, {
    store: { maxBytes: 100_000 },
    layers: [[60_000], [70_000], [10]],
  });
  const { mirror, images, pull, ask, clock } = place;
  await pull(images[0]!);
  const { pins, health } = mirror.server.store.care;
  const pin = { origin: 'hand', image: `${UPSTREAM}/team/0:v1` };
  await pins.add({ ...pin, since: clock.now() });
  const blob = images[1]!.layer(0);
  for (const _ of [1, 2]) {
    await ask(`/v2/team/1/blobs/${blob.digest}`);
    await mirror.idle();
    // Manifest, configuration and layer of another image, all of which are kept.
    await pull(images[2]!);
    await mirror.idle();
    t.is((await summary(mirror)).state, 'full');
    clock.advance(30_000);
    t.is(health.wantedBytes, undefined);
  }
  const told = mirror.log.filter(({ msg }) => String(msg).startsWith('the store takes'));
  t.is(told.length, 1);
  const refused = mirror.log.filter(
    ({ msg, digest }) => msg === 'download' && digest === blob.digest,
  );
  t.deepEqual(
    refused.map(({ reason, err }) => [reason, err]),
    refused.map(() => [`no room for 70000 bytes: ${NOTHING}`, undefined]),
  );
  t.is(refused.length, 2);
  clock.advance(30_000);
  t.is(health.wantedBytes, 70_000);
  const { budget } = mirror.server.store.care;
  t.false(await budget.canHold(70_000));
  await pins.remove(pin);
  t.true(await budget.canHold(70_000));
});

test('a disk that is smaller than the store may be has room from the start', async (t) => {
  const { mirror } = await startScene(t, { store: { maxBytes: 2 ** 52 } });
  await mirror.server.store.care.settled;
  t.is((await summary(mirror)).state, 'ok');
});

test('a disk at its floor is the same, and ends with it', async (t) => {
  const place = await startPlace(t, {
    store: { minFreeBytes: 10_000 },
    layers: [[1000], [5000]],
  });
  const { mirror, images, ask } = place;
  let free = 14_000;
  mirror.server.blobs.folders.freeBytes = async () => free;
  const blob = images[1]!.layer(0);
  await passThrough(t, place, blob);
  free = 15_000;
  await ask(`/v2/team/1/blobs/${blob.digest}`);
  await mirror.idle();
  t.is((await summary(mirror)).state, 'ok');
  t.is(told(await ask(`/v2/team/1/blobs/${blob.digest}`)).cache, 'entrepot; hit');
});

test('a manifest that has no room is served all the same', async (t) => {
  const { mirror, images, ask } = await startPlace(t, {
    store: { maxBytes: 100 },
    layers: [[10]],
  });
  for (const _ of [1, 2]) {
    const answer = await ask('/v2/team/0/manifests/v1');
    t.deepEqual(answer.body, images[0]!.manifest.bytes);
  }
  t.deepEqual(await heldRepositories(mirror), []);
  t.is((await summary(mirror)).state, 'full');
});

test('no blob is evicted between its file and its record', async (t) => {
  const { mirror, images, pull } = await startPlace(t, { layers: [[1000]] });
  const { blobs, catalog } = mirror.server;
  const recordBlob = catalog.recordBlob.bind(catalog);
  catalog.recordBlob = async (target, digest, record) => {
    // As an eviction does that comes to it just now.
    if (!blobs.isBusy(digest)) await blobs.delete(digest);
    return recordBlob(target, digest, record);
  };
  await pull(images[0]!);
  t.is(await bytesOnDisk(mirror), catalog.usage.bytes);
});

test('pulls go on while older images go beside them', async (t) => {
  const layers = Array.from({ length: 10 }, () => [10_000]);
  const { mirror, images, pull, ask } = await startPlace(t, {
    store: { maxBytes: 110_000 },
    layers,
  });
  for (const image of images.slice(0, 9)) await pull(image);
  const { catalog, care } = mirror.server.store;
  const { budget } = care;
  const { promise: opened, resolve: letGo } = Promise.withResolvers<void>();
  const release = catalog.evict.bind(catalog);
  catalog.evict = async (unit) => {
    await opened;
    return release(unit);
  };
  const collecting = budget.evict(50_000);
  await nextTurn();
  const hit = await ask(`/v2/team/8/blobs/${images[8]!.layer(0).digest}`);
  t.true(hit.body.equals(images[8]!.layer(0).bytes));
  const small = images[9]!.config;
  t.deepEqual((await ask(`/v2/team/9/blobs/${small.digest}`)).body, small.bytes);
  letGo();
  t.is((await collecting).images.length, 5);
});
