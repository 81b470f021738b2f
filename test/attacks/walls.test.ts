/** Between two upstreams stands a wall: neither's faults, words or bytes are the other one's. */
import test, { type ExecutionContext } from 'ava';
import { parseDigest } from '../../src/oci/digest.ts';
import { parseRepository } from '../../src/oci/reference.ts';
import {
  get,
  open,
  TruncatedError,
  type ClientAnswer,
  type GetOptions,
} from '../helpers/client.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import {
  buildBlob,
  buildImage,
  descriptorOf,
  MEDIA_TYPES,
  storeJson,
  type Image,
  type Stored,
} from '../helpers/image.ts';
import { startMirror, type MirrorOptions, type TestMirror } from '../helpers/mirror.ts';
import { until } from '../helpers/until.ts';

const MIB = 1024 * 1024;
const GOOD = 'good.example';
const EVIL = 'evil.example';
const always = { times: Infinity };

interface World {
  readonly good: FakeRegistry;
  readonly evil: FakeRegistry;
  readonly mirror: TestMirror;
  readonly urlOf: (upstream: string, blob: Stored) => string;
  readonly blob: (upstream: string, blob: Stored, options?: GetOptions) => Promise<ClientAnswer>;
  readonly manifest: (upstream: string, reference: string) => Promise<ClientAnswer>;
}

async function setUp(
  t: ExecutionContext,
  options: Partial<MirrorOptions> & { hydrate?: 'blob' | 'off' } = {},
): Promise<World> {
  const [good, evil] = [await FakeRegistry.start(t), await FakeRegistry.start(t)];
  const { hydrate = 'off', ...rest } = options;
  const mirror = await startMirror(t, {
    upstreams: { [GOOD]: { url: good.url, hydrate }, [EVIL]: { url: evil.url, hydrate } },
    ...rest,
  });
  const urlOf: World['urlOf'] = (upstream, { digest }) =>
    `${mirror.url}/v2/team/app/blobs/${digest}?ns=${upstream}`;
  return {
    good,
    evil,
    mirror,
    urlOf,
    blob: async (upstream, blob, request) => get(urlOf(upstream, blob), request),
    manifest: async (upstream, reference) =>
      get(`${mirror.url}/v2/team/app/manifests/${reference}?ns=${upstream}`),
  };
}

/** Of both upstreams. */
function addLayer({ good, evil }: World, size: number): Stored {
  const layer = buildBlob('layer', size);
  for (const registry of [good, evil]) registry.addBlob('team/app', layer, { name: 'layer' });
  return layer;
}

test('a transfer from one upstream that stands still holds up no client of another one', async (t) => {
  const world = await setUp(t);
  const layer = addLayer(world, 2 * MIB);
  const gate = world.evil.hold(layer, { after: 11 });
  const slow = await open(world.urlOf(EVIL, layer));
  await gate.arrived();
  t.true((await world.blob(GOOD, layer)).body.equals(layer.bytes));
  t.false(gate.isOpen);
  gate.open();
  t.true((await slow.rest()).equals(layer.bytes));
  t.deepEqual(world.good.conversation(), ['GET /v2/team/app/blobs/<layer>']);
  t.deepEqual(world.evil.conversation(), ['GET /v2/team/app/blobs/<layer>']);
});

test('a transfer from one upstream that hangs before its headers holds up no client of another one', async (t) => {
  const world = await setUp(t);
  const layer = addLayer(world, 2 * MIB);
  const gate = world.evil.hang(layer, { method: 'GET' });
  const waiting = world.blob(EVIL, layer);
  await gate.arrived();
  t.true((await world.blob(GOOD, layer)).body.equals(layer.bytes));
  gate.open();
  t.true((await waiting).body.equals(layer.bytes));
});

test('wrong bytes that one upstream left behind reach no client of another one', async (t) => {
  const world = await setUp(t, { timing: { stallMs: 100 }, leftovers: { partials: true } });
  const { good, evil, blob, mirror } = world;
  const layer = addLayer(world, 300_000);
  const headers = { 'Content-Length': '300000' };
  evil.status(/blobs/, 200, { body: 'x'.repeat(100_000), headers, contentType: 'a/b' });
  evil.status(/blobs/, 403, always);
  const lying = await open(world.urlOf(EVIL, layer));
  await t.throwsAsync(lying.rest(), { instanceOf: TruncatedError });
  await mirror.idle();
  t.true((await blob(GOOD, layer)).body.equals(layer.bytes));
  t.deepEqual(good.conversation(), ['GET /v2/team/app/blobs/<layer>']);
});

