import { rmSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BenchProcess } from './bench-process.ts';
import { BUDGETS, type Budget } from './budgets.ts';
import { CatalogServer } from './catalog-server.ts';
import { CatalogStore, UPSTREAM, type FilledImage } from './catalog-store.ts';
import { Latency } from './latency.ts';
import { quiet } from './quiet.ts';
import { judge, type Row } from './row.ts';
import type { Workbench } from './workbench.ts';

const SIZES = [10_000, 100_000, 1_000_000];
/** Requests of each kind before those that are measured, of few images: V8 has compiled by then. */
const WARM_UPS = 4_000;
const WARM_IMAGES = 50;
const PROBES = 3_000;
/** How long a server that evicts nothing is asked, for what the machine itself adds. */
const REST_MS = 20_000;
const EVICTED_BLOBS = 10_000;
const BLOBS_AN_IMAGE = 10;

interface Figures {
  readonly blobs: number;
  readonly startMs: number;
  /** Of the processor, up to then. */
  readonly startCpu: number;
  readonly reconcileMs: number;
  readonly tag: Latency;
  readonly head: Latency;
  /** Of a Koa route that gives one answer, on the same machine in the same minute. */
  readonly koa: Latency;
  readonly restMiB: number;
  readonly peakMiB: number;
  readonly resting: Latency;
  readonly evicting: Latency;
  readonly evictMs: number;
  readonly evicted: number;
}

type Ask = (latency: Latency, image: FilledImage) => Promise<void>;

/** What a large catalog costs: its start, a hit, an eviction, its memory. */
export async function measureCatalog(bench: Workbench): Promise<Row[]> {
  const all: Figures[] = [];
  for (const blobs of SIZES) all.push(await measureSize(bench, blobs));
  const [smallest] = all;
  return all.flatMap((figures) => toRows(figures, smallest ?? figures));
}

async function measureSize(bench: Workbench, blobs: number): Promise<Figures> {
  const path = bench.newPath('store');
  await using scope = new AsyncDisposableStack();
  // Last of all: the server is gone by then.
  scope.defer(() => rmSync(path, { recursive: true, force: true }));
  bench.progress(`catalog: filling a store of ${blobs} blobs`);
  const store = await CatalogStore.fill(path, blobs);
  {
    // The first start writes the journal, which a store in use has.
    await using first = await CatalogServer.start(bench, store.path);
    await first.written();
  }
  await quiet();
  await using server = await CatalogServer.start(bench, store.path);
  const { startMs, startCpu } = server;
  const reconcileMs = await server.settled();
  const fresh = shuffle(store.images.slice(store.images.length / 2));
  const askTag: Ask = async (latency, image) => latency.ask(tagUrl(server, image), 'GET');
  const askHead: Ask = async (latency, image) => latency.ask(layerUrl(server, image), 'HEAD');
  const askBoth: Ask = async (latency, image) => {
    await askTag(latency, image);
    await askHead(latency, image);
  };
  const tag = await probe(fresh, askTag);
  const head = await probe(fresh.toReversed(), askHead);
  await using koaServer = await startKoa(bench);
  const askKoa: Ask = async (latency, image) => latency.ask(tagUrl(koaServer, image), 'GET');
  const koa = await probe(fresh, askKoa);
  const restMiB = server.memoryMiB.now;
  // Each half its own: what the first run asked for is in memory in the second.
  const [some, others] = [fresh.slice(0, fresh.length / 2), fresh.slice(fresh.length / 2)];
  const resting = await askDuring(sleep(REST_MS), some, askBoth);
  const evicted = Math.min(EVICTED_BLOBS, blobs / 2);
  const start = performance.now();
  const eviction = evict(server, store.images.slice(0, evicted / BLOBS_AN_IMAGE));
  const evicting = await askDuring(eviction, others, askBoth);
  const evictMs = performance.now() - start;
  const { peak: peakMiB } = server.memoryMiB;
  bench.progress(
    `catalog: ${blobs} blobs: start ${startMs} ms, tag p99 ${tag.quantile(0.99)} ms, ` +
      `HEAD p99 ${head.quantile(0.99)} ms, Koa p99 ${koa.quantile(0.99)} ms, worst at rest ` +
      `${resting.quantile(1)} ms and while evicting ${evicting.quantile(1)} ms`,
  );
  const hits = { tag, head, koa, resting, evicting };
  return { blobs, startMs, startCpu, reconcileMs, ...hits, restMiB, peakMiB, evicted, evictMs };
}

