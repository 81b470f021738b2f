import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { MAIN } from '../helpers/process.ts';
import { BenchProcess, freePort } from './bench-process.ts';
import { UPSTREAM } from './catalog-store.ts';
import type { Workbench } from './workbench.ts';

const SETTLE_DEADLINE_MS = 300_000;

interface Parts {
  readonly startMs: number;
  readonly startCpu: number;
  readonly log: string;
  readonly url: string;
}

/** Entrepot on a store that is there, with its admin API. */
export class CatalogServer implements AsyncDisposable {
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
        grace: '100ms',
        store: { path: store },
        upstreams: {
          [UPSTREAM]: { url: bench.upstream.url, hydrate: false, tags: { ttl: '24h' } },
        },
        defaultUpstream: UPSTREAM,
      }),
    );
    const { profileFolder } = bench.options;
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
    const compared = await this.#said('files and catalog compared');
    return timeOf(compared) - timeOf(await this.#said('listening'));
  }

  /** Waits for the end of what a first start does beside the pulls. */
  async written(): Promise<void> {
    await this.#said('journal written anew');
  }

  async #said(msg: string): Promise<Line> {
    const deadline = performance.now() + SETTLE_DEADLINE_MS;
    while (performance.now() < deadline) {
      const lines = readFileSync(this.#log, 'utf8').split('\n').filter(Boolean).map(parseLine);
      const line = lines.find((each) => each.msg === msg);
      if (line) return line;
      await sleep(50);
    }
    throw new Error(`it did not say "${msg}":\n${readFileSync(this.#log, 'utf8')}`);
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
