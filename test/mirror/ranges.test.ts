/** Ranges of a blob that is not here: what each costs its upstream, and what becomes of the bytes. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { get, open, TruncatedError, type ClientAnswer } from '../helpers/client.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildImage, type Stored } from '../helpers/image.ts';
import {
  createTempFolder,
  listPartials,
  startMirror,
  type MirrorOptions,
  type TestMirror,
  type UpstreamOptions,
} from '../helpers/mirror.ts';
import type { RecordedRequest } from '../helpers/recorded-request.ts';
import { parseMultipart } from '../http/multipart-body.ts';

const GRANULE = 256 * 1024;
const SIZE = 20 * GRANULE;
const REPOSITORY = 'library/app';
const UNVERIFIED = 'entrepot; hit; detail=unverified';
const always = { times: Infinity };

interface Scene {
  readonly registry: FakeRegistry;
  readonly blob: Stored;
  readonly mirror: TestMirror;
  readonly url: string;
  readonly ask: (range: string) => Promise<ClientAnswer>;
}

/** The image's manifest is here, its layer is not. */
async function setUp(
  t: ExecutionContext,
  {
    size = SIZE,
    ...rest
  }: { size?: number } & Pick<UpstreamOptions, 'ranges' | 'hydrate' | 'concurrency'> = {},
  options: Partial<MirrorOptions> = {},
): Promise<Scene> {
  const registry = await FakeRegistry.start(t);
  const image = buildImage({ seed: t.title, layers: [size] });
  registry.addImage(REPOSITORY, 'latest', image, { name: 'app' });
  const upstreams = { 'docker.io': { url: registry.url, ...rest } };
  const leftovers = { partials: true };
  const mirror = await startMirror(t, { upstreams, leftovers, ...options });
  await get(`${mirror.url}/v2/${REPOSITORY}/manifests/latest`);
  registry.clear();
  const blob = image.layer(0);
  const url = `${mirror.url}/v2/${REPOSITORY}/blobs/${blob.digest}`;
  const ask: Scene['ask'] = async (range) => get(url, { headers: { range: `bytes=${range}` } });
  return { registry, blob, mirror, url, ask };
}

function line(range?: string, method = 'GET'): string {
  const what = `${method} /v2/${REPOSITORY}/blobs/<app.layer0>`;
  return range === undefined ? what : `${what} bytes=${range}`;
}

/** The granules from one up to another. */
function granules(from: number, upTo = from + 1, size = SIZE): string {
  return `${from * GRANULE}-${Math.min(upTo * GRANULE, size) - 1}`;
}

function isRight(
  t: ExecutionContext,
  answer: ClientAnswer,
  { bytes }: Stored,
  range: string,
): void {
  const [first = 0, last = 0] = range.split('-').map(Number);
  t.is(answer.status, 206);
  t.is(answer.headers['content-range'], `bytes ${range}/${bytes.length}`);
  t.true(answer.body.equals(bytes.subarray(first, last + 1)), range);
}

test('20 parallel ranges that cover a blob cost it once, and it is verified and kept', async (t) => {
  const { registry, blob, url, ask, mirror } = await setUp(t, { ranges: 'sparse' });
  const ranges = Array.from({ length: 20 }, (_, at) => granules(at));
  const answers = await Promise.all(ranges.map(async (range) => ask(range)));
  for (const [at, range] of ranges.entries()) isRight(t, answers[at] as ClientAnswer, blob, range);
  t.is(registry.bytesSent, SIZE);
  await mirror.idle();
  t.deepEqual(await listPartials(mirror.storePath), []);
  registry.clear();
  const whole = await get(url);
  t.true(whole.body.equals(blob.bytes));
  t.is(whole.headers['cache-status'], 'entrepot; hit');
  t.is(registry.requests.length, 0);
});

test('small ranges bring their granules, which are kept; what is here costs nothing', async (t) => {
  const { registry, blob, ask, mirror } = await setUp(t);
  const first = await ask('300000-300099');
  isRight(t, first, blob, '300000-300099');
  t.is(first.headers['cache-status'], 'entrepot; fwd=miss; stored; detail=unverified');
  t.is(first.headers['cache-control'], 'no-store');
  t.is(first.headers['etag'], undefined);
  // Its start is here.
  const [from, upTo] = [GRANULE * 2 - 10, GRANULE * 4];
  isRight(t, await ask(`${from}-${upTo}`), blob, `${from}-${upTo}`);
  t.deepEqual(registry.conversation(), [line(granules(1)), line(granules(2, 5))]);
  const again = await ask('262144-1310719');
  isRight(t, again, blob, '262144-1310719');
  t.is(again.headers['cache-status'], UNVERIFIED);
  // Also once nobody has wanted any for a while.
  await mirror.idle();
  const later = await ask('262144-1310719');
  isRight(t, later, blob, '262144-1310719');
  t.is(later.headers['cache-status'], UNVERIFIED);
  t.is(registry.requests.length, 2);
});

