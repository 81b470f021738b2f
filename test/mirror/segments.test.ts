/** One large blob over several connections: which byte is asked for over which, and what upstreams make of it. */
import { mkdir, rmdir } from 'node:fs/promises';
import test, { type ExecutionContext } from 'ava';
import { get, open, TruncatedError } from '../helpers/client.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildImage, type Stored } from '../helpers/image.ts';
import {
  createTempFolder,
  partialPath,
  startMirror,
  type MirrorOptions,
  type TestMirror,
} from '../helpers/mirror.ts';
import type { RecordedRequest } from '../helpers/recorded-request.ts';

const KIB = 1024;
/** In place of the 32 MiB of a real mirror. */
const LARGE = 1024 * KIB;
const SIZE = 1280 * KIB;
/** What the first connection asks for first: half of it. */
const HALF = SIZE / 2;
const REPOSITORY = 'library/app';
const NAME = 'docker.io';
const always = { times: Infinity };

interface Scene {
  readonly registry: FakeRegistry;
  readonly blob: Stored;
  readonly mirror: TestMirror;
  readonly url: string;
  /** Another blob of the same image. */
  readonly other: { readonly blob: Stored; readonly url: string };
}

async function setUp(
  t: ExecutionContext,
  {
    segments = 2,
    concurrency = 8,
    size = SIZE,
    ...rest
  }: {
    segments?: number | 'auto';
    concurrency?: number;
    size?: number;
  } & Partial<MirrorOptions> = {},
): Promise<Scene> {
  const registry = await FakeRegistry.start(t);
  const image = buildImage({ seed: t.title, layers: [size, size + 1] });
  registry.addImage(REPOSITORY, 'latest', image, { name: 'app' });
  const mirror = await startMirror(t, {
    upstreams: { [NAME]: { url: registry.url, segments, concurrency, hydrate: 'off' } },
    ...rest,
    timing: { dividedBytes: LARGE, retryMs: 1, turnMs: 60_000 },
  });
  await get(`${mirror.url}/v2/${REPOSITORY}/manifests/latest`);
  registry.clear();
  const urlOf = ({ digest }: Stored): string => `${mirror.url}/v2/${REPOSITORY}/blobs/${digest}`;
  const [blob, another] = [image.layer(0), image.layer(1)];
  return {
    registry,
    blob,
    mirror,
    url: urlOf(blob),
    other: { blob: another, url: urlOf(another) },
  };
}

function line(range?: string, layer = 'layer0'): string {
  return `GET /v2/${REPOSITORY}/blobs/<app.${layer}>${range === undefined ? '' : ` bytes=${range}`}`;
}

/** What each request asked for, as `[first, last]`, in the order of the first. */
function rangesOf({ requests }: FakeRegistry): number[][] {
  return requests
    .map(({ range }) => (range ?? '').replace('bytes=', '').split('-').map(Number))
    .toSorted(([one = 0], [other = 0]) => one - other);
}

/** The request of the second connection and all that follow, as their first byte tells. */
function isBehind(start: number): (request: RecordedRequest) => boolean {
  return ({ range }) => Number(/bytes=(\d+)/.exec(range ?? '')?.[1] ?? 0) >= start;
}

for (const segments of [2, 4, 7]) {
  test(`over ${segments} connections each byte is asked for once, and sent once`, async (t) => {
    const { registry, blob, url, mirror } = await setUp(t, { segments });
    const gates = Array.from({ length: segments }, () => registry.hold(blob, { after: 32 * KIB }));
    const client = await open(url);
    // So many at a time.
    await Promise.all(gates.map(async (gate) => gate.arrived()));
    t.is(registry.requests.length, segments);
    for (const gate of gates) gate.open();
    t.true((await client.rest()).equals(blob.bytes));
    let end = 0;
    for (const [first, last = NaN] of rangesOf(registry)) {
      t.is(first, end);
      end = last + 1;
    }
    t.is(end, SIZE);
    t.is(registry.bytesSent, SIZE);
    await mirror.idle();
    t.is((await get(url)).headers['cache-status'], 'entrepot; hit');
  });
}

