/** Several connections for one blob beside what holds for every request: signed addresses, breaker, quota, cap, disk. */
import { mock } from 'node:test';
import test, { type ExecutionContext } from 'ava';
import type { UpstreamStatus } from '../../src/api/status-api.ts';
import { Bandwidth } from '../../src/upstream/bandwidth.ts';
import { get, open } from '../helpers/client.ts';
import { FakeRegistry, type FakeRegistryOptions } from '../helpers/fake-registry.ts';
import { buildImage, type Stored } from '../helpers/image.ts';
import { startMirror, type TestMirror, type UpstreamOptions } from '../helpers/mirror.ts';
import type { RecordedRequest } from '../helpers/recorded-request.ts';
import { until } from '../helpers/until.ts';

const KIB = 1024;
const SIZE = 1280 * KIB;
const HALF = SIZE / 2;
const always = { times: Infinity };

interface Scene {
  readonly registry: FakeRegistry;
  readonly mirror: TestMirror;
  readonly blobs: readonly Stored[];
  readonly urlOf: (blob: Stored) => string;
}

async function setUp(
  t: ExecutionContext,
  options: FakeRegistryOptions & {
    readonly upstream?: Partial<UpstreamOptions>;
    readonly turnMs?: number;
  } = {},
): Promise<Scene> {
  const { upstream, turnMs = 60_000, ...rest } = options;
  const registry = await FakeRegistry.start(t, rest);
  const image = buildImage({ seed: t.title, layers: [SIZE, SIZE + 1] });
  registry.addImage('library/app', 'latest', image, { name: 'app' });
  const url = registry.url;
  const mirror = await startMirror(t, {
    upstreams: { 'docker.io': { url, segments: 2, ...upstream } },
    timing: { dividedBytes: 1024 * KIB, turnMs },
  });
  await get(`${mirror.url}/v2/library/app/manifests/latest`);
  registry.clear();
  const urlOf = ({ digest }: Stored): string => `${mirror.url}/v2/library/app/blobs/${digest}`;
  return { registry, mirror, blobs: [image.layer(0), image.layer(1)], urlOf };
}

/** What each request of this origin asked for, in the order of the first byte. */
function rangesAt(registry: FakeRegistry, origin: RecordedRequest['origin']): string[] {
  const asked = registry.requests.filter((request) => request.origin === origin);
  const firstOf = (range: string): number => Number(range.split('-')[0]);
  return asked
    .map(({ range = '' }) => range.replace('bytes=', ''))
    .toSorted((one, other) => firstOf(one) - firstOf(other));
}

/** Whether they cover the blob, each byte once. */
function coverOnce(ranges: readonly string[]): boolean {
  let end = 0;
  for (const range of ranges) {
    const [first = NaN, last = NaN] = range.split('-').map(Number);
    if (first !== end) return false;
    end = last + 1;
  }
  return end === SIZE;
}

const isBehind =
  (start: number) =>
  ({ range }: RecordedRequest): boolean =>
    Number(/bytes=(\d+)/.exec(range ?? '')?.[1] ?? 0) >= start;

test('behind redirects each piece has an address of its own, and each byte comes once', async (t) => {
  const { registry, mirror, blobs, urlOf } = await setUp(t, { redirectBlobs: 307 });
  const [blob] = blobs as [Stored];
  t.true((await get(urlOf(blob))).body.equals(blob.bytes));
  const ranges = rangesAt(registry, 'storage');
  t.true(ranges.length > 2);
  t.true(coverOnce(ranges), ranges.join(' '));
  t.deepEqual(rangesAt(registry, 'registry'), ranges);
  await mirror.idle();
  t.is((await get(urlOf(blob))).headers['cache-status'], 'entrepot; hit');
});

test('addresses that expire while connections are cut off: each goes on with a new one, and no byte comes twice', async (t) => {
  const { registry, blobs, urlOf } = await setUp(t, { redirectBlobs: 307 });
  const [blob, other] = blobs as [Stored, Stored];
  const storage = { origin: 'storage' } as const;
  const gate = registry.hold(blob, { after: 32 * KIB, ...storage });
  const second = registry.hold(isBehind(HALF), { after: 64 * KIB, ...storage });
  const client = await open(urlOf(blob));
  await Promise.all([gate.arrived(), second.arrived()]);
  registry.expireSignatures();
  registry.cut(isBehind(HALF), { after: 100, ...storage });
  second.open();
  await registry.seen((request) => request.origin === 'storage' && isBehind(HALF + 1)(request), 2);
  registry.expireSignatures();
  gate.open();
  t.true((await client.rest()).equals(blob.bytes));
  const sent = registry.requests.filter(({ origin }) => origin === 'storage');
  t.is(
    sent.reduce((sum, { bytesSent }) => sum + bytesSent, 0),
    SIZE,
  );
  // It is still divided.
  registry.clear();
  t.true((await get(urlOf(other))).body.equals(other.bytes));
  t.true(rangesAt(registry, 'storage').length > 2);
});

