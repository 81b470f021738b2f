/** What lazy and parallel clients send for one layer, and what each costs its upstream: the first client and the next. */
import test, { type ExecutionContext } from 'ava';
import { arrivals } from '../helpers/arrivals.ts';
import { get, open, type ClientAnswer } from '../helpers/client.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildImage, type Stored } from '../helpers/image.ts';
import { listPartials, startMirror, type TestMirror } from '../helpers/mirror.ts';
import { until } from '../helpers/until.ts';
import { parseMultipart } from '../http/multipart-body.ts';

const MIB = 1024 * 1024;
const GRANULE = 256 * 1024;
const REPOSITORY = 'library/app';

interface ByteRange {
  readonly start: number;
  readonly end: number;
}

interface Scene {
  readonly registry: FakeRegistry;
  readonly blob: Stored;
  readonly mirror: TestMirror;
  readonly node: Node;
}

/** The image's manifest is here, its layer is not; ranges are fetched as they are unless told otherwise. */
async function setUp(t: ExecutionContext, size: number): Promise<Scene> {
  const registry = await FakeRegistry.start(t);
  const image = buildImage({ seed: t.title, layers: [size] });
  registry.addImage(REPOSITORY, 'latest', image);
  const upstreams = { 'docker.io': { url: registry.url } };
  const options = { upstreams, timing: { rangeMs: 1 }, leftovers: { partials: true } };
  const mirror = await startMirror(t, options);
  await get(`${mirror.url}/v2/${REPOSITORY}/manifests/latest`);
  registry.clear();
  const blob = image.layer(0);
  return { registry, blob, mirror, node: new Node(t, mirror, blob) };
}

/** One that pulls the layer, and looks at every byte it gets. */
class Node {
  readonly #t: ExecutionContext;
  readonly #url: string;
  readonly #blob: Stored;
  #served = 0;

  constructor(t: ExecutionContext, mirror: TestMirror, blob: Stored) {
    this.#t = t;
    this.#url = `${mirror.url}/v2/${REPOSITORY}/blobs/${blob.digest}`;
    this.#blob = blob;
  }

  /** How many of its requests have what they asked for. */
  get served(): number {
    return this.#served;
  }

