/** A blob that the store does not take costs its upstream no more than one that it takes. */
import test, { type ExecutionContext } from 'ava';
import { arrivals } from '../helpers/arrivals.ts';
import { get, open, TruncatedError } from '../helpers/client.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildBlob, type Stored } from '../helpers/image.ts';
import { startMirror, type TestMirror } from '../helpers/mirror.ts';
import { parseMultipart } from '../http/multipart-body.ts';

const MIB = 1024 * 1024;
const GET = 'GET /v2/team/app/blobs/<layer>';

interface World {
  readonly registry: FakeRegistry;
  readonly mirror: TestMirror;
  readonly blob: Stored;
  readonly url: string;
}

/** A blob that finds no room, since it is larger than the store. */
async function setUp(
  t: ExecutionContext,
  {
    size = 3 * MIB,
    turnMs = 50,
    maxBytes = MIB,
  }: { size?: number; turnMs?: number; maxBytes?: number } = {},
): Promise<World> {
  const registry = await FakeRegistry.start(t);
  const blob = registry.addBlob('team/app', buildBlob(t.title, size), { name: 'layer' });
  const mirror = await startMirror(t, {
    upstreams: { 'hub.example': { url: registry.url, concurrency: 4 } },
    store: { maxBytes },
    timing: { turnMs },
  });
  return { registry, mirror, blob, url: `${mirror.url}/v2/team/app/blobs/${blob.digest}` };
}

test('20 clients of a blob without room: one transfer, and nothing is kept', async (t) => {
  const { registry, mirror, blob, url } = await setUp(t, { turnMs: 60_000 });
  const gate = registry.hold(blob, { before: 'headers' });
  const allAsk = arrivals(url, 20);
  const pulling = Array.from({ length: 20 }, async () => get(url));
  await allAsk;
  await gate.arrived();
  gate.open();
  for (const { body, headers } of await Promise.all(pulling)) {
    t.true(body.equals(blob.bytes));
    t.is(headers['cache-control'], 'no-store');
  }
  t.deepEqual(registry.conversation(), [GET]);
  t.is(registry.bytesSent, blob.size);
  await mirror.idle();
  t.is((await get(url)).headers['cache-status'], 'entrepot; fwd=bypass');
});

test('a client that comes while the first bytes are still there joins; one that comes later shares the next transfer', async (t) => {
  const { registry, blob, url } = await setUp(t, { size: 12 * MIB, turnMs: 60_000 });
  const gate = registry.hold(blob, { after: 1000 });
  const first = await open(url);
  await gate.arrived();
  const second = await open(url);
  gate.open();
  t.true((await first.read(MIB)).equals(blob.bytes.subarray(0, MIB)));
  const both = [first.rest(), second.rest()];
  const [rest, whole] = await Promise.all(both);
  t.true(rest?.equals(blob.bytes.subarray(MIB)));
  t.true(whole?.equals(blob.bytes));
  t.deepEqual(registry.conversation(), [GET]);
  const next = registry.hold(blob, { before: 'headers' });
  const allAsk = arrivals(url, 3);
  const late = [get(url), get(url), get(url)];
  await allAsk;
  await next.arrived();
  next.open();
  for (const { body } of await Promise.all(late)) t.true(body.equals(blob.bytes));
  t.deepEqual(registry.conversation(), [GET, GET]);
});

test('a client that stalls falls out, holds nobody up, and has the rest by a request of its own', async (t) => {
  const { registry, blob, url } = await setUp(t, { size: 48 * MIB, turnMs: 2_000 });
  const gate = registry.hold(blob, { after: 1000 });
  const stalled = await open(url);
  const allAsk = arrivals(url, 2);
  const others = [get(url), get(url)];
  await allAsk;
  await gate.arrived();
  gate.open();
  for (const { body } of await Promise.all(others)) t.true(body.equals(blob.bytes));
  t.true((await stalled.rest()).equals(blob.bytes));
  const [whole, ...own] = registry.conversation();
  t.is(whole, GET);
  t.true(own.length > 0);
  t.true(
    own.every((line) => /bytes=\d{5,}-$/.test(line)),
    'behind what they have read',
  );
});

test('a wrong byte of a blob without room completes for nobody, and is counted', async (t) => {
  const { registry, mirror, blob, url } = await setUp(t);
  registry.corrupt(blob, { at: 2 * MIB });
  const gate = registry.hold(blob, { before: 'headers' });
  const allAsk = arrivals(url, 3);
  const pulling = Array.from({ length: 3 }, async () => get(url));
  await allAsk;
  await gate.arrived();
  queueMicrotask(() => gate.open());
  const errors = await Promise.all(
    pulling.map(async (pull) => t.throwsAsync(pull, { instanceOf: TruncatedError })),
  );
  t.true(errors.every((error) => (error?.received.length ?? blob.size) < blob.size));
  await mirror.idle();
  const { values } = await mirror.server.metrics.integrityFailures.get();
  t.deepEqual(
    values.filter(({ value }) => value > 0).map(({ labels, value }) => ({ ...labels, value })),
    [{ upstream: 'hub.example', where: 'download', value: 1 }],
  );
  t.true((await get(url)).body.equals(blob.bytes));
});

