import { get, type IncomingMessage } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BenchProcess } from './bench-process.ts';
import { BUDGETS, type Budget } from './budgets.ts';
import { startMirrors } from './peers/mirrors.ts';
import { startEntrepot } from './peers/entrepot.ts';
import { interleave, median } from './rounds.ts';
import { judge, type Row } from './row.ts';
import { blobUrl, manifestUrl, type Workbench } from './workbench.ts';

const MIB = 1024 ** 2;
const BLOB_BYTES = 1024 * MIB;
/** The part of a blob that a container reads until it runs. */
const READ_SHARE = 0.1;
/** What a mirror fetches at a time for a range, and keeps. */
const GRANULE_BYTES = 256 * 1024;
const COLD_RANGES = 40;
const COLD_BYTES = 64 * 1024;
const ROUNDS = 3;

interface Client {
  readonly name: string;
  /** Of each request. */
  readonly requestBytes: number;
  /** So many requests are for bytes behind each other, as of one file; then it goes on elsewhere. */
  readonly run: number;
  readonly budget: Budget;
}

const CLIENTS: readonly Client[] = [
  { name: '50,000-byte chunks', requestBytes: 50_000, run: 16, budget: BUDGETS.lazyByGranules },
  { name: '4 MiB spans', requestBytes: 4 * MIB, run: 1, budget: BUDGETS.lazyByRead },
];

interface Range {
  readonly start: number;
  readonly end: number;
}

/** Ranges of blobs that nobody has pulled before, as clients read that mount images without pulling them. */
export async function measureLazy(bench: Workbench): Promise<Row[]> {
  await using scope = new AsyncDisposableStack();
  const { upstream } = bench;
  const entrepot = scope.use(await startEntrepot(bench, upstream));
  const mirrors = (await startMirrors(bench, upstream)).map((mirror) => scope.use(mirror));
  const rows = [await measureColdRange(bench, [upstream, entrepot])];
  for (const client of CLIENTS) {
    rows.push(await measureBytes(bench, [entrepot, ...mirrors], client));
  }
  return rows;
}

async function measureColdRange(bench: Workbench, servers: readonly BenchProcess[]): Promise<Row> {
  const rounds = bench.options.rounds ?? ROUNDS;
  const results = await interleave(servers, rounds, async (server, round) => {
    const { tag, layer } = await addImage(bench, 64 * MIB);
    await read(manifestUrl(server, tag));
    const milliseconds: number[] = [];
    for (let number = 0; number < COLD_RANGES; number += 1) {
      // None of them has what another one brought.
      const start = MIB + number * MIB;
      const startedAt = performance.now();
      await read(blobUrl(server, layer), { start, end: start + COLD_BYTES });
      milliseconds.push(performance.now() - startedAt);
    }
    await bench.settle();
    const value = median(milliseconds);
    bench.progress(`lazy: cold range: round ${round + 1}, ${server.name}: ${value.toFixed(2)} ms`);
    return value;
  });
  const [direct = [], own = []] = results;
  return judge({
    work: 'a cold range of 64 KiB: added to the time of the upstream',
    unit: 'ms',
    entrepot: own.map((value, round) => value - (direct[round] ?? NaN)),
    budget: BUDGETS.coldRangeMs,
  });
}

async function measureBytes(
  bench: Workbench,
  servers: readonly BenchProcess[],
  client: Client,
): Promise<Row> {
  const ranges = rangesOf(client);
  const isByGranule = client.budget === BUDGETS.lazyByGranules;
  const worth = isByGranule ? granulesOf(ranges) * GRANULE_BYTES : sizeOf(ranges);
  const { tag, layer } = await addImage(bench, BLOB_BYTES);
  const results = await interleave(servers, 1, async (server) => {
    await read(manifestUrl(server, tag));
    await bench.upstream.ask();
    for (const range of ranges) await read(blobUrl(server, layer), range);
    const blobBytes = await sentBytes(bench);
    const value = Math.round((blobBytes / worth) * 1000) / 1000;
    bench.progress(
      `lazy: ${client.name}: ${server.name}: ${(blobBytes / MIB).toFixed(1)} MiB from the upstream ` +
        `for ${(sizeOf(ranges) / MIB).toFixed(1)} MiB, ${value} ×`,
    );
    return value;
  });
  const notes = servers.slice(1).map(({ name }, index) => `${name} ${results[index + 1]?.[0]} ×`);
  return judge({
    work: `10 % of a cold 1 GiB blob in ${client.name}: upstream bytes by ${isByGranule ? 'granules of 256 KiB touched' : 'what was read'}`,
    unit: '×',
    entrepot: results[0] ?? [],
    budget: client.budget,
    ...(notes.length > 0 && { note: notes.join(', ') }),
  });
}

/** By the upstream since it was last asked, once it sends nothing more. */
async function sentBytes({ upstream }: Workbench): Promise<number> {
  for (let sum = 0; ; await sleep(50)) {
    const { blobBytes = NaN, underway } = await upstream.ask();
    sum += blobBytes;
    if (underway === 0) return sum;
  }
}

/** In no order, none twice, and the same each time. */
function rangesOf({ requestBytes, run }: Client): Range[] {
  const runBytes = requestBytes * run;
  const slots = Math.floor(BLOB_BYTES / runBytes);
  const count = Math.floor((BLOB_BYTES * READ_SHARE) / runBytes);
  // A step that has no divisor in common with the number of slots meets each one once.
  const step = Math.floor(slots * 0.618) | 1;
  const seen = new Set<number>();
  for (let slot = 7; seen.size < count; slot = (slot + step) % slots) {
    while (seen.has(slot)) slot = (slot + 1) % slots;
    seen.add(slot);
  }
  return [...seen].flatMap((slot) =>
    Array.from({ length: run }, (_, number) => {
      const start = slot * runBytes + number * requestBytes;
      return { start, end: start + requestBytes };
    }),
  );
}

function granulesOf(ranges: readonly Range[]): number {
  const touched = new Set<number>();
  for (const { start, end } of ranges) {
    for (let at = Math.floor(start / GRANULE_BYTES); at * GRANULE_BYTES < end; at += 1) {
      touched.add(at);
    }
  }
  return touched.size;
}

function sizeOf(ranges: readonly Range[]): number {
  return ranges.reduce((sum, { start, end }) => sum + end - start, 0);
}

async function addImage(bench: Workbench, size: number): Promise<{ tag: string; layer: string }> {
  const tag = bench.newTag();
  const config = await bench.content.addConfig(tag);
  const layer = await bench.content.addBlob(size);
  await bench.content.addImage(tag, { config, layers: [layer] });
  return { tag, layer: layer.digest };
}

/** Throws where not all that was asked for has come. */
async function read(url: string, range?: Range): Promise<void> {
  const headers = range ? { Range: `bytes=${range.start}-${range.end - 1}` } : {};
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    get(url, { agent: false, headers }, resolve).on('error', reject);
  });
  let bytes = 0;
  // A mirror that knows no ranges of what it does not hold answers with all of it.
  for await (const chunk of response as AsyncIterable<Buffer>) bytes += chunk.length;
  const isEnough = range === undefined || bytes >= range.end - range.start;
  if (!isEnough) throw new Error(`${url} gave ${bytes} bytes`);
}
