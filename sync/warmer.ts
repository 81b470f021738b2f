import { randomUUID } from 'node:crypto';
import type { WarmApi, WarmReport, WarmState, WarmWish } from '../src/api/warm-api.ts';
import type { ResolvedImage } from '../src/mirror/addressing.ts';
import { RegistryError } from '../src/oci/errors.ts';
import { readNamedImages } from './named-images.ts';
import { REAL_TIMER, type Timer } from './schedule.ts';
import { TEXTS } from './texts.ts';
import { Warm, type WarmParts } from './warm.ts';

export interface WarmerParts extends Omit<WarmParts, 'timer'> {
  /** Throws a `RegistryError` for what is no image of this mirror. */
  readonly resolve: (image: string) => ResolvedImage;
  readonly timer?: Timer;
  /** The mirror is set never to dial. */
  readonly isOffline: boolean;
}

/** Of one wish; with `MAX_RUNNING` it bounds what is remembered of those that run, a KiB an image. */
const MAX_IMAGES = 100;
/** Also counted while files that were on their way at the deadline still come. */
const MAX_RUNNING = 4;
/** Reports that are remembered, a quarter of a KiB an image. */
const MAX_ENDED = 16;

/**
 * Fetches whole images ahead of their clients, whenever somebody asks for it: below what clients ask
 * for and above hydration. One that was begun goes on to its end or its deadline, though nobody looks
 * any more. What several of them, sync and clients want at once is fetched once.
 */
export class Warmer implements WarmApi {
  readonly #parts: WarmerParts;
  readonly #timer: Timer;
  readonly #running = new Map<string, Warm>();
  /** The latest last. */
  readonly #ended = new Map<string, WarmReport>();
  /** Those that run, and what was on its way at a deadline. */
  readonly #unsettled = new Set<Promise<void>>();
  #isOffline: boolean;

  constructor(parts: WarmerParts) {
    this.#parts = parts;
    this.#timer = parts.timer ?? REAL_TIMER;
    this.#isOffline = parts.isOffline;
  }

  /** Those that run end at once where nothing may be fetched any more. */
  configure({ isOffline }: Pick<WarmerParts, 'isOffline'>): void {
    this.#isOffline = isOffline;
    if (isOffline) for (const warm of this.#running.values()) warm.stop(TEXTS.warmOffline);
  }

  begin({ images, ...wish }: WarmWish): WarmState {
    if (this.#isOffline) throw refusal(409, TEXTS.warmOffline);
    if (images.length === 0) throw refusal(400, TEXTS.warmNone);
    if (images.length > MAX_IMAGES) throw refusal(400, TEXTS.warmTooMany({ most: MAX_IMAGES }));
    const named = readNamedImages(images, this.#parts.resolve);
    if (this.#unsettled.size >= MAX_RUNNING) {
      const message = TEXTS.warmBusy({ most: MAX_RUNNING });
      throw new RegistryError('TOOMANYREQUESTS', { message });
    }
    const id = randomUUID();
    const warm = new Warm({ ...this.#parts, timer: this.#timer }, named, wish);
    this.#running.set(id, warm);
    const settled = warm.settled().finally(() => this.#unsettled.delete(settled));
    this.#unsettled.add(settled);
    void warm.ended.then((report) => this.#end(id, report));
    return { id, running: warm.progress };
  }

  state(id: string): WarmState | undefined {
    const running = this.#running.get(id);
    if (running) return { id, running: running.progress };
    const last = this.#ended.get(id);
    return last && { id, last };
  }

  /** Ends what runs. The mirror aborts its downloads. */
  stop(): void {
    for (const warm of this.#running.values()) warm.stop(TEXTS.stopping);
  }

  /** Resolves, after `stop`, when nothing runs any more. */
  async closed(): Promise<void> {
    await Promise.allSettled(this.#unsettled);
  }

  #end(id: string, report: WarmReport): void {
    this.#running.delete(id);
    this.#ended.set(id, report);
    for (const oldest of this.#ended.keys()) {
      if (this.#ended.size > MAX_ENDED) this.#ended.delete(oldest);
    }
  }
}

function refusal(status: number, message: string): RegistryError {
  return new RegistryError('UNSUPPORTED', { status, message });
}