test('all who ask for a granule at a time share it', async (t) => {
  const { registry, blob, ask } = await setUp(t);
  const gate = registry.hold(blob, { after: 100 });
  const asked = ['0-9', '500-599', '200000-262143'].map(async (range) => ask(range));
  await gate.arrived();
  gate.open();
  isRight(t, (await asked[1]) as ClientAnswer, blob, '500-599');
  await Promise.all(asked);
  t.deepEqual(registry.conversation(), [line(granules(0))]);
});

test('a look at the size begins no transfer of the whole', async (t) => {
  const { registry, blob, url, ask, mirror } = await setUp(t, { hydrate: 'blob' });
  isRight(t, await ask('0-1'), blob, '0-1');
  isRight(t, await ask(`${SIZE - 1}-${SIZE - 1}`), blob, `${SIZE - 1}-${SIZE - 1}`);
  t.is((await get(url, { method: 'HEAD' })).headers['content-length'], String(SIZE));
  t.is((await ask(`${SIZE}-${SIZE + 9}`)).status, 416);
  await mirror.idle();
  t.deepEqual(registry.conversation(), [line(granules(0)), line(granules(19))]);
});

test('a range behind the end brings nothing, open or not', async (t) => {
  for (const range of [`${SIZE}-`, `${SIZE}-${SIZE + 9}`, `${SIZE + 5}-`, '-0']) {
    const { registry, ask } = await setUp(t);
    const answer = await ask(range);
    t.is(answer.status, 416);
    t.is(answer.headers['content-range'], `bytes */${SIZE}`);
    t.deepEqual(registry.conversation(), [line(undefined, 'HEAD')]);
  }
});

test('who reads on to the end, or all of it, brings the whole', async (t) => {
  for (const range of ['0-', `0-${SIZE - 1}`, '-5000000', undefined]) {
    const { registry, blob, url } = await setUp(t);
    const headers = range === undefined ? {} : { range: `bytes=${range}` };
    const { body } = await get(url, { headers });
    t.true(body.equals(blob.bytes.subarray(SIZE - body.length)));
    t.deepEqual(registry.conversation(), [line()]);
  }
});

test('with `whole` any range brings the whole', async (t) => {
  const { registry, blob, ask, mirror } = await setUp(t, { ranges: 'whole' });
  isRight(t, await ask('0-1'), blob, '0-1');
  await mirror.idle();
  t.deepEqual(registry.conversation(), [line()]);
});

test('with `sparse` an open range brings what is read of it, and no more than a stretch ahead', async (t) => {
  const size = 64 * GRANULE;
  const { registry, blob, url } = await setUp(t, { size, ranges: 'sparse' });
  const reader = await open(url, { headers: { range: `bytes=${GRANULE}-` } });
  const read = await reader.read(100);
  t.true(read.equals(blob.bytes.subarray(GRANULE, GRANULE + read.length)));
  t.is(registry.conversation()[0], line(granules(1, 17)));
  const rest = await reader.rest();
  t.true(rest.equals(blob.bytes.subarray(GRANULE + read.length)));
  t.is(registry.bytesSent, size - GRANULE);
});

for (const [ranges, hydrate, isWhole] of [
  ['auto', 'blob', true],
  ['auto', 'off', false],
  ['sparse', 'blob', false],
] as const) {
  test(`30 % of a blob with ranges ${ranges} and hydrate ${hydrate}: the rest ${isWhole ? 'follows' : 'stays away'}`, async (t) => {
    const { registry, blob, ask, mirror } = await setUp(t, { ranges, hydrate });
    const range = `${10 * GRANULE}-${16 * GRANULE - 1}`;
    isRight(t, await ask(range), blob, range);
    await mirror.idle();
    const rest = [line(granules(0, 10)), line(granules(16, 20))];
    t.deepEqual(registry.conversation(), [line(granules(10, 16)), ...(isWhole ? rest : [])]);
    t.is((await listPartials(mirror.storePath)).length, isWhole ? 0 : 2);
  });
}

