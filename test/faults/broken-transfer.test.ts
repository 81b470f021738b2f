import test, { type ExecutionContext } from 'ava';
import { get, open, TruncatedError } from '../helpers/client.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildBlob, type Stored } from '../helpers/image.ts';
import { startMirror, type MirrorOptions, type TestMirror } from '../helpers/mirror.ts';

const SIZE = 300_000;

interface Scene {
  readonly registry: FakeRegistry;
  readonly blob: Stored;
  readonly mirror: TestMirror;
  readonly url: string;
}

async function setUp(t: ExecutionContext, options: Partial<MirrorOptions> = {}): Promise<Scene> {
  const registry = await FakeRegistry.start(t);
  const blob = registry.addBlob('library/app', buildBlob(t.title, SIZE), { name: 'layer' });
  const mirror = await startMirror(t, {
    upstreams: { 'docker.io': { url: registry.url } },
    ...options,
  });
  return { registry, blob, mirror, url: `${mirror.url}/v2/library/app/blobs/${blob.digest}` };
}

const GET = 'GET /v2/library/app/blobs/<layer>';
const resumed = (start: number): string => `${GET} bytes=${start}-${SIZE - 1}`;

for (const [where, cuts, expected] of [
  ['at its start', [0, 0, 0], [GET, GET, GET, GET]],
  [
    'in its middle',
    [100_000, 70_000, 50_000],
    [GET, resumed(100_000), resumed(170_000), resumed(220_000)],
  ],
  [
    'one byte before its end',
    [SIZE - 1, 0, 0],
    [GET, resumed(SIZE - 1), resumed(SIZE - 1), resumed(SIZE - 1)],
  ],
] as const) {
  test(`a body cut ${where}, three times in a row: the client sees a pause`, async (t) => {
    const { registry, blob, url, mirror } = await setUp(t);
    for (const after of cuts) registry.cut(blob, { after });
    const { body } = await get(url);
    t.true(body.equals(blob.bytes));
    t.deepEqual(registry.conversation(), [...expected]);
    t.is(registry.bytesSent, SIZE);
    await mirror.idle();
    t.is((await get(url)).headers['cache-status'], 'entrepot; hit');
  });
}

test('an upstream that goes silent in the middle is left and asked again', async (t) => {
  const { registry, blob, url } = await setUp(t, { timing: { stallMs: 100 } });
  registry.stall(blob, { after: 100_000 });
  const { body } = await get(url);
  t.true(body.equals(blob.bytes));
  t.deepEqual(registry.conversation(), [GET, resumed(100_000)]);
});

test('500 on resumption is one more break, not the end', async (t) => {
  const { registry, blob, url } = await setUp(t);
  registry.cut(blob, { after: 100_000 });
  registry.status(blob, 500);
  const { body } = await get(url);
  t.true(body.equals(blob.bytes));
  t.deepEqual(registry.conversation(), [GET, resumed(100_000), resumed(100_000)]);
});

test('429 on resumption waits as long as asked', async (t) => {
  const { registry, blob, url } = await setUp(t);
  registry.cut(blob, { after: 100_000 });
  registry.status(blob, 429, { headers: { 'Retry-After': '1' } });
  const { body } = await get(url);
  t.true(body.equals(blob.bytes));
  t.deepEqual(registry.conversation(), [GET, resumed(100_000), resumed(100_000)]);
});

test('an upstream that ignores Range: its repeated bytes are passed over', async (t) => {
  const { registry, blob, url } = await setUp(t);
  registry.cut(blob, { after: 100_000 });
  registry.ignoreRange(blob);
  const { body } = await get(url);
  t.true(body.equals(blob.bytes));
  t.deepEqual(registry.conversation(), [GET, resumed(100_000)]);
});

test('a 206 with another offset is not believed: the whole is asked for', async (t) => {
  const { registry, blob, url } = await setUp(t);
  registry.cut(blob, { after: 100_000 });
  registry.wrongRange(blob, { shift: 1 });
  const { body } = await get(url);
  t.true(body.equals(blob.bytes));
  t.deepEqual(registry.conversation(), [GET, resumed(100_000), GET]);
});

