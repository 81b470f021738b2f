import type { Log } from '../observe/log.ts';
import { Backoff } from '../time/backoff.ts';
import type { Ask } from './admin-client.ts';
import { AdminError } from './outcome.ts';
import type { StoreContext } from './store-context.ts';
import type { SyncRunState } from '../api/sync-api.ts';
import { followRun } from './follow-run.ts';
import { TEXTS } from './texts.ts';

const PATH = '/api/v1/sync/run';
const POLL_MS = 2_000;
const PAUSES = new Backoff({ firstMs: 1_000, maxMs: 60_000 });

export interface RemoteSyncParts {
  readonly ask: Ask;
  readonly log: Log;
  readonly signal: AbortSignal;
  readonly pause: StoreContext['pause'];
}

/** The runs of a server that may be away for a while; every method rejects when the signal aborts. */
export class RemoteSync {
  readonly #parts: RemoteSyncParts;
  /** Since something last went well. */
  #failures = 0;

  constructor(parts: RemoteSyncParts) {
    this.#parts = parts;
  }

  /** When the server last began a run; 0 when it never did. */
  async lastStart(): Promise<number> {
    const { running, last } = await this.#insist();
    return running?.startedAt ?? last?.startedAt ?? 0;
  }

  /** Has a run begun, or joins the one that runs, and logs its report; again when it is lost. */
  async run(): Promise<void> {
    const { log, pause, signal } = this.#parts;
    for (;;) {
      const report = await followRun({
        start: async () => this.#insist('POST'),
        look: async () => this.#insist(),
        wait: async () => pause(POLL_MS, signal),
      });
      if (report) {
        this.#failures = 0;
        const isOk = report.isOk && report.aborted === undefined;
        log[isOk ? 'info' : 'warn']({ report }, 'sync ended');
        return;
      }
      await this.#backOff(TEXTS.runLost);
    }
  }

  /** Asks until there is an answer. */
  async #insist(method: 'GET' | 'POST' = 'GET'): Promise<SyncRunState> {
    for (;;) {
      try {
        const state = (await this.#parts.ask(PATH, { method })) as SyncRunState;
        if (method === 'GET') this.#failures = 0;
        return state;
      } catch (error) {
        this.#parts.signal.throwIfAborted();
        if (!(error instanceof AdminError)) throw error;
        await this.#backOff(error.message);
      }
    }
  }

  async #backOff(reason: string): Promise<void> {
    const { log, pause, signal } = this.#parts;
    this.#failures += 1;
    const retryInMs = PAUSES.after(this.#failures);
    log.warn({ reason, retryInMs }, 'retrying');
    await pause(retryInMs, signal);
  }
}
