import { stat } from 'node:fs/promises';
import { setImmediate as immediate } from 'node:timers/promises';
import test from 'ava';
import { get, open, type OpenResponse } from '../helpers/client.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildBlob, type Stored } from '../helpers/image.ts';
import { partialPath, startMirror } from '../helpers/mirror.ts';

const MIB = 1024 * 1024;

test('100 clients on one cold blob, at different moments and offsets: one upstream GET', async (t) => {
  const registry = await FakeRegistry.start(t);
  const blob = registry.addBlob('library/app', buildBlob(1, 6 * MIB), { name: 'layer' });
  const mirror = await startMirror(t, {
    upstreams: { 'docker.io': { url: registry.url } },
    // However slow this machine is, no range is asked for by itself.
    timing: { rangeMs: 60_000 },
  });
  const url = `${mirror.url}/v2/library/app/blobs/${blob.digest}`;
  const offsets = Array.from({ length: 100 }, (_, client) => (client * 7919 * 13) % blob.size);
  const fetch = async (offset: number): Promise<boolean> => {
    const headers = offset === 0 ? {} : { range: `bytes=${offset}-` };
    const { body, status } = await get(url, { headers });
    return status === (offset === 0 ? 200 : 206) && body.equals(blob.bytes.subarray(offset));
  };
  // Three thirds: before the upstream's headers, in the middle of its body, and after its end.
  const atHeaders = registry.hold(blob, { before: 'headers' });
  const atMiddle = registry.hold(blob, { after: 3 * MIB });
  const early = offsets.slice(0, 34).map(fetch);
  await atHeaders.arrived();
  atHeaders.open();
  const joinedInTheMiddle = await open(url);
  await joinedInTheMiddle.read(1000);
  const middle = offsets.slice(34, 67).map(fetch);
  atMiddle.open();
  const [earlyRight, middleRight] = [await Promise.all(early), await Promise.all(middle)];
  const lateRight = await Promise.all(offsets.slice(67).map(fetch));
  const rest = await joinedInTheMiddle.rest();

  t.true([...earlyRight, ...middleRight, ...lateRight].every(Boolean));
  t.true(rest.equals(blob.bytes.subarray(1000)));
  t.deepEqual(registry.conversation(), ['GET /v2/library/app/blobs/<layer>']);
  t.is(registry.bytesSent, blob.size);
});

test('a follower gets bytes while the upstream is held in the middle of the body', async (t) => {
  const registry = await FakeRegistry.start(t);
  const blob = registry.addBlob('library/app', buildBlob(2, 2 * MIB), { name: 'layer' });
  const gate = registry.hold(blob, { after: MIB });
  const mirror = await startMirror(t, { upstreams: { 'docker.io': { url: registry.url } } });
  const url = `${mirror.url}/v2/library/app/blobs/${blob.digest}`;

  const first = await open(url);
  const head = await first.read(MIB);
  const follower = await open(url);
  const followed = await follower.read(MIB);
  t.false(gate.isOpen);
  t.true(head.equals(blob.bytes.subarray(0, MIB)));
  t.true(followed.equals(head));
  t.is(first.headers['cache-status'], 'entrepot; fwd=miss; stored');
  t.is(follower.headers['cache-status'], 'entrepot; fwd=miss; collapsed');

  gate.open();
  t.true((await first.rest()).equals(blob.bytes.subarray(MIB)));
  t.true((await follower.rest()).equals(blob.bytes.subarray(MIB)));
  t.deepEqual(registry.conversation(), ['GET /v2/library/app/blobs/<layer>']);
});

test('a miss answers its headers before any byte of the body is there', async (t) => {
  const registry = await FakeRegistry.start(t);
  const blob = registry.addBlob('library/app', buildBlob(3, 1000), { name: 'layer' });
  const gate = registry.hold(blob, { after: 'headers' });
  const mirror = await startMirror(t, { upstreams: { 'docker.io': { url: registry.url } } });
  const response = await open(`${mirror.url}/v2/library/app/blobs/${blob.digest}`);
  t.false(gate.isOpen);
  t.is(response.headers['content-length'], '1000');
  t.is(response.headers['docker-content-digest'], blob.digest);
  gate.open();
  t.true((await response.rest()).equals(blob.bytes));
});