test('who wants all of it has what is here, and asks for the rest alone', async (t) => {
  const { registry, blob, url, ask, mirror } = await setUp(t);
  await ask('3000000-3000009');
  const { body, headers } = await get(url);
  t.true(body.equals(blob.bytes));
  t.regex(String(headers['cache-status']), /^entrepot; fwd=miss/);
  t.deepEqual(registry.conversation(), [
    line(granules(11)),
    line(granules(0, 11)),
    line(granules(12, 20)),
  ]);
  t.is(registry.bytesSent, SIZE);
  await mirror.idle();
  t.is((await get(url)).headers['cache-status'], 'entrepot; hit');
});

test('1,024 parts in one request: neighbours come together, each byte once', async (t) => {
  const size = 64 * GRANULE;
  const { registry, blob, ask } = await setUp(t, { size });
  // 16 in each of the even granules but two neighbours.
  const starts = Array.from({ length: 1024 }, (_, at) => {
    const granule = Math.floor(at / 16);
    return (granule < 2 ? granule : granule & ~1) * GRANULE + (at % 32) * 8_000;
  });
  const unique = [...new Set(starts)].toSorted((one, other) => one - other);
  const answer = await ask(unique.map((start) => `${start}-${start + 49}`).join(','));
  t.is(answer.status, 206);
  t.regex(String(answer.headers['cache-status']), /detail=unverified/);
  const parts = parseMultipart(String(answer.headers['content-type']), answer.body);
  t.is(parts.length, unique.length);
  for (const [at, part] of parts.entries()) {
    const start = unique[at] ?? 0;
    t.true(part.bytes.equals(blob.bytes.subarray(start, start + 50)));
  }
  t.is(registry.requests.length, 31);
  t.is(registry.conversation()[0], line(granules(0, 3)));
  t.is(registry.bytesSent, 33 * GRANULE);
});

test('a range that nobody waits for any more ends, and not while somebody does, nor near its end', async (t) => {
  const { registry, blob, url, ask } = await setUp(t, { ranges: 'sparse' });
  const begin = async (range: string) => {
    const gate = registry.hold(blob, { after: 1_000 });
    const client = await open(url, { headers: { range: `bytes=${range}` } });
    await client.read(1_000);
    return { gate, client };
  };
  const lone = await begin(granules(0, 8));
  lone.client.destroy();
  await registry.requests[0]?.closed;
  t.false(lone.gate.isOpen);
  const shared = await begin(granules(8, 16));
  const staying = ask(granules(15));
  const near = await begin(granules(17));
  near.client.destroy();
  shared.client.destroy();
  near.gate.open();
  shared.gate.open();
  isRight(t, await staying, blob, granules(15));
  isRight(t, await ask(granules(17)), blob, granules(17));
  // What came before the client left is here.
  isRight(t, await ask(granules(0)), blob, granules(0));
  t.deepEqual(registry.conversation(), [
    line(granules(0, 8)),
    line(granules(8, 16)),
    line(granules(17)),
    line(`1000-${GRANULE - 1}`),
  ]);
});

/** Ways in which an upstream answers a range wrongly. */
const LIES: Readonly<
  Record<string, (registry: FakeRegistry, what: (r: RecordedRequest) => boolean) => void>
> = {
  'ignores the range': (registry, what) => registry.ignoreRange(what, always),
  'sends an earlier range': (registry, what) => registry.wrongRange(what, { shift: -3, ...always }),
  'sends a later range': (registry, what) => registry.wrongRange(what, { shift: 3, ...always }),
  'announces less': (registry, what) => registry.lieLength(what, -1_000),
  'announces more': (registry, what) => registry.lieLength(what, 1_000),
  'sends no Content-Range': (registry, what) =>
    registry.omitHeaders(what, ['content-range'], always),
  'sends parts': (registry, what) => registry.contentType(what, 'multipart/byteranges; boundary=x'),
  'sends another ETag': (registry, what) => registry.omitHeaders(what, ['etag']),
  'encodes it': (registry, what) => registry.encode(what, 'gzip', always),
  'cuts it off': (registry, what) => registry.cut(what, { after: 100 }),
  'answers 400': (registry, what) => registry.status(what, 400, always),
  'answers 416': (registry, what) => registry.status(what, 416, always),
};

