import { rmSync } from 'node:fs';
import { mkdir, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { BenchProcess, freePort } from './bench-process.ts';
import { Content } from './content.ts';
import { curl } from './curl.ts';
import type { PeerName } from './peers/peer-name.ts';

/** Of every blob and image. */
export const REPOSITORY = 'bench/image';

const SHORT_ROUNDS = 2;

export interface WorkbenchOptions {
  /** Where profiles of Entrepot go, if any are wanted. */
  readonly profileFolder?: string | undefined;
  /** The folder of another checkout to measure beside this one. */
  readonly against?: string | undefined;
  /** Of each measurement, instead of its own number of them. */
  readonly rounds?: number | undefined;
  /** Programs of other mirrors to measure as well. */
  readonly peers: Readonly<Partial<Record<PeerName, string>>>;
  /** A few rounds, and less of what takes long. */
  readonly isShort: boolean;
  /** With as much as a large site has, where a row has such a form. It takes 65 GB of the disk. */
  readonly isFull: boolean;
}

/** What all measurements share: a folder, an upstream registry with its content, a place to talk. */
export class Workbench {
  readonly content: Content;
  readonly options: WorkbenchOptions;
  readonly #folder: string;
  readonly #scope = new AsyncDisposableStack();
  #upstream: BenchProcess | undefined;
  #started = 0;

  static async open(options: WorkbenchOptions): Promise<Workbench> {
    const folder = await mkdtemp(join(tmpdir(), 'entrepot-bench-'));
    const bench = new Workbench(folder, options);
    for (const kind of ['blobs', 'manifests']) {
      await mkdir(join(bench.content.path, kind), { recursive: true });
    }
    bench.#upstream = bench.#scope.use(
      await bench.startScript('upstream', 'upstream-registry.ts', [bench.content.path]),
    );
    return bench;
  }

  private constructor(folder: string, options: WorkbenchOptions) {
    this.#folder = folder;
    this.options = {
      ...options,
      rounds: options.rounds ?? (options.isShort ? SHORT_ROUNDS : undefined),
    };
    this.content = new Content(join(folder, 'upstream'));
    const remove = (): void => rmSync(folder, { recursive: true, force: true });
    process.once('exit', remove);
    this.#scope.defer(remove);
  }

  get upstream(): BenchProcess {
    if (!this.#upstream) throw new Error('the upstream registry is not running');
    return this.#upstream;
  }

  /** A path in the folder that no earlier call gave. */
  newPath(name: string): string {
    this.#started += 1;
    return join(this.#folder, `${this.#started}-${name}`);
  }

  /** Of an image that no earlier call gave. */
  newTag(): string {
    this.#started += 1;
    return `v${this.#started}`;
  }

  /** A script of this folder; its first argument is its port. */
  async startScript(
    name: string,
    script: string,
    args: readonly string[],
    { isTls = false }: { readonly isTls?: boolean } = {},
  ): Promise<BenchProcess> {
    const port = await freePort();
    return BenchProcess.start({
      name,
      command: process.execPath,
      args: [join(import.meta.dirname, script), String(port), ...args],
      port,
      log: this.newPath('script.log'),
      ipc: true,
      isTls,
    });
  }

  /** A slow way to the upstream registry. */
  async startLink(link: {
    readonly megabytesPerSecond: number;
    readonly roundTripMs: number;
    /** Of each connection. */
    readonly eachMegabytesPerSecond?: number;
    /** Between two stalls of a connection, on average. */
    readonly stallBytes?: number;
  }): Promise<BenchProcess> {
    const { eachMegabytesPerSecond = Infinity, stallBytes = Infinity } = link;
    return this.startScript('direct', 'shaping-proxy.ts', [
      String(this.upstream.port),
      String(link.megabytesPerSecond),
      String(link.roundTripMs),
      String(eachMegabytesPerSecond),
      String(stallBytes),
    ]);
  }

  progress(text: string): void {
    process.stderr.write(`${text}\n`);
  }

  /** Pulls until the upstream is not asked for it any more: then the server holds it. */
  async warm(server: BenchProcess, digest: string): Promise<void> {
    do {
      await this.settle();
      await curl([blobUrl(server, digest)]);
    } while ((await this.upstream.ask())['blobGets'] !== 0);
  }

  /** Waits for the end of what a server still fetches when its client has all. */
  async settle(): Promise<void> {
    while ((await this.upstream.ask())['underway'] !== 0) await sleep(50);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#scope.disposeAsync();
  }
}

/** Every server of the bench has its blobs here. */
export function blobUrl(server: BenchProcess, digest: string): string {
  return `${server.url}/v2/${REPOSITORY}/blobs/${digest}`;
}

export function manifestUrl(server: BenchProcess, reference: string): string {
  return `${server.url}/v2/${REPOSITORY}/manifests/${reference}`;
}