test('a HEAD does not wait for a running body, and begins none', async (t) => {
  const registry = await FakeRegistry.start(t);
  const blob = registry.addBlob('library/app', buildBlob(4, 1000), { name: 'layer' });
  const mirror = await startMirror(t, { upstreams: { 'docker.io': { url: registry.url } } });
  const url = `${mirror.url}/v2/library/app/blobs/${blob.digest}`;
  const cold = await get(url, { method: 'HEAD' });
  t.is(cold.headers['content-length'], '1000');
  t.deepEqual(registry.conversation(), ['HEAD /v2/library/app/blobs/<layer>']);

  const gate = registry.hold(blob, { after: 10 });
  const running = await open(url);
  const during = await get(url, { method: 'HEAD' });
  t.false(gate.isOpen);
  t.is(during.status, 200);
  t.is(during.headers['content-length'], '1000');
  gate.open();
  await running.rest();
});

test('the last byte stays back until all bytes are verified', async (t) => {
  const registry = await FakeRegistry.start(t);
  const blob = registry.addBlob('library/app', buildBlob(5, 100_000), { name: 'layer' });
  const gate = registry.hold(blob, { after: 99_999 });
  const mirror = await startMirror(t, { upstreams: { 'docker.io': { url: registry.url } } });
  const response = await open(`${mirror.url}/v2/library/app/blobs/${blob.digest}`);
  t.is((await response.read(99_999)).length, 99_999);
  gate.open();
  t.true((await response.rest()).equals(blob.bytes.subarray(99_999)));
});

for (const [behaviour, leave] of [
  ['leaves', 'leave'],
  ['stalls', 'stall'],
  ['reads a byte at a time', 'crawl'],
] as const) {
  test(`the first client ${behaviour}: the fill goes on, nothing is fetched twice`, async (t) => {
    const registry = await FakeRegistry.start(t);
    // Far more than the kernel takes for a client that does not read.
    const blob = registry.addBlob('library/app', buildBlob(leave, 48 * MIB), { name: 'layer' });
    const gate = registry.hold(blob, { after: MIB });
    const mirror = await startMirror(t, { upstreams: { 'docker.io': { url: registry.url } } });
    const url = `${mirror.url}/v2/library/app/blobs/${blob.digest}`;
    const first = await open(url);
    await first.read(10);
    if (leave === 'leave') first.destroy();
    gate.open();
    const crawling = new AbortController();
    const crawl = leave === 'crawl' ? crawlUntil(first, crawling.signal) : undefined;
    // While the first one stands where it is, another gets everything.
    const second = await get(url);
    t.true(second.body.equals(blob.bytes));
    t.true(first.taken < blob.size);
    crawling.abort();
    await crawl;
    if (leave !== 'leave') {
      const taken = first.taken;
      t.true((await first.rest()).equals(blob.bytes.subarray(taken)));
    }
    t.deepEqual(registry.conversation(), ['GET /v2/library/app/blobs/<layer>']);
    t.is(registry.bytesSent, blob.size);
  });
}

test('all clients leave: the fill completes all the same', async (t) => {
  const registry = await FakeRegistry.start(t);
  const blob = registry.addBlob('library/app', buildBlob(6, 2 * MIB), { name: 'layer' });
  const gate = registry.hold(blob, { after: MIB });
  const mirror = await startMirror(t, { upstreams: { 'docker.io': { url: registry.url } } });
  const url = `${mirror.url}/v2/library/app/blobs/${blob.digest}`;
  for (const client of await Promise.all([open(url), open(url), open(url)])) client.destroy();
  gate.open();
  const [request] = await registry.seen(blob);
  t.is(await request?.finished, 'complete');
  const later = await get(url);
  t.true(later.body.equals(blob.bytes));
  t.deepEqual(registry.conversation(), ['GET /v2/library/app/blobs/<layer>']);
});