for (const [what, lie] of Object.entries(LIES)) {
  test(`an upstream that ${what} gives no wrong byte`, async (t) => {
    const { registry, blob, url, ask, mirror } = await setUp(t);
    lie(registry, ({ range }) => range !== undefined);
    const range = '3000000-3000099';
    isRight(t, await ask(range), blob, range);
    isRight(t, await ask('1000000-1000099'), blob, '1000000-1000099');
    const { body } = await get(url);
    t.true(body.equals(blob.bytes));
    await mirror.idle();
    t.is((await get(url)).headers['cache-status'], 'entrepot; hit');
  });
}

test('what an upstream says in place of a range is what the client hears', async (t) => {
  for (const [status, told] of [
    [404, 404],
    [401, 403],
    [429, 429],
    [500, 502],
  ] as const) {
    const { registry, ask } = await setUp(t, {}, { timing: { attemptsMs: 1, idleMs: 60_000 } });
    registry.status(/blobs/, status, always);
    t.is((await ask('3000000-3000099')).status, told, String(status));
    registry.heal();
  }
});

test('a wrong byte in a granule: all of the blob goes into quarantine and is fetched anew', async (t) => {
  const { registry, blob, url, ask, mirror } = await setUp(t);
  registry.corrupt(blob, { at: 3_000_000 });
  t.is((await ask('3000000-3000099')).status, 206);
  await t.throwsAsync(get(url), { instanceOf: TruncatedError });
  await mirror.idle();
  const name = `${blob.digest.replace(':', '-')}@docker.io`;
  t.deepEqual(await readdir(join(mirror.storePath, 'quarantine')), [name]);
  t.deepEqual(await readdir(join(mirror.storePath, 'ingest')), []);
  const wrong = await readFile(join(mirror.storePath, 'quarantine', name));
  t.is(wrong.length, blob.bytes.length);
  t.false(wrong.equals(blob.bytes));
  registry.clear();
  t.true((await get(url)).body.equals(blob.bytes));
  t.deepEqual(registry.conversation(), [line()]);
  await mirror.idle();
  t.is((await get(url)).headers['cache-status'], 'entrepot; hit');
});

test('after a restart what came is here: also offline', async (t) => {
  const storePath = await createTempFolder(t);
  const leftovers = { partials: true };
  const first = await setUp(t, {}, { storePath, leftovers });
  const { registry, blob } = first;
  await first.ask('3000000-3000099');
  await first.mirror.abandon();
  registry.clear();
  const upstreams = { 'docker.io': { url: registry.url } };
  const offline = await startMirror(t, { storePath, upstreams, leftovers, offline: true });
  const path = `/v2/${REPOSITORY}/blobs/${blob.digest}`;
  const range = '2900000-3000099';
  const held = await get(`${offline.url}${path}`, { headers: { range: `bytes=${range}` } });
  isRight(t, held, blob, range);
  t.is(held.headers['cache-status'], UNVERIFIED);
  const cold = await get(`${offline.url}${path}`, { headers: { range: 'bytes=0-9' } });
  t.true(cold.status >= 500, String(cold.status));
  await offline.stop();
  t.is(registry.requests.length, 0);
  const second = await startMirror(t, { storePath, upstreams, leftovers });
  t.true((await get(`${second.url}${path}`)).body.equals(blob.bytes));
  t.deepEqual(registry.conversation(), [line(granules(0, 11)), line(granules(12, 20))]);
});

test('another repository reads none of it before its upstream has said that it has the blob', async (t) => {
  const { registry, blob, ask, mirror } = await setUp(t);
  await ask('3000000-3000099');
  await mirror.idle();
  registry.clear();
  const other = `${mirror.url}/v2/library/other/blobs/${blob.digest}`;
  const { status } = await get(other, { headers: { range: 'bytes=3000000-3000099' } });
  t.is(status, 404);
  t.is(registry.bytesSent, 0);
});

test('100 clients of ranges anywhere and of the whole: each byte comes once', async (t) => {
  const size = 16 * 1024 * 1024;
  const { registry, blob, url, ask } = await setUp(t, { size });
  let seed = 7;
  const next = (below: number): number => {
    seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
    return seed % below;
  };
  isRight(t, await ask(`${size / 2}-${size / 2 + 9}`), blob, `${size / 2}-${size / 2 + 9}`);
  const clients = Array.from({ length: 100 }, async (_, at) => {
    if (at % 10 === 5) {
      t.true((await get(url)).body.equals(blob.bytes));
      return;
    }
    const start = next(size - 70_000);
    const range = `${start}-${start + next(70_000)}`;
    isRight(t, await ask(range), blob, range);
  });
  await Promise.all(clients);
  t.true(registry.bytesSent <= 1.02 * size, `${registry.bytesSent} of ${size}`);
});