test('the earliest bytes that are missing come first; a part that has come is served before the start has', async (t) => {
  const { registry, blob, url } = await setUp(t);
  const gate = registry.hold(blob, { after: 32 * KIB });
  const whole = await open(url);
  const ahead = await get(url, { headers: { range: `bytes=${HALF}-${SIZE - 2}` } });
  t.is(ahead.status, 206);
  t.true(ahead.body.equals(blob.bytes.subarray(HALF, SIZE - 1)));
  t.false(gate.isOpen);
  // What is not here is waited for: a range in front of it costs no request.
  const behind = await open(url, { headers: { range: `bytes=${64 * KIB}-${96 * KIB - 1}` } });
  gate.open();
  t.true((await behind.rest()).equals(blob.bytes.subarray(64 * KIB, 96 * KIB)));
  t.true((await whole.rest()).equals(blob.bytes));
  const ends = [HALF, 819_200, 942_080, 1_034_240, 1_103_360, 1_168_896, 1_234_432, SIZE];
  t.deepEqual(
    registry.conversation(),
    [0, ...ends.slice(0, -1)].map((start, at) => line(`${start}-${(ends[at] ?? 0) - 1}`)),
  );
  t.is(registry.bytesSent, SIZE);
});

test('one connection for small blobs, for those of which no size is known, and where places are few', async (t) => {
  const small = await setUp(t, { size: LARGE - 2 });
  await get(small.url);
  t.deepEqual(small.registry.conversation(), [line()]);
  const unknown = await setUp(t);
  const { digest } = unknown.registry.addBlob('library/other', unknown.blob);
  await get(`${unknown.mirror.url}/v2/library/other/blobs/${digest}`);
  t.deepEqual(unknown.registry.conversation(), [line().replace('app/', 'other/')]);
  for (const options of [{ concurrency: 2 }, { segments: 1 }]) {
    const { registry, url } = await setUp(t, options);
    await get(url);
    t.deepEqual(registry.conversation(), [line()]);
  }
});

test('an upstream that answers 200 has one connection, and is asked for no ranges for a while', async (t) => {
  const { registry, blob, url, other } = await setUp(t);
  registry.ignoreRange(/blobs/, always);
  t.true((await get(url)).body.equals(blob.bytes));
  t.true((await get(other.url)).body.equals(other.blob.bytes));
  t.deepEqual(registry.conversation(), [line(`0-${HALF - 1}`), line(undefined, 'layer1')]);
  t.is(registry.bytesSent, 2 * SIZE + 1);
});

for (const status of [400, 403, 416, 501] as const) {
  test(`an upstream that answers ranges with ${status} is asked for all of it`, async (t) => {
    const { registry, blob, url, other } = await setUp(t);
    registry.status(({ range }) => range !== undefined, status, always);
    t.true((await get(url)).body.equals(blob.bytes));
    t.true((await get(other.url)).body.equals(other.blob.bytes));
    const asked = registry.conversation().filter((each) => each.includes('bytes='));
    t.true(
      asked.every((each) => each === line(`0-${HALF - 1}`)),
      asked.join('\n'),
    );
    t.is(registry.bytesSent > 2 * SIZE, true);
    t.deepEqual(registry.conversation().slice(asked.length), [line(), line(undefined, 'layer1')]);
  });
}

/** What the second connection meets, and whether the upstream is left with one connection then. */
const SECOND: Readonly<Record<string, (registry: FakeRegistry) => void>> = {
  'a 200': (registry) => registry.ignoreRange(isBehind(HALF)),
  'another range': (registry) => registry.wrongRange(isBehind(HALF), { shift: 7 }),
  'a 429': (registry) => registry.status(isBehind(HALF), 429),
  'a 503': (registry) => registry.status(isBehind(HALF), 503, { times: 8 }),
  'a 404': (registry) => registry.status(isBehind(HALF), 404),
};

for (const [what, happens] of Object.entries(SECOND)) {
  test(`a second connection that meets ${what} is the last one: the first brings all`, async (t) => {
    const { registry, blob, url, other } = await setUp(t);
    const gate = registry.hold(blob, { after: 32 * KIB });
    happens(registry);
    const client = await open(url);
    await registry.seen(isBehind(HALF));
    gate.open();
    t.true((await client.rest()).equals(blob.bytes));
    registry.heal();
    registry.clear();
    t.true((await get(other.url)).body.equals(other.blob.bytes));
    t.deepEqual(registry.conversation(), [line(undefined, 'layer1')]);
  });
}

