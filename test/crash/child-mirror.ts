import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { Config } from '../../src/config/config.ts';
import type { Usage } from '../../src/store/catalog/catalog.ts';
import type { Timing } from '../../src/net/timing.ts';

export interface Settings {
  readonly config: Config;
  readonly timing: Timing;
  readonly work?: 'serve' | 'rebuild';
  /** It kills itself when it comes to this step for the so manieth time. */
  readonly killAt?: { readonly step: string; readonly count: number };
  /** Where it notes what the store keeps and lets go of. */
  readonly factsFile: string;
  readonly logFile: string;
  /** Its clock stands here until it is advanced; left out, it is the real one. */
  readonly startAt?: number;
}

export type Order =
  | { do: 'measure' }
  | { do: 'advance'; ms: number }
  /** Only while nothing is asked of it. */
  | { do: 'compare' }
  | { do: 'stop' };

/** After a garbage collection. */
export interface Measures {
  readonly rss: number;
  /** Bytes of objects and buffers. */
  readonly heap: number;
  /** Open descriptors of the process. */
  readonly files: number;
  readonly timers: number;
  readonly activity: { downloads: number; questions: number; openFiles: number };
  readonly usage: Usage;
  /** What `compare` found wrong between files and catalog. */
  readonly wrong: readonly string[];
}

const CHILD = join(import.meta.dirname, 'child.ts');

/** A whole mirror in a process that may be killed at any time, also by itself. */
export class ChildMirror {
  readonly url: string;
  readonly adminUrl: string;
  readonly #child: ChildProcess;
  readonly #gone: Promise<string>;

  /** Resolves when it listens; with the signal or code that ended it when it never did. */
  static async start(settings: Settings): Promise<ChildMirror | string> {
    const child = fork(CHILD, { serialization: 'advanced', execArgv: [] });
    const gone = once(child, 'exit').then(([code, signal]) => String(signal ?? code));
    const listening = once(child, 'message') as Promise<[{ url: string; adminUrl: string }]>;
    child.send(settings);
    const first = await Promise.race([listening, gone]);
    return typeof first === 'string' ? first : new ChildMirror(child, { gone, ...first[0] });
  }

  constructor(
    child: ChildProcess,
    parts: { url: string; adminUrl: string; readonly gone: Promise<string> },
  ) {
    this.url = parts.url;
    this.adminUrl = parts.adminUrl;
    this.#child = child;
    this.#gone = parts.gone;
  }

  /** Resolves with the signal or the code that ended it. */
  get gone(): Promise<string> {
    return this.#gone;
  }

  /** One order at a time. */
  async ask(order: Exclude<Order, { do: 'stop' }>): Promise<Measures> {
    const answered = once(this.#child, 'message') as Promise<[Measures]>;
    this.#child.send(order);
    const answer = await Promise.race([answered, this.#gone]);
    if (typeof answer === 'string') throw new Error(`the mirror ended by itself: ${answer}`);
    return answer[0];
  }

  async kill(): Promise<string> {
    this.#child.kill('SIGKILL');
    return this.#gone;
  }

  /** Closes it as a signal would. */
  async stop(): Promise<string> {
    this.#child.send({ do: 'stop' });
    return this.#gone;
  }
}