/** Each key once, so that none is in memory. */
async function probe(images: readonly FilledImage[], ask: Ask): Promise<Latency> {
  const unmeasured = new Latency();
  for (let number = 0; number < WARM_UPS; number += 1) {
    await ask(unmeasured, images[number % WARM_IMAGES]!);
  }
  unmeasured.close();
  const latency = new Latency();
  for (const image of images.slice(WARM_IMAGES, WARM_IMAGES + PROBES)) await ask(latency, image);
  latency.close();
  return latency;
}

/** One request after the other until the work is done. */
async function askDuring(
  work: Promise<unknown>,
  images: readonly FilledImage[],
  ask: Ask,
): Promise<Latency> {
  const latency = new Latency();
  const over = new AbortController();
  const asking = async (): Promise<void> => {
    for (let position = 0; !over.signal.aborted; position = (position + 1) % images.length) {
      await ask(latency, images[position]!);
    }
  };
  await Promise.all([work.finally(() => over.abort()), asking()]);
  latency.close();
  return latency;
}

async function evict(server: CatalogServer, oldest: readonly FilledImage[]): Promise<void> {
  const released = await server.collect(oldest.reduce((sum, { bytes }) => sum + bytes, 0));
  if (released < oldest.length) throw new Error(`${released} of ${oldest.length} images went`);
}

async function startKoa(bench: Workbench): Promise<BenchProcess> {
  const body = bench.newPath('manifest');
  await writeFile(body, JSON.stringify({ schemaVersion: 2 }));
  return bench.startScript('bare Koa route', 'peers/bare-koa-server.ts', ['{}', body]);
}

function tagUrl({ url }: { url: string }, { repository, tag }: FilledImage): string {
  return `${url}/v2/${UPSTREAM}/${repository}/manifests/${tag}`;
}

function layerUrl({ url }: { url: string }, { repository, layer }: FilledImage): string {
  return `${url}/v2/${UPSTREAM}/${repository}/blobs/${layer}`;
}

function shuffle<Item>(items: readonly Item[]): Item[] {
  const shuffled = [...items];
  for (let last = shuffled.length - 1; last > 0; last -= 1) {
    const other = Math.floor(Math.random() * (last + 1));
    [shuffled[last], shuffled[other]] = [shuffled[other]!, shuffled[last]!];
  }
  return shuffled;
}

function toRows(figures: Figures, smallest: Figures): Row[] {
  const { blobs } = figures;
  const row = (
    work: string,
    unit: string,
    pick: (of: Figures) => number,
    more: { budget?: Budget; note?: string } = {},
  ): Row => {
    const factor = (pick(figures) / pick(smallest)).toFixed(1);
    const notes = blobs > smallest.blobs ? [`${factor} × that of ${smallest.blobs}`] : [];
    if (more.note !== undefined) notes.unshift(more.note);
    return judge({
      work: `${blobs.toLocaleString('en')} blobs: ${work}`,
      unit,
      entrepot: [pick(figures)],
      ...(more.budget && { budget: more.budget }),
      ...(notes.length > 0 && { note: notes.join('; ') }),
    });
  };
  const { tag, head, koa, resting, evicting, evicted, evictMs, peakMiB } = figures;
  const beside = `${describe(koa)} for a bare Koa route`;
  return [
    row('start to /readyz', 's', ({ startMs }) => startMs / 1000, {
      budget: BUDGETS.catalogStartS,
      note: `${figures.startCpu.toFixed(1)} s of the processor`,
    }),
    row('cold manifest by tag, p99', 'ms', (of) => of.tag.quantile(0.99), {
      budget: BUDGETS.catalogHitMs,
      note: `${describe(tag)}; ${beside}`,
    }),
    row('cold blob HEAD, p99', 'ms', (of) => of.head.quantile(0.99), {
      budget: BUDGETS.catalogHitMs,
      note: `${describe(head)}; ${beside}`,
    }),
    row(`worst request while ${evicted} are evicted`, 'ms', (of) => of.evicting.quantile(1), {
      budget: BUDGETS.catalogWorstMs,
      note:
        `${describe(evicting)} of ${evicting.count}, evicted in ${(evictMs / 1000).toFixed(1)} s; ` +
        `with nothing to evict ${describe(resting)}, worst ${resting.quantile(1).toFixed(1)} ms of ${resting.count}`,
    }),
    row('resident memory', 'MiB', ({ restMiB }) => restMiB, {
      note: `highest ${Math.round(peakMiB)} MiB`,
    }),
    row('reconcile, hard links for all but manifests', 's', (of) => of.reconcileMs / 1000),
  ];
}

function describe(latency: Latency): string {
  return `p50 ${latency.quantile(0.5).toFixed(2)} ms, p99 ${latency.quantile(0.99).toFixed(2)} ms`;
}