for (const [who, start] of [
  ['the first connection', 0],
  ['the second one', HALF],
] as const) {
  test(`an address that expired before ${who} followed it breaks no body`, async (t) => {
    const { registry, mirror, blobs, urlOf } = await setUp(t, { redirectBlobs: 307 });
    const [blob] = blobs as [Stored];
    const isMeant = (request: RecordedRequest): boolean =>
      request.origin === 'registry' && (start === 0 || isBehind(start)(request));
    const gate = registry.hold(isMeant, { before: 'headers' });
    const first = start > 0 ? registry.hold(blob, { after: 32 * KIB }) : undefined;
    const client = open(urlOf(blob));
    await gate.arrived();
    registry.expireSignatures();
    gate.open();
    await registry.seen((request) => request.origin === 'storage', start > 0 ? 2 : 1);
    first?.open();
    t.true((await (await client).rest()).equals(blob.bytes));
    await mirror.idle();
    t.is((await get(urlOf(blob))).headers['cache-status'], 'entrepot; hit');
  });
}

test('with the breaker open nothing more is asked; with it closed the blob is completed, and no byte comes twice', async (t) => {
  const { registry, mirror, blobs, urlOf } = await setUp(t);
  const [blob] = blobs as [Stored];
  const gates = [32 * KIB, 64 * KIB].map((after) => registry.hold(blob, { after }));
  const client = await open(urlOf(blob));
  await Promise.all(gates.map(async (gate) => gate.arrived()));
  const asked = registry.requests.length;
  registry.status(() => true, 503, always);
  const state = async (): Promise<UpstreamStatus['state'] | undefined> => {
    const { body } = await get(`${mirror.server.adminUrl}/api/v1/status`);
    const { upstreams } = JSON.parse(String(body)) as { upstreams: UpstreamStatus[] };
    return upstreams[0]?.state;
  };
  for (const name of ['a', 'b', 'c']) await get(`${mirror.url}/v2/team/${name}/manifests/latest`);
  await until('it is down', async () => (await state()) === 'down');
  const isOfBlob = ({ path }: RecordedRequest): boolean => path.includes('/blobs/');
  t.is(registry.requests.filter(isOfBlob).length, asked);
  registry.heal();
  for (const gate of gates) gate.open();
  t.true((await client.rest()).equals(blob.bytes));
  const sent = registry.requests.filter((request) => isOfBlob(request));
  t.is(
    sent.reduce((sum, { bytesSent }) => sum + bytesSent, 0),
    SIZE,
  );
});

test('pieces cost no pull: with the last one spent a blob still has all its connections', async (t) => {
  const { registry, mirror, blobs, urlOf } = await setUp(t);
  const [blob] = blobs as [Stored];
  registry.rateLimit({ limit: 100, remaining: 1 });
  const manifest = `${mirror.url}/v2/library/app/manifests/latest`;
  await get(manifest);
  registry.clear();
  t.true((await get(urlOf(blob))).body.equals(blob.bytes));
  const ranges = rangesAt(registry, 'registry');
  t.true(ranges.length > 2);
  t.true(coverOnce(ranges), ranges.join(' '));
  t.true(registry.requests.every(({ path }) => path.includes('/blobs/')));
});

test.serial('all connections of a blob are under one cap', async (t) => {
  const taken = new Map<Bandwidth, number>();
  const { mock: spy } = mock.method(
    Bandwidth.prototype,
    'take',
    async function (this: Bandwidth, bytes: number) {
      taken.set(this, (taken.get(this) ?? 0) + bytes);
    },
  );
  t.teardown(() => spy.restore());
  const { registry, blobs, urlOf } = await setUp(t, {
    upstream: { bytesPerSecond: 10 * 1024 * KIB, segments: 4 },
  });
  const [blob] = blobs as [Stored];
  taken.clear();
  t.true((await get(urlOf(blob))).body.equals(blob.bytes));
  t.true(registry.requests.length > 2);
  t.deepEqual([...taken.values()], [SIZE]);
});

test('a slow connection that has the earliest piece starves no one who reads in order', async (t) => {
  const { registry, blobs, urlOf } = await setUp(t, { upstream: { segments: 3 }, turnMs: 1_000 });
  const [blob] = blobs as [Stored];
  // Bytes come all the time, but next to none.
  const isSlow = isBehind(HALF);
  registry.slow(isSlow, { bytesPerSecond: 2 * KIB });
  t.true((await get(urlOf(blob))).body.equals(blob.bytes));
  const slow = registry.requests.find(isSlow)!;
  t.true(slow.bytesSent < 160 * KIB, String(slow.bytesSent));
});