for (const [delta, next] of [
  [-1000, GET],
  // All bytes were there, which the digest shows once nothing follows them.
  [1000, `${GET} bytes=${SIZE}-`],
] as const) {
  test(`a Content-Length that is off by ${delta}: no client completes, the next one has the blob`, async (t) => {
    const { registry, blob, url } = await setUp(t);
    registry.lieLength(blob, delta);
    await t.throwsAsync(get(url), { instanceOf: TruncatedError });
    const { body, headers } = await get(url);
    t.true(body.equals(blob.bytes));
    t.is(headers['cache-status'], 'entrepot; fwd=miss; stored');
    t.is(registry.conversation().at(-1), next);
  });
}

test('one flipped byte: no client completes, nothing is kept, the next request succeeds', async (t) => {
  const { registry, blob, url, mirror } = await setUp(t);
  registry.corrupt(blob, { at: 12_345 });
  const gate = registry.hold(blob, { after: 100 });
  const clients = Array.from({ length: 10 }, () => open(url));
  const responses = await Promise.all(clients);
  gate.open();
  for (const response of responses) {
    const error = await t.throwsAsync(response.rest(), { instanceOf: TruncatedError });
    t.true((error?.received.length ?? SIZE) < SIZE);
  }
  // At once, while the damaged file is still being put away.
  const { body } = await get(url);
  t.true(body.equals(blob.bytes));
  t.deepEqual(registry.conversation(), [GET, GET]);
  const failures = await mirror.server.metrics.integrityFailures.get();
  t.deepEqual(
    failures.values
      .filter(({ value }) => value > 0)
      .map(({ labels, value }) => ({ ...labels, value })),
    [{ upstream: 'docker.io', where: 'download', value: 1 }],
  );
});

test('a flipped last byte is not sent', async (t) => {
  const { registry, blob, url } = await setUp(t);
  registry.corrupt(blob, { at: SIZE - 1 });
  const error = await t.throwsAsync(get(url), { instanceOf: TruncatedError });
  t.is(error?.received.length, SIZE - 1);
});

test('a body without a length is verified before its end', async (t) => {
  const { registry, blob, url } = await setUp(t);
  registry.omitHeaders(blob, ['Content-Length'], { times: 2 });
  registry.corrupt(blob, { at: 5 });
  await t.throwsAsync(get(url), { instanceOf: TruncatedError });
  const { body } = await get(url);
  t.true(body.equals(blob.bytes));
});

test('an upstream that gives up in the middle: the client is cut, the rest is fetched later', async (t) => {
  const { registry, blob, url } = await setUp(t);
  registry.cut(blob, { after: 100_000 });
  registry.status(blob, 403, { times: 1 });
  await t.throwsAsync(get(url), { instanceOf: TruncatedError });
  const { body } = await get(url);
  t.true(body.equals(blob.bytes));
  t.deepEqual(registry.conversation(), [
    GET,
    resumed(100_000),
    'GET /v2/library/app/blobs/<layer> bytes=100000-',
  ]);
});

test('a signed URL that expires on the way: the registry is asked for another', async (t) => {
  const registry = await FakeRegistry.start(t, { redirectBlobs: 307 });
  const blob = registry.addBlob('library/app', buildBlob(t.title, SIZE), { name: 'layer' });
  const gate = registry.hold(blob, { after: 100_000 });
  registry.cut(blob, { after: 100_000 });
  const mirror = await startMirror(t, { upstreams: { 'docker.io': { url: registry.url } } });
  const response = open(`${mirror.url}/v2/library/app/blobs/${blob.digest}`);
  await gate.arrived();
  registry.expireSignatures();
  gate.open();
  t.true((await (await response).rest()).equals(blob.bytes));
  t.deepEqual(registry.conversation(), [
    GET,
    'GET storage /blobs/<layer>',
    resumed(100_000),
    `GET storage /blobs/<layer> bytes=100000-${SIZE - 1}`,
  ]);
});
