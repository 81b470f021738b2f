import { readFileSync, rmSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { BenchProcess, freePort } from './bench-process.ts';
import { BUDGETS, type Budget } from './budgets.ts';
import { CatalogStore, type FilledImage } from './catalog-store.ts';
import { Latency } from './latency.ts';
import { quiet } from './quiet.ts';
import { judge, type Row } from './row.ts';
import type { Workbench } from './workbench.ts';

const MAIN = join(import.meta.dirname, '..', '..', 'src', 'main.ts');
const UPSTREAM = 'upstream.test';
const SIZES = [10_000, 100_000, 1_000_000];
const PROBES = 3_000;
const WARM_UPS = 500;
const EVICTED_BLOBS = 10_000;
const BLOBS_AN_IMAGE = 10;
const SETTLE_DEADLINE_MS = 300_000;

interface Figures {
  readonly blobs: number;
  readonly startMs: number;
  /** Of the processor, up to then. */
  readonly startCpu: number;
  readonly reconcileMs: number;
  readonly tag: Latency;
  readonly head: Latency;
  readonly restMiB: number;
  readonly peakMiB: number;
  readonly evicting: Latency;
  readonly evictMs: number;
  readonly evicted: number;
}

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
  const store = await CatalogStore.fill(path, { blobs, upstream: UPSTREAM });
  {
    // The first start writes the journal, which a store in use has.
    await using first = await CatalogServer.start(bench, store.path);
    await first.settled();
  }
  await quiet();
  await using server = await CatalogServer.start(bench, store.path);
  const { startMs, startCpu } = server;
  const reconcileMs = await server.settled();
  const fresh = shuffle(store.images.slice(store.images.length / 2));
  const tag = await probe(server, fresh.slice(0, PROBES + WARM_UPS), 'tag');
  const head = await probe(server, fresh.toReversed().slice(0, PROBES + WARM_UPS), 'head');
  const restMiB = server.memoryMiB.now;
  const evicted = Math.min(EVICTED_BLOBS, blobs / 2);
  const oldest = store.images.slice(0, evicted / BLOBS_AN_IMAGE);
  const { latency, ms } = await evict(server, oldest, fresh);
  const figures = { blobs, startMs, startCpu, reconcileMs, tag, head, restMiB, evicted };
  const { peak } = server.memoryMiB;
  bench.progress(
    `catalog: ${blobs} blobs: start ${startMs} ms, tag p99 ${tag.quantile(0.99)} ms, ` +
      `HEAD p99 ${head.quantile(0.99)} ms, worst while evicting ${latency.quantile(1)} ms`,
  );
  return { ...figures, peakMiB: peak, evicting: latency, evictMs: ms };
}

/** Each key once, so that none is in memory. */
async function probe(
  server: CatalogServer,
  images: readonly FilledImage[],
  kind: 'tag' | 'head',
): Promise<Latency> {
  const warmUps = images.length / 2 > WARM_UPS ? WARM_UPS : Math.floor(images.length / 2);
  const ask = async (latency: Latency, some: readonly FilledImage[]): Promise<Latency> => {
    for (const { repository, tag, layer } of some) {
      const base = `${server.url}/v2/${UPSTREAM}/${repository}`;
      await (kind === 'tag'
        ? latency.ask(`${base}/manifests/${tag}`, 'GET')
        : latency.ask(`${base}/blobs/${layer}`, 'HEAD'));
    }
    latency.close();
    return latency;
  };
  await ask(new Latency(), images.slice(0, warmUps));
  return ask(new Latency(), images.slice(warmUps));
}

/** Lets go of these images while requests for others go on. */
async function evict(
  server: CatalogServer,
  oldest: readonly FilledImage[],
  others: readonly FilledImage[],
): Promise<{ latency: Latency; ms: number }> {
  const latency = new Latency();
  const end = new AbortController();
  const asking = (async () => {
    for (let position = 0; !end.signal.aborted; position = (position + 1) % others.length) {
      const { repository, tag, layer } = others[position]!;
      const base = `${server.url}/v2/${UPSTREAM}/${repository}`;
      await latency.ask(`${base}/manifests/${tag}`, 'GET');
      await latency.ask(`${base}/blobs/${layer}`, 'HEAD');
    }
  })();
  const start = performance.now();
  const bytes = oldest.reduce((sum, image) => sum + image.bytes, 0);
  const released = await server.collect(bytes);
  const ms = performance.now() - start;
  end.abort();
  await asking;
  latency.close();
  if (released < oldest.length) throw new Error(`${released} of ${oldest.length} images went`);
  return { latency, ms };
}