test('what one upstream sent of a blob is not gone on with at another one', async (t) => {
  const world = await setUp(t, { leftovers: { partials: true } });
  const { good, evil, mirror, blob } = world;
  const secret = buildBlob('secret', 300_000);
  good.addBlob('team/app', secret, { name: 'secret' });
  evil.addBlob('team/app', buildBlob('other', 10));
  good.cut(secret, { after: 100_000 });
  good.status(secret, 403);
  await t.throwsAsync(blob(GOOD, secret), { instanceOf: TruncatedError });
  await mirror.idle();
  // It would say whatever opens the bytes.
  const range = { 'Content-Range': 'bytes 100000-299999/300000' };
  evil.status(/blobs/, 206, { ...always, headers: range, contentType: 'application/octet-stream' });
  const answer = await blob(EVIL, secret).catch((error: unknown) => error as TruncatedError);
  const received = 'received' in answer ? answer.received : answer.body;
  t.false(received.includes(secret.bytes.subarray(0, 100)));
  await mirror.idle();
  evil.heal();
  t.true((await blob(GOOD, secret)).body.equals(secret.bytes));
  t.deepEqual(good.conversation().at(-1), 'GET /v2/team/app/blobs/<secret> bytes=100000-');
});

test("another upstream's bare HEAD opens no held blob, and no manifest", async (t) => {
  const { good, evil, mirror, blob, manifest } = await setUp(t);
  const image = buildImage({ seed: 'secret', layers: [200_000] });
  const layer = image.layer(0);
  good.addImage('team/app', 'v1', image, { name: 'app' });
  t.is((await manifest(GOOD, 'v1')).status, 200);
  t.true((await blob(GOOD, layer)).body.equals(layer.bytes));
  await mirror.idle();
  for (const { digest, mediaType, bytes } of [layer, image.manifest]) {
    const headers = { 'Content-Length': String(bytes.length), 'Docker-Content-Digest': digest };
    const path = new RegExp(digest);
    const contentType = mediaType;
    evil.status(path, 200, { ...always, method: 'HEAD', headers, contentType, body: '' });
    evil.status(path, 200, { ...always, method: 'GET', contentType, body: 'nothing of it' });
  }
  const opened = await blob(EVIL, layer).catch((error: unknown) => error as TruncatedError);
  const received = 'received' in opened ? opened.received : opened.body;
  t.true(received.length < 'nothing of it'.length);
  const refused = await manifest(EVIL, image.manifest.digest);
  t.is(refused.status, 502);
  t.false(refused.body.includes(image.config.digest));
  // Its own word is passed on as its own.
  t.is((await blob(EVIL, layer, { method: 'HEAD' })).status, 200);
  await evil.refuse();
  t.is((await blob(EVIL, layer)).status, 502);
});

test('a blob that another upstream has too is opened by one small range of it', async (t) => {
  const world = await setUp(t);
  const { good, evil, mirror, blob } = world;
  const layer = addLayer(world, 5 * MIB);
  t.is((await blob(GOOD, layer)).status, 200);
  await mirror.idle();
  const answers = await Promise.all([blob(EVIL, layer), blob(EVIL, layer)]);
  for (const { body, headers } of answers) {
    t.true(body.equals(layer.bytes));
    t.is(headers['cache-status'], 'entrepot; hit');
  }
  const [head, ranged, ...others] = evil.requests;
  t.deepEqual(others, []);
  t.is(head?.method, 'HEAD');
  t.regex(ranged?.range ?? '', /^bytes=\d+-\d+$/);
  t.true(evil.bytesSent <= 64 * 1024);
  t.is(good.requests.length, 1);
  await evil.refuse();
  t.true((await blob(EVIL, layer)).body.equals(layer.bytes), 'and the proof is remembered');
});

for (const [size, range] of [
  [0, undefined],
  [1, 'bytes=0-0'],
] as const) {
  test(`a blob of ${size} bytes that another upstream has too is opened by what it can show`, async (t) => {
    const world = await setUp(t);
    const { good, evil, mirror, blob } = world;
    const layer = addLayer(world, size);
    t.is((await blob(GOOD, layer)).status, 200);
    await mirror.idle();
    const answer = await blob(EVIL, layer);
    t.deepEqual(answer.body, layer.bytes);
    t.is(answer.headers['cache-status'], 'entrepot; hit');
    const asked = evil.requests.map((request) => [request.method, request.range]);
    const shown = range === undefined ? [] : [['GET', range]];
    t.deepEqual(asked, [['HEAD', undefined], ...shown]);
    t.is(good.requests.length, 1);
  });
}

test('an upstream that sends the whole in place of a range is read to its end as its own', async (t) => {
  const world = await setUp(t);
  const layer = addLayer(world, 2 * MIB);
  t.is((await world.blob(GOOD, layer)).status, 200);
  await world.mirror.idle();
  world.evil.ignoreRange(layer, always);
  const answer = await world.blob(EVIL, layer);
  t.true(answer.body.equals(layer.bytes));
  t.is(answer.headers['cache-status'], 'entrepot; fwd=miss; stored');
  await world.mirror.idle();
  t.is((await world.blob(EVIL, layer)).headers['cache-status'], 'entrepot; hit');
});

