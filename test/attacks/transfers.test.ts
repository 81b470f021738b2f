/** A transfer that breaks, drips or ends badly: its clients get every byte that there is, and nobody waits for ever. */
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { arrivals } from '../helpers/arrivals.ts';
import { get, open, TruncatedError } from '../helpers/client.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildBlob, buildImage, type Image, type Stored } from '../helpers/image.ts';
import { startMirror, type MirrorOptions, type TestMirror } from '../helpers/mirror.ts';

const MIB = 1024 * 1024;
const HUB = 'docker.io';
const REPOSITORY = 'library/app';
const always = { times: Infinity };

interface Site {
  readonly registry: FakeRegistry;
  readonly mirror: TestMirror;
  readonly add: (name: string, size?: number) => Stored;
  readonly urlOf: (blob: Stored) => string;
}

async function startSite(
  t: ExecutionContext,
  {
    places = 4,
    hydrate = 'off',
    ...options
  }: Partial<MirrorOptions> & { places?: number; hydrate?: 'blob' | 'off' } = {},
): Promise<Site> {
  const registry = await FakeRegistry.start(t);
  const mirror = await startMirror(t, {
    upstreams: { [HUB]: { url: registry.url, concurrency: places, hydrate } },
    ...options,
  });
  return {
    registry,
    mirror,
    add: (name, size = 2 * MIB) =>
      registry.addBlob(REPOSITORY, buildBlob(`${t.title} ${name}`, size), { name }),
    urlOf: ({ digest }) => `${mirror.url}/v2/${REPOSITORY}/blobs/${digest}`,
  };
}

test('a transfer that stalls before its last byte goes on from there for all who follow it', async (t) => {
  const { registry, add, urlOf } = await startSite(t, { timing: { stallMs: 400 } });
  const layer = add('layer');
  const gate = registry.hold(layer, { after: layer.size - 1 });
  const allAsk = arrivals(urlOf(layer), 20);
  const answers = Array.from({ length: 20 }, async () => open(urlOf(layer)));
  await allAsk;
  const readers = await Promise.all(answers);
  for (const reader of readers) await reader.read(layer.size - 1);
  t.false(gate.isOpen);
  for (const reader of readers) t.true((await reader.rest()).equals(layer.bytes.subarray(-1)));
  t.deepEqual(registry.conversation(), [
    `GET /v2/${REPOSITORY}/blobs/<layer>`,
    `GET /v2/${REPOSITORY}/blobs/<layer> bytes=${layer.size - 1}-${layer.size - 1}`,
  ]);
  gate.open();
});

for (const isSizeKnown of [true, false]) {
  test(`a body of ${isSizeKnown ? 'known' : 'unknown'} size that never ends after its last byte is whole`, async (t) => {
    const { registry, add, urlOf } = await startSite(t, { places: 1, timing: { stallMs: 400 } });
    const [first, layer] = [add('first'), add('layer')];
    const gate = registry.hold(first, { after: 1000 });
    const running = await open(urlOf(first));
    registry.omitHeaders(layer, ['Content-Length'], {
      ...always,
      ...(isSizeKnown && { method: 'GET' }),
    });
    const end = registry.stall(layer, { after: layer.size });
    const pulling = get(urlOf(layer));
    await registry.seen(layer);
    gate.open();
    t.true((await running.rest()).equals(first.bytes));
    t.true((await pulling).body.equals(layer.bytes));
    end.open();
  });
}

test('whoever waits for a turn is told so in time, those who joined as well', async (t) => {
  const { registry, mirror, add, urlOf } = await startSite(t, {
    places: 1,
    timing: { firstByteMs: 500, attemptsMs: 0, turnMs: 60_000 },
  });
  const [first, layer] = [add('first'), add('layer')];
  const gate = registry.hold(first, { after: 1000 });
  const running = await open(urlOf(first));
  // It tells no size, so that there are no headers to send before the turn.
  registry.status(/blobs/, 501, { ...always, method: 'HEAD' });
  registry.status((request) => request.toString().endsWith(' bytes=0-0'), 501, always);
  const pulls = [get(urlOf(layer)), get(urlOf(layer))];
  for (const { status, body } of await Promise.all(pulls)) {
    t.is(status, 504);
    t.regex(body.toString(), /docker\.io: no turn for a transfer within 1500 ms/);
  }
  gate.open();
  t.true((await running.rest()).equals(first.bytes));
  await mirror.idle();
  t.true((await get(urlOf(layer))).body.equals(layer.bytes));
});