  async ask(...ranges: readonly ByteRange[]): Promise<void> {
    const range = `bytes=${ranges.map(({ start, end }) => `${start}-${end - 1}`).join(',')}`;
    const headers = { range, 'accept-encoding': 'identity' };
    const answer = await get(this.#url, { headers });
    this.#t.is(answer.status, 206);
    for (const [at, part] of partsOf(answer).entries()) {
      const { start, end } = ranges[at] ?? { start: 0, end: 0 };
      this.#t.is(part.contentRange, `bytes ${start}-${end - 1}/${this.#blob.size}`);
      this.#isRight(part.bytes, start, end);
    }
    this.#t.is(partsOf(answer).length, ranges.length);
    this.#served += 1;
  }

  /** Asks for all from `start` on, without a Range at all where that is 0 and it is not `isRanged`, and leaves at `end`. */
  async read({ start, end }: ByteRange, { isRanged }: { isRanged: boolean }): Promise<void> {
    const headers = isRanged || start > 0 ? { range: `bytes=${start}-` } : {};
    const answer = await open(this.#url, { headers });
    this.#t.is(answer.status, 'range' in headers ? 206 : 200);
    this.#isRight(await answer.read(end - start), start, end);
    answer.destroy();
    this.#served += 1;
  }

  #isRight(bytes: Buffer, start: number, end: number): void {
    this.#t.true(bytes.equals(this.#blob.bytes.subarray(start, end)), `${start}-${end}`);
  }
}

function partsOf({ headers, body }: ClientAnswer): { contentRange: string; bytes: Buffer }[] {
  const contentRange = headers['content-range'];
  if (contentRange !== undefined) return [{ contentRange, bytes: body }];
  return parseMultipart(String(headers['content-type']), body);
}

/** One after the other, each of `length` bytes but the last. */
function pieces(size: number, length: number): ByteRange[] {
  return Array.from({ length: Math.ceil(size / length) }, (_, at) => ({
    start: at * length,
    end: Math.min((at + 1) * length, size),
  }));
}

/** The bytes of all granules that the ranges lie in. */
function touched(ranges: readonly ByteRange[], size: number): number {
  const granules = pieces(size, GRANULE).filter(({ start, end }) =>
    ranges.some((range) => range.start < end && range.end > start),
  );
  return granules.reduce((sum, { start, end }) => sum + end - start, 0);
}

async function atOnce<Item>(
  count: number,
  items: readonly Item[],
  work: (item: Item) => Promise<void>,
): Promise<void> {
  const left = [...items];
  const worker = async (): Promise<void> => {
    for (let item = left.shift(); item !== undefined; item = left.shift()) await work(item);
  };
  await Promise.all(Array.from({ length: count }, worker));
}

/** Nothing comes before so many requests of clients are there. */
async function together(
  { registry, blob, mirror }: Scene,
  count: number,
  work: () => Promise<void>,
): Promise<void> {
  const gate = registry.hold(blob, { before: 'headers', times: Infinity });
  const arrived = arrivals(mirror.url, count);
  const done = work();
  await arrived;
  await gate.arrived();
  gate.open();
  await done;
}

/** Verified, whole, and of use to the next one without its upstream. */
async function isKept(
  t: ExecutionContext,
  { registry, mirror }: Scene,
  again: () => Promise<void>,
): Promise<void> {
  await mirror.idle();
  t.deepEqual(await listPartials(mirror.storePath), []);
  registry.clear();
  await again();
  t.is(registry.requests.length, 0);
}

/** Each byte is asked for once, but what is behind `cut` of what was asked for first, before anybody wanted that. */
function isAskedOnce(t: ExecutionContext, { registry, blob }: Scene, cut: number): void {
  const asked = registry.requests.map(({ range = '' }) => range.match(/\d+/g)?.map(Number) ?? []);
  const ranges = asked
    .slice(1)
    .map(([first = 0, last = 0]) => ({ start: first, end: last + 1 }))
    .toSorted((one, other) => one.start - other.start);
  t.is(asked[0]?.[0], 0);
  const ends = [cut, ...ranges.map(({ end }) => end)];
  t.deepEqual(
    ranges.map(({ start }) => start),
    ends.slice(0, -1),
  );
  t.is(ends.at(-1), blob.size);
  const behind = (registry.requests[0]?.bytesSent ?? 0) - cut;
  t.is(registry.bytesSent, blob.size + behind);
}

// One after the other: each moves tens of MiB, and waits for some of it.
test.serial(
  'stargz: chunks of 50,000 bytes, several in one request, then all the others behind them',
  async (t) => {
    const scene = await setUp(t, 20 * MIB + 12_345);
    const { registry, blob, node } = scene;
    const resolve: ByteRange = { start: 0, end: 2 };
    const chunks = pieces(blob.size, 50_000);
    const of = (...numbers: number[]): ByteRange[] => numbers.map((at) => chunks[at]!);
    const footer = of(chunks.length - 1);
    const reads = [of(0, 2, 4), of(100, 103, 110, 250), of(251)];
    const start = async (): Promise<void> => {
      await node.ask(resolve);
      await node.ask(...footer);
      for (const read of reads) await node.ask(...read);
    };

    await node.ask(resolve);
    t.is(registry.bytesSent, GRANULE);
    await start();
    const read = [resolve, ...footer, ...reads.flat()];
    t.is(registry.bytesSent, touched(read, blob.size));
    const { length } = registry.requests;
    // The look whether it is still there, and another node.
    await node.ask(resolve);
    await start();
    t.is(registry.requests.length, length);

    const rest = chunks.filter((chunk) => !read.includes(chunk));
    const behind = pieces(rest.length, 40).map(({ start: from, end }) => rest.slice(from, end));
    const fetchRest = async (): Promise<void> => atOnce(2, behind, async (all) => node.ask(...all));
    await fetchRest();
    t.is(registry.bytesSent, blob.size);
    await isKept(t, scene, async () => {
      await start();
      await fetchRest();
    });
  },
);

test.serial(
  'SOCI: spans of about 4 MiB as they are read, then all the others one by one',
  async (t) => {
    const scene = await setUp(t, 30 * MIB + 777);
    const { registry, blob, node } = scene;
    // Their ends are where the compressed bytes happen to end.
    const spans = pieces(blob.size, 4 * MIB - 100_001);
    const read = [5, 0, 2].map((at) => spans[at]!);
    for (const span of read) await node.ask(span);
    t.is(registry.bytesSent, touched(read, blob.size));
    const { length } = registry.requests;
    for (const span of read) await node.ask(span);
    t.is(registry.requests.length, length);
    for (const span of spans) await node.ask(span);
    t.is(registry.bytesSent, blob.size);
    await isKept(t, scene, async () => {
      for (const span of spans) await node.ask(span);
    });
  },
);

test.serial('SOCI parallel pull: all ranges of 8 MiB at once cost the layer once', async (t) => {
  const scene = await setUp(t, 64 * MIB + 1);
  const ranges = pieces(scene.blob.size, 8 * MIB);
  const pull = async (): Promise<void> =>
    atOnce(ranges.length, ranges, async (range) => scene.node.ask(range));
  await together(scene, ranges.length, pull);
  t.is(scene.registry.bytesSent, scene.blob.size);
  await isKept(t, scene, pull);
});

for (const mib of [10, 16]) {
  test.serial(
    `SOCI parallel pull: ranges of ${mib} MiB bring the whole, each byte asked for once`,
    async (t) => {
      const scene = await setUp(t, 40 * MIB + 1);
      const { registry, blob, node } = scene;
      const ranges = pieces(blob.size, mib * MIB);
      const pull = async (): Promise<void> =>
        atOnce(ranges.length, ranges, async (range) => node.ask(range));
      const gate = registry.hold(blob, { after: 1_000 });
      const pulled = pull();
      // The first one waits for the transfer from the start, the last one for the digest.
      await until('the others', () => node.served === ranges.length - 2);
      gate.open();
      await pulled;
      isAskedOnce(t, scene, mib * MIB);
      await isKept(t, scene, pull);
    },
  );
}

test.serial(
  'containerd: 8 open ranges at once, each left after 4 MiB, bring the whole, each byte asked for once',
  async (t) => {
    const scene = await setUp(t, 50 * MIB + 5);
    const { registry, blob, node } = scene;
    const chunks = pieces(blob.size, 4 * MIB);
    const pull = async (): Promise<void> =>
      atOnce(8, chunks, async (chunk) => node.read(chunk, { isRanged: true }));
    const gate = registry.hold(blob, { after: 1_000 });
    const pulled = pull();
    // The first three wait for the transfer from the start, the last one for the digest.
    await until('the others', () => node.served === chunks.length - 4);
    gate.open();
    await pulled;
    isAskedOnce(t, scene, 12 * MIB);
    await isKept(t, scene, pull);
  },
);

test.serial('nydusd: chunks of 1 MiB by 8 threads', async (t) => {
  const scene = await setUp(t, 40 * MIB);
  const { registry, blob, node } = scene;
  const chunks = pieces(blob.size, MIB);
  // As the container reads them.
  const read = [39, 0, 17, 3, 18, 22, 5, 31].map((at) => chunks[at]!);
  const pull = async (): Promise<void> => atOnce(8, read, async (chunk) => node.ask(chunk));
  await together(scene, 8, pull);
  t.is(registry.bytesSent, 8 * MIB);
  const { length } = registry.requests;
  await pull();
  t.is(registry.requests.length, length);
  const prefetch = async (): Promise<void> => atOnce(8, chunks, async (chunk) => node.ask(chunk));
  await prefetch();
  t.is(registry.bytesSent, blob.size);
  await isKept(t, scene, prefetch);
});

test.serial(
  'nydusd as a stream: all of it without a Range, left soon, then from there on',
  async (t) => {
    const scene = await setUp(t, 24 * MIB);
    const stream = async (): Promise<void> => {
      for (const part of pieces(scene.blob.size, 5 * MIB))
        await scene.node.read(part, { isRanged: false });
    };
    await stream();
    await scene.mirror.idle();
    t.is(scene.registry.bytesSent, scene.blob.size);
    await isKept(t, scene, stream);
  },
);