test('bodies of one upstream come in turn, headers and small blobs at once', async (t) => {
  const registry = await FakeRegistry.start(t);
  const big = [7, 8, 9].map((seed) => registry.addBlob('library/app', buildBlob(seed, 4 * MIB)));
  const small = registry.addBlob('library/app', buildBlob(10, 1000));
  const gates = big.slice(0, 2).map((blob) => registry.hold(blob, { after: MIB }));
  const mirror = await startMirror(t, {
    upstreams: { 'docker.io': { url: registry.url, concurrency: 2 } },
    timing: { turnMs: 60_000 },
  });
  const urlOf = ({ digest }: { digest: string }): string =>
    `${mirror.url}/v2/library/app/blobs/${digest}`;
  const [first, second] = await Promise.all(big.slice(0, 2).map((blob) => open(urlOf(blob))));
  await Promise.all([first?.read(MIB), second?.read(MIB)]);
  // Both turns are taken, and neither transfer can end.
  const third = await open(urlOf(big[2] as Stored));
  t.is(third.headers['content-length'], String(4 * MIB));
  t.true((await get(urlOf(small))).body.equals(small.bytes));
  const waiting = `/v2/library/app/blobs/${(big[2] as Stored).digest}`;
  t.deepEqual(
    registry.requests.filter(({ path }) => path === waiting).map(({ method }) => method),
    ['HEAD'],
    'what waits has no connection open',
  );
  const partial = partialPath(mirror.storePath, (big[2] as Stored).digest);
  t.is((await stat(partial)).size, 0);
  for (const gate of gates) gate.open();
  t.true((await third.rest()).equals((big[2] as Stored).bytes));
  await Promise.all([first?.rest(), second?.rest()]);
  t.is(registry.requests.filter(({ method }) => method === 'GET').length, 4);
});

const GRANULE = MIB / 4;

test('a range far ahead of a slow fill is asked for by itself, in granules', async (t) => {
  const registry = await FakeRegistry.start(t);
  const blob = registry.addBlob('library/app', buildBlob(10, 24 * MIB), { name: 'layer' });
  const gate = registry.hold(blob, { after: MIB });
  const mirror = await startMirror(t, { upstreams: { 'docker.io': { url: registry.url } } });
  const url = `${mirror.url}/v2/library/app/blobs/${blob.digest}`;
  const whole = await open(url);
  await whole.read(MIB);

  const start = 20 * MIB;
  const inside = await get(url, { headers: { range: `bytes=${start}-${start + 999}` } });
  t.false(gate.isOpen);
  t.is(inside.status, 206);
  t.true(inside.body.equals(blob.bytes.subarray(start, start + 1000)));
  // A part of it is told to be unverified, up to its last byte.
  const tail = await open(url, { headers: { range: 'bytes=-1000' } });
  t.true((await tail.read(999)).equals(blob.bytes.subarray(-1000, -1)));
  t.deepEqual(registry.conversation(), [
    'GET /v2/library/app/blobs/<layer>',
    `GET /v2/library/app/blobs/<layer> bytes=${start}-${start + GRANULE - 1}`,
    `GET /v2/library/app/blobs/<layer> bytes=${blob.size - GRANULE}-${blob.size - 1}`,
  ]);
  gate.open();
  t.true((await tail.rest()).equals(blob.bytes.subarray(-1)));
  t.true((await whole.rest()).equals(blob.bytes.subarray(MIB)));
});

async function crawlUntil(response: OpenResponse, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await response.read(1);
    await immediate();
  }
}

test('a client that leaves a blob without room leaves no transfer behind', async (t) => {
  const registry = await FakeRegistry.start(t);
  const blob = registry.addBlob('library/app', buildBlob(t.title, 24 * MIB), { name: 'layer' });
  const mirror = await startMirror(t, {
    upstreams: { 'docker.io': { url: registry.url } },
    store: { maxBytes: MIB },
  });
  const gate = registry.hold(blob, { after: 1000 });
  const url = `${mirror.url}/v2/library/app/blobs/${blob.digest}`;
  const response = await open(url);
  await gate.arrived();
  response.destroy();
  gate.open();
  const [request] = await registry.seen(blob);
  t.is(await request?.finished, 'aborted');
  await mirror.idle();
  t.true((await get(url)).body.equals(blob.bytes));
  const layer = 'GET /v2/library/app/blobs/<layer>';
  t.deepEqual(registry.conversation(), [layer, layer]);
});