interface Parts {
  readonly startMs: number;
  readonly startCpu: number;
  readonly log: string;
  readonly url: string;
}

class CatalogServer implements AsyncDisposable {
  readonly url: string;
  readonly startMs: number;
  readonly startCpu: number;
  readonly #process: BenchProcess;
  readonly #log: string;

  /** Resolves when it says that it is ready. */
  static async start(bench: Workbench, store: string): Promise<CatalogServer> {
    const port = await freePort();
    const adminPort = await freePort();
    const settings = bench.newPath('entrepot.yaml');
    await writeFile(
      settings,
      JSON.stringify({
        listen: `127.0.0.1:${port}`,
        admin: `127.0.0.1:${adminPort}`,
        store: { path: store },
        upstreams: {
          [UPSTREAM]: { url: bench.upstream.url, hydrate: false, tags: { ttl: '24h' } },
        },
        defaultUpstream: UPSTREAM,
      }),
    );
    const { profileFolder } = bench;
    const profiling =
      profileFolder === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profileFolder}`];
    const log = bench.newPath('entrepot.log');
    const start = performance.now();
    const process = await BenchProcess.start({
      name: 'Entrepot',
      command: globalThis.process.execPath,
      args: [...profiling, MAIN, 'serve', '--config', settings],
      port: adminPort,
      log,
    });
    while ((await fetch(`${process.url}/readyz`)).status !== 200) await sleep(5);
    const startMs = performance.now() - start;
    const startCpu = process.cpuSeconds;
    return new CatalogServer(process, { startMs, startCpu, log, url: `http://127.0.0.1:${port}` });
  }

  constructor(process: BenchProcess, parts: Parts) {
    this.#process = process;
    this.#log = parts.log;
    this.startMs = parts.startMs;
    this.startCpu = parts.startCpu;
    this.url = parts.url;
  }

  get memoryMiB(): { now: number; peak: number } {
    return this.#process.memoryMiB;
  }

  /** Waits until files and catalog are compared; how long that took, milliseconds. */
  async settled(): Promise<number> {
    const deadline = performance.now() + SETTLE_DEADLINE_MS;
    while (performance.now() < deadline) {
      const lines = readFileSync(this.#log, 'utf8').split('\n').filter(Boolean).map(parseLine);
      const listening = lines.find(({ msg }) => msg === 'listening');
      const compared = lines.find(({ msg }) => msg === 'files and catalog compared');
      if (listening && compared) return timeOf(compared) - timeOf(listening);
      await sleep(50);
    }
    throw new Error(`files and catalog were not compared:\n${readFileSync(this.#log, 'utf8')}`);
  }

  /** How many images went. */
  async collect(bytes: number): Promise<number> {
    const response = await fetch(`${this.#process.url}/api/v1/gc`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ bytes }),
    });
    const report = (await response.json()) as { released?: { images: number } };
    if (!report.released) throw new Error(`gc: ${response.status} ${JSON.stringify(report)}`);
    return report.released.images;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process[Symbol.asyncDispose]();
  }
}

interface Line {
  readonly msg?: string;
  readonly time?: number | string;
}

function timeOf({ time = 0 }: Line): number {
  return new Date(time).getTime();
}

function parseLine(line: string): Line {
  try {
    return JSON.parse(line) as Line;
  } catch {
    return {};
  }
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
  const median = (latency: Latency): string => `p50 ${latency.quantile(0.5).toFixed(2)} ms`;
  const { tag, head, evicting, evicted, evictMs, peakMiB } = figures;
  return [
    row('start to /readyz', 's', ({ startMs }) => startMs / 1000, {
      budget: BUDGETS.catalogStartS,
      note: `${figures.startCpu.toFixed(1)} s of the processor`,
    }),
    row('cold manifest by tag, p99', 'ms', (of) => of.tag.quantile(0.99), {
      budget: BUDGETS.catalogHitMs,
      note: median(tag),
    }),
    row('cold blob HEAD, p99', 'ms', (of) => of.head.quantile(0.99), {
      budget: BUDGETS.catalogHitMs,
      note: median(head),
    }),
    row(`worst request while ${evicted} are evicted`, 'ms', (of) => of.evicting.quantile(1), {
      budget: BUDGETS.catalogWorstMs,
      note: `p99 ${evicting.quantile(0.99).toFixed(2)} ms of ${evicting.count}; evicted in ${(evictMs / 1000).toFixed(1)} s`,
    }),
    row('resident memory', 'MiB', ({ restMiB }) => restMiB, {
      note: `highest ${Math.round(peakMiB)} MiB`,
    }),
    row('reconcile, hard links for all but manifests', 's', (of) => of.reconcileMs / 1000),
  ];
}