test('the registry and the storage that it redirects to have the time of one first byte together', async (t) => {
  const registry = await FakeRegistry.start(t, { redirectBlobs: 307 });
  const mirror = await startMirror(t, {
    upstreams: { [HUB]: { url: registry.url } },
    timing: { firstByteMs: 1_000, attemptsMs: 500 },
  });
  const layer = registry.addBlob(REPOSITORY, buildBlob(t.title, 1000), { name: 'layer' });
  const path = `/v2/${REPOSITORY}/blobs/${layer.digest}`;
  const redirect = registry.hold(path);
  const storage = registry.hang(layer);
  const asking = get(`${mirror.url}${path}`);
  await redirect.arrived();
  // What the registry takes is no more the storage's.
  await sleep(200);
  redirect.open();
  const { status, body } = await asking;
  t.is(status, 504);
  // The limit of the second request alone says `no answer`, and is still to come.
  t.regex(body.toString(), /no whole answer/);
  await mirror.idle();
  storage.open();
});

test('a second attempt to begin a transfer has the time that the first one left', async (t) => {
  const { registry, mirror, add, urlOf } = await startSite(t, {
    timing: { firstByteMs: 1_000, attemptsMs: 900 },
  });
  const layer = add('layer');
  registry.status(layer, 503);
  const hung = registry.hang(layer);
  const { status, body } = await get(urlOf(layer));
  t.is(status, 504);
  // The limit of a single request says `no answer` and is still to come.
  t.regex(body.toString(), /no whole answer from [\d.:]+ within \d{1,3} ms/);
  await mirror.idle();
  const asked = registry.conversation().filter((line) => line !== 'GET /v2/');
  t.deepEqual(asked, Array(2).fill('GET /v2/library/app/blobs/<layer>'));
  hung.open();
});

test('an upstream that breaks off after each byte is asked a few times', async (t) => {
  const { registry, mirror, add, urlOf } = await startSite(t, { leftovers: { partials: true } });
  const layer = add('layer');
  registry.cut(layer, { ...always, after: 1 });
  const error = await t.throwsAsync(get(urlOf(layer)), { instanceOf: TruncatedError });
  t.is(error?.received.length, 9);
  t.is(registry.conversation().length, 9);
  await mirror.idle();
  registry.heal();
  registry.clear();
  for (let n = 0; n < 40; n += 1) registry.cut(layer, { after: 64 * 1024 });
  t.true((await get(urlOf(layer))).body.equals(layer.bytes));
  t.is(registry.conversation().length, 32);
});

/** An image, by its tag. */
interface Pulled {
  readonly name: string;
  readonly image: Image;
}

test('what drips holds up no other background work, and goes on for whoever asks', async (t) => {
  const { registry, mirror, urlOf } = await startSite(t, {
    hydrate: 'blob',
    timing: { stallMs: 1_000 },
  });
  const images = ['a', 'b', 'c'].map((name) => {
    const image = buildImage({ seed: `${t.title} ${name}`, layers: [100, 40_000] });
    registry.addImage(REPOSITORY, name, image, { name });
    return { name, image };
  });
  const pull = async ({ name, image }: Pulled): Promise<Stored> => {
    await get(`${mirror.url}/v2/${REPOSITORY}/manifests/${name}`);
    await get(urlOf(image.layer(0)));
    await registry.seen(image.layer(1));
    return image.layer(1);
  };
  const [first, second, last] = images as [Pulled, Pulled, Pulled];
  for (const { image } of [first, second]) registry.slow(image.layer(1), { bytesPerSecond: 100 });
  const [dripping] = await Promise.all([pull(first), pull(second)]);
  await pull(last);
  const reader = await open(urlOf(dripping));
  t.true((await reader.read(100)).equals(dripping.bytes.subarray(0, 100)));
  reader.destroy();
  t.is((await registry.seen(dripping)).length, 1);
  await mirror.abandon();
});
