import { setTimeout as sleep } from 'node:timers/promises';
import { Cron } from 'croner';
import type { SyncConfig } from '../src/config/sync-schema.ts';
import { SYSTEM_CLOCK, type Clock } from '../src/time/clock.ts';

/** Clock, waiting and randomness, which tests replace. */
export interface Timer extends Clock {
  /** Rejects when the signal aborts. */
  wait(ms: number, signal: AbortSignal): Promise<void>;
  /** From 0 to below 1. */
  random(): number;
}

export const REAL_TIMER: Timer = {
  ...SYSTEM_CLOCK,
  wait: async (ms, signal) => sleep(ms, undefined, { signal }),
  random: () => Math.random(),
};

/** The next opening or closing of the windows. */
export interface WindowChange {
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly opens: boolean;
}

/** The windows are closed. */
export interface ClosedWindows {
  /** Milliseconds since 1970; left out when no window opens any more. */
  readonly closedUntil?: number;
}

interface Window {
  readonly opens: Cron;
  readonly forMs: number;
}

/** The clock is read at least this often: a machine may sleep, or set its clock after the start. */
const MAX_WAIT_MS = 60_000;
/** Most windows without a pause between them that are merged into one. */
const MAX_MERGED = 400;

/**
 * When runs begin and when bytes may be fetched, by cron in one time zone.
 *
 * Where clocks are put forward, a fixed time that does not exist comes at the first moment after
 * the gap. Where they are put back, a fixed time comes once, the first time; what comes every hour
 * or every few minutes goes on through both. A window lasts its length in real time from its
 * opening, whatever clocks do meanwhile: eight hours from 22:00 end at 07:00 or 05:00 in those
 * nights. Windows that overlap or touch are one.
 */
export class Schedule {
  readonly #starts: Cron;
  readonly #windows: readonly Window[];
  readonly #jitterMs: number;
  readonly #timer: Timer;
  #waiting = 0;

  /** Throws on a broken pattern or an unknown time zone. */
  constructor(
    config: Pick<SyncConfig, 'schedule' | 'timezone' | 'windows' | 'jitterMs'>,
    timer: Timer = REAL_TIMER,
  ) {
    const { schedule, timezone, windows, jitterMs } = config;
    const options = timezone === undefined ? {} : { timezone };
    this.#starts = new Cron(schedule, options);
    this.#windows = windows.map(({ opens, forMs }) => ({ opens: new Cron(opens, options), forMs }));
    this.#jitterMs = jitterMs;
    this.#timer = timer;
  }

  /** The next start after this moment, without jitter; `Infinity` when there is none. */
  nextRun(after: number): number {
    return nextOf(this.#starts, after);
  }

  /** Whether bytes may be fetched. A window is open at the moment it opens, not when it closes. */
  isOpen(at: number): boolean {
    if (this.#windows.length === 0) return true;
    return this.#windows.some(({ opens, forMs }) => nextOf(opens, at - forMs) <= at);
  }

  /**
   * The next moment after this one at which `isOpen` changes. `undefined` when it never does, or
   * when so many windows follow each other without a pause that it is not worth knowing.
   */
  nextChange(at: number): WindowChange | undefined {
    if (this.#windows.length === 0) return undefined;
    if (this.isOpen(at)) {
      const closes = this.#closing(at);
      return closes === undefined ? undefined : { at: closes, opens: false };
    }
    const opening = Math.min(...this.#windows.map(({ opens }) => nextOf(opens, at)));
    return opening === Infinity ? undefined : { at: opening, opens: true };
  }

  /**
   * Waits and yields the moment whenever a run is due, until the signal aborts. The next one is
   * waited for when the caller asks for it, after its run: what fell due meanwhile comes once, at
   * once. `since` is the start of the last run, so that what an earlier process missed comes too.
   */
  async *runs(signal: AbortSignal, since = this.#timer.wall()): AsyncGenerator<number> {
    for (let last = since; ;) {
      const began = await this.nextStart(last, signal);
      if (began === undefined) return;
      yield began;
      last = began;
    }
  }

  /** What those who called `opened` wait for; `undefined` while nobody waits. */
  get closed(): ClosedWindows | undefined {
    if (this.#waiting === 0) return undefined;
    const change = this.nextChange(this.#timer.wall());
    // A window has opened, and those who waited have not gone on yet.
    if (change?.opens === false) return undefined;
    return change ? { closedUntil: change.at } : {};
  }

  /** Resolves once bytes may be fetched. Rejects when the signal aborts first. */
  async opened(signal: AbortSignal): Promise<void> {
    this.#waiting += 1;
    try {
      await this.#opened(signal);
    } finally {
      this.#waiting -= 1;
    }
  }

  async #opened(signal: AbortSignal): Promise<void> {
    for (;;) {
      signal.throwIfAborted();
      const now = this.#timer.wall();
      if (this.isOpen(now)) return;
      await this.#until(this.nextChange(now)?.at ?? Infinity, signal);
    }
  }

  /** Waits for the start that follows this moment; `undefined` when the signal aborts first. */
  async nextStart(last: number, signal: AbortSignal): Promise<number | undefined> {
    const delay = this.#jitterMs * this.#timer.random();
    try {
      for (let from = last; !signal.aborted;) {
        const now = this.#timer.wall();
        // The clock was set back.
        if (now < from - MAX_WAIT_MS) from = now;
        const due = this.nextRun(from) + delay;
        if (due <= now) return now;
        await this.#until(due, signal);
      }
      return undefined;
    } catch (error) {
      if (signal.aborted) return undefined;
      throw error;
    }
  }

  /** Waits for the moment, or returns early when the clock was set back. */
  async #until(moment: number, signal: AbortSignal): Promise<void> {
    for (let last = this.#timer.wall(); last < moment;) {
      await this.#timer.wait(Math.min(moment - last, MAX_WAIT_MS), signal);
      const now = this.#timer.wall();
      if (now < last) return;
      last = now;
    }
  }

  #closing(at: number): number | undefined {
    let closes = at;
    for (let merged = 0; merged < MAX_MERGED; merged += 1) {
      const ends = this.#windows.map(({ opens, forMs }) => {
        const opening = nextOf(opens, closes - forMs);
        return opening <= closes ? opening + forMs : closes;
      });
      const end = Math.max(...ends);
      if (end === closes) return closes;
      closes = end;
    }
    return undefined;
  }
}

function nextOf(cron: Cron, after: number): number {
  return cron.nextRun(new Date(after))?.getTime() ?? Infinity;
}