async function claim(world: World): Promise<Image> {
  const image = buildImage({ seed: 'shared', layers: [200_000] });
  world.good.addImage('team/app', 'v1', image, { name: 'app' });
  answered(await world.blob(GOOD, image.layer(0)));
  await world.mirror.idle();
  world.evil.addImage('team/app', 'v1', image, { name: 'app' });
  answered(await world.manifest(EVIL, 'v1'));
  return image;
}

function answered({ status }: ClientAnswer): void {
  if (status !== 200) throw new Error(`answered ${status}`);
}

test('a manifest of an upstream that lists what came from another one opens nothing while it is silent', async (t) => {
  const world = await setUp(t);
  const image = await claim(world);
  await world.evil.refuse();
  t.is((await world.blob(EVIL, image.layer(0))).status, 502);
  t.is((await world.blob(GOOD, image.layer(0))).status, 200);
});

test('what came from another upstream stays its own when it is evicted there', async (t) => {
  const world = await setUp(t);
  const { good, evil, mirror, blob, manifest } = world;
  const image = buildImage({ seed: 'secret', layers: [200_000] });
  const layer = image.layer(0);
  good.addImage('team/app', 'v1', image, { name: 'app' });
  answered(await manifest(GOOD, 'v1'));
  answered(await blob(GOOD, layer));
  await mirror.idle();
  // What it lists it has never shown, a manifest no more than a layer.
  const listing = {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.manifest,
    config: descriptorOf(image.config),
    layers: [layer, image.manifest].map(descriptorOf),
  };
  evil.addManifest('team/app', storeJson(listing, MEDIA_TYPES.manifest), { tags: ['v1'] });
  answered(await manifest(EVIL, 'v1'));
  const { catalog, blobs } = mirror.server;
  await catalog.evict(`${GOOD}/team/app ${image.manifest.digest}`);
  for (const held of [layer, image.manifest]) {
    t.truthy(await blobs.find(parseDigest(held.digest)), 'another manifest keeps the file');
  }
  await evil.refuse();
  for (const held of [layer, image.manifest]) t.is((await blob(EVIL, held)).status, 502);
  t.true((await blob(GOOD, layer)).body.equals(layer.bytes));
  t.deepEqual(good.conversation().slice(-1), ['HEAD /v2/team/app/blobs/<app.layer0>']);
});

test('what an image shares with one of another upstream is shown to be its own when it is completed', async (t) => {
  const world = await setUp(t, { hydrate: 'blob' });
  const image = await claim(world);
  // One blob of it is asked for: then the others are brought too.
  answered(await world.blob(EVIL, image.config));
  const digest = parseDigest(image.layer(0).digest);
  const target = { upstream: EVIL, repository: parseRepository('team/app') };
  const { catalog } = world.mirror.server;
  await until(
    'the blob is shown to be its own',
    async () => (await catalog.findLink(target, digest)) === 'proven',
  );
  await world.evil.refuse();
  t.true((await world.blob(EVIL, image.layer(0))).body.equals(image.layer(0).bytes));
});

test('two images that are completed at once are shown by one question to own what they share', async (t) => {
  const world = await setUp(t, { hydrate: 'blob' });
  const { good, evil, mirror } = world;
  const layer = addLayer(world, 3 * MIB);
  answered(await world.blob(GOOD, layer));
  await mirror.idle();
  const images = ['one', 'other'].map((seed) => {
    const { config } = buildImage({ seed, layers: [100] });
    const manifest = storeJson(
      {
        schemaVersion: 2,
        mediaType: MEDIA_TYPES.manifest,
        config: descriptorOf(config),
        layers: [descriptorOf(layer)],
      },
      MEDIA_TYPES.manifest,
    );
    evil.addBlob('team/app', config, { name: `${seed}.config` });
    evil.addManifest('team/app', manifest, { tags: [seed] });
    return { seed, config };
  });
  // Each looks up once what it lacks and once what it is to be shown.
  const { catalog } = mirror.server;
  const originOf = catalog.originOf.bind(catalog);
  let looks = 0;
  catalog.originOf = async (digest, upstream) => {
    const origin = await originOf(digest, upstream);
    if (digest === layer.digest && upstream === EVIL) looks += 1;
    return origin;
  };
  const gate = evil.hold(layer, { before: 'headers' });
  for (const { seed, config } of images) {
    answered(await world.manifest(EVIL, seed));
    answered(await world.blob(EVIL, config));
  }
  await gate.arrived();
  await until('both want it shown', () => looks === 4);
  gate.open();
  await until('both are complete', () => mirror.server.hydrations() === 0);
  const ofLayer = evil.conversation().filter((line) => line.includes('<layer>'));
  t.deepEqual(
    ofLayer.map((line) => line.replace(/=.*/, '')),
    ['GET /v2/team/app/blobs/<layer> bytes'],
  );
  t.deepEqual(good.conversation(), ['GET /v2/team/app/blobs/<layer>']);
});