test('ranges of a blob without room are asked for by range, never from its first byte', async (t) => {
  const { registry, mirror, blob, url } = await setUp(t, { size: 12 * MIB });
  const ranges = Array.from({ length: 10 }, (_, n) => (n + 1) * MIB);
  const ask = async (start: number): Promise<void> => {
    const range = `bytes=${start}-${start + 10}`;
    const answer = await get(url, { headers: { range } });
    t.is(answer.status, 206);
    t.is(answer.headers['cache-control'], 'no-store');
    t.is(answer.headers.etag, undefined);
    t.true(answer.body.equals(blob.bytes.subarray(start, start + 11)));
  };
  await ask(5 * MIB);
  await mirror.idle();
  registry.clear();
  await Promise.all(ranges.map(ask));
  for (const start of ranges) await ask(start);
  const end = await get(url, { headers: { range: `bytes=${blob.size - 5}-` } });
  t.true(end.body.equals(blob.bytes.subarray(-5)));
  const gets = registry.conversation(({ method }) => method === 'GET');
  t.is(gets.length, 21);
  t.true(gets.every((line) => line.includes(' bytes=')));
  t.true(registry.bytesSent < 1000);
});

test('1,024 ranges in one request cost the upstream of a blob without room eight requests', async (t) => {
  const { registry, mirror, blob, url } = await setUp(t, { size: 12 * MIB });
  await get(url, { headers: { range: 'bytes=0-9' } });
  await mirror.idle();
  registry.clear();
  // Eight crowds of 128, in which 90 bytes lie between two ranges.
  const starts = Array.from({ length: 1024 }, (_, n) => (n >> 7) * MIB + 7000 + (n & 127) * 100);
  const range = `bytes=${starts.map((start) => `${start}-${start + 9}`).join(',')}`;
  const answer = await get(url, { headers: { range } });
  t.is(answer.status, 206);
  const parts = parseMultipart(answer.headers['content-type'] ?? '', answer.body);
  t.deepEqual(
    parts.map(({ contentRange, bytes }) => [contentRange, bytes]),
    starts.map((start) => [
      `bytes ${start}-${start + 9}/${blob.size}`,
      blob.bytes.subarray(start, start + 10),
    ]),
  );
  t.deepEqual(
    registry.conversation(),
    Array.from({ length: 8 }, (_, n) => {
      const start = n * MIB + 7000;
      return `${GET} bytes=${start}-${start + 12_709}`;
    }),
  );
});

test('ranges of a blob without room that are spread evenly cost eight requests, and no byte twice', async (t) => {
  const { registry, mirror, blob, url } = await setUp(t, { size: 12 * MIB });
  await get(url, { headers: { range: 'bytes=0-9' } });
  await mirror.idle();
  registry.clear();
  const starts = Array.from({ length: 1024 }, (_, n) => 5000 + n * 12_000);
  const range = `bytes=${starts.map((start) => `${start}-${start}`).join(',')}`;
  const answer = await get(url, { headers: { range } });
  const parts = parseMultipart(answer.headers['content-type'] ?? '', answer.body);
  t.deepEqual(
    Buffer.concat(parts.map(({ bytes }) => bytes)),
    Buffer.from(starts.map((start) => blob.bytes[start] ?? 0)),
  );
  t.is(registry.conversation().length, 8);
  t.true(registry.bytesSent <= blob.size);
});

test('ranges of a blob without room that go back and back get the blob', async (t) => {
  const { registry, mirror, blob, url } = await setUp(t);
  await get(url, { headers: { range: 'bytes=0-9' } });
  await mirror.idle();
  registry.clear();
  const range = (count: number): string =>
    `bytes=${Array.from({ length: count }, (_, n) => `${MIB - n * 100}-${MIB - n * 100 + 9}`).join(',')}`;
  const few = await get(url, { headers: { range: range(8) } });
  t.is(few.status, 206);
  t.is(registry.conversation().length, 8);
  registry.clear();
  const many = await get(url, { headers: { range: range(9) } });
  t.is(many.status, 200);
  t.true(many.body.equals(blob.bytes));
  t.deepEqual(registry.conversation(), [GET]);
});

test('a disk that takes no byte: 20 clients, one transfer', async (t) => {
  const { registry, mirror, blob, url } = await setUp(t, { maxBytes: 64 * MIB, turnMs: 60_000 });
  const { blobs } = mirror.server;
  const ingest = blobs.ingest.bind(blobs);
  blobs.ingest = async (...args) => {
    const begun = await ingest(...args);
    begun.append = async () => {
      const text = 'ENOSPC: no space left on device, write';
      throw Object.assign(new Error(text), { code: 'ENOSPC', syscall: 'write' });
    };
    return begun;
  };
  const gate = registry.hold(blob, { before: 'headers' });
  const allAsk = arrivals(url, 20);
  const pulling = Array.from({ length: 20 }, async () => get(url));
  await allAsk;
  await gate.arrived();
  gate.open();
  for (const { body } of await Promise.all(pulling)) t.true(body.equals(blob.bytes));
  t.true(mirror.log.some(({ state }) => state === 'unstored'));
  t.deepEqual(registry.conversation(), [GET]);
});

test('blobs without room come in turn', async (t) => {
  const { registry, mirror } = await setUp(t);
  const blobs = Array.from({ length: 12 }, (_, n) =>
    registry.addBlob('team/app', buildBlob(`${t.title} ${n}`, 2 * MIB)),
  );
  let [running, most] = [0, 0];
  const gates = blobs.map((blob) => registry.hold(blob, { after: 1000 }));
  for (const gate of gates) {
    void gate.arrived().then(() => {
      running += 1;
      most = Math.max(most, running);
      setTimeout(() => {
        running -= 1;
        gate.open();
      }, 5);
    });
  }
  const pulls = blobs.map(async ({ digest }) => get(`${mirror.url}/v2/team/app/blobs/${digest}`));
  for (const [n, { body }] of (await Promise.all(pulls)).entries()) {
    t.true(body.equals((blobs[n] as Stored).bytes));
  }
  t.true(most <= 4);
});