test('where a connection was cut off it goes on: no byte is sent twice', async (t) => {
  const { registry, blob, url } = await setUp(t);
  const gate = registry.hold(blob, { after: 32 * KIB });
  registry.cut(isBehind(HALF), { after: 64 * KIB });
  const client = await open(url);
  await registry.seen(isBehind(HALF + 1));
  gate.open();
  t.true((await client.rest()).equals(blob.bytes));
  t.is(registry.bytesSent, SIZE);
  t.deepEqual(registry.conversation().slice(0, 2), [
    line(`0-${HALF - 1}`),
    line(`${HALF}-${HALF + 160 * KIB - 1}`),
  ]);
  t.is(rangesOf(registry)[2]?.[0], HALF + 64 * KIB);
});

/** Every way in which an upstream lies about what it sends, to one of the connections. */
const LIES: Readonly<
  Record<string, (registry: FakeRegistry, what: (r: RecordedRequest) => boolean) => void>
> = {
  'ignores the range': (registry, what) => registry.ignoreRange(what),
  'sends an earlier range': (registry, what) => registry.wrongRange(what, { shift: -3 }),
  'sends a later range': (registry, what) => registry.wrongRange(what, { shift: 3 }),
  'announces less': (registry, what) => registry.lieLength(what, -1_000),
  'announces more': (registry, what) => registry.lieLength(what, 1_000),
  'sends a wrong byte': (registry, what) =>
    registry.corrupt((request) => what(request), { at: HALF + 4_000 }),
  'sends no Content-Range': (registry, what) => registry.omitHeaders(what, ['content-range']),
  'sends parts': (registry, what) => registry.contentType(what, 'multipart/byteranges; boundary=x'),
  'sends another ETag': (registry, what) => registry.omitHeaders(what, ['etag']),
  'encodes it': (registry, what) => registry.encode(what, 'gzip'),
  'cuts it off': (registry, what) => registry.cut(what, { after: 100 }),
};

for (const [what, lie] of Object.entries(LIES)) {
  for (const [whom, start] of [
    ['the first connection', 0],
    ['the second one', HALF],
  ] as const) {
    test(`an upstream that ${what} to ${whom} completes no wrong body`, async (t) => {
      const { registry, blob, url, mirror } = await setUp(t);
      const isFirst = ({ method, range }: RecordedRequest): boolean =>
        method === 'GET' && (start > 0 ? isBehind(start)({ range } as RecordedRequest) : true);
      lie(registry, isFirst);
      const body = await get(url).then(
        (answer) => answer.body,
        (error: unknown) => {
          t.true(error instanceof TruncatedError, String(error));
          return undefined;
        },
      );
      if (body) t.true(body.equals(blob.bytes));
      registry.heal();
      t.true((await get(url)).body.equals(blob.bytes));
      await mirror.idle();
      t.is((await get(url)).headers['cache-status'], 'entrepot; hit');
    });
  }
}

test('what was brought is kept over a restart, holes and all: only what is missing is asked for', async (t) => {
  const storePath = await createTempFolder(t);
  const first = await setUp(t, { storePath, leftovers: { partials: true } });
  const { registry, blob } = first;
  const gate = registry.hold(blob, { after: 32 * KIB });
  const client = await open(first.url);
  await registry.seen(isBehind(1100 * KIB));
  const ahead = { range: `bytes=${HALF}-${SIZE - 2}` };
  await get(first.url, { headers: ahead });
  client.destroy();
  await first.mirror.abandon();
  gate.open();
  registry.clear();
  const upstreams = { [NAME]: { url: registry.url, segments: 1, hydrate: 'off' as const } };
  const timing = { dividedBytes: LARGE };
  const second = await startMirror(t, { storePath, upstreams, timing });
  const { body } = await get(`${second.url}/v2/${REPOSITORY}/blobs/${blob.digest}`);
  t.true(body.equals(blob.bytes));
  t.deepEqual(registry.conversation(), [line(`${32 * KIB}-${HALF - 1}`)]);
});

test('a disk that takes no holes: all of it is passed on all the same', async (t) => {
  const { registry, blob, url, mirror } = await setUp(t);
  const obstacle = `${partialPath(mirror.storePath, blob.digest)}+map.new`;
  await mkdir(obstacle);
  t.true((await get(url)).body.equals(blob.bytes));
  await mirror.logged('download');
  t.true(registry.requests.length >= 2);
  await rmdir(obstacle);
});
