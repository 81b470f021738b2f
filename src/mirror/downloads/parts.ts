import type { ByteRange } from '../../oci/content.ts';
import type { DownloadDemand, SharedDemand } from './demand.ts';
import type { Deposit } from './deposit.ts';
import type { Filling } from './filling.ts';
import { Granules } from './granules.ts';
import type { TransferSource } from './transfer-source.ts';
import type { Wish } from './wish.ts';

export interface PartsOptions {
  readonly source: TransferSource;
  readonly demand: SharedDemand;
  readonly deposit: Deposit;
  readonly filling: Filling;
  /** Whether its repository is known to have what an earlier download has brought of it. */
  readonly mayRead: () => Promise<boolean>;
  /** Puts on record that it has. */
  readonly shown: () => Promise<void>;
  /** Told the size before the first byte comes. */
  readonly sized: (size: number) => void;
  /** Told where a range begins that the upstream sends now. */
  readonly answered: (start: number) => void;
  /** Told when a range does not come. */
  readonly failed: () => void;
}

/** The parts of a blob that are wanted without the rest, as long as that is so. */
export class Parts {
  readonly #options: PartsOptions;
  /** Nobody wants the rest. */
  isAlone = false;
  #granules: Granules | undefined;
  /** Of those who asked first, whose readers come later, until they leave. */
  readonly #opening = new Map<DownloadDemand, Wish>();
  #wereHere = false;
  #hasBegun = false;

  constructor(options: PartsOptions) {
    this.#options = options;
  }

  /** Whether all that is asked for was here before anything was asked for it. */
  holds(asked: DownloadDemand['ranges']): boolean {
    const { size } = this.#options.deposit.ingest;
    const ranges =
      size === undefined ? undefined : this.#options.source.ranges.partsOf(asked, size);
    if (!ranges || !this.#granules?.holds(ranges)) return false;
    return this.#hasBegun || this.#wereHere;
  }

  /** `undefined` where the upstream sends no ranges. */
  want(ranges: readonly ByteRange[], size: number): Wish | undefined {
    if (!this.#options.source.ranges.honoursRanges) return undefined;
    this.#hasBegun = true;
    return this.#open(size).want(ranges);
  }

  #open(size: number): Granules {
    this.#granules ??= new Granules({ ...this.#options, size, isAlone: () => this.isAlone });
    return this.#granules;
  }

  /** Resolves with the size once the first bytes are here or on their way. */
  async begin(): Promise<number | 'whole' | 'absent'> {
    const found = await this.#begin();
    this.isAlone = typeof found === 'number';
    return found;
  }

  async #begin(): Promise<number | 'whole' | 'absent'> {
    const { source, deposit, filling, demand, mayRead, shown } = this.#options;
    // Who has left already may have wanted all of it.
    if (this.#isWholeWanted || demand.isAbandoned) return 'whole';
    const size = deposit.ingest.size ?? (await source.describedSize());
    const asked = size === undefined ? undefined : this.#asked(size);
    if (size === undefined || !asked) return 'whole';
    await deposit.enter(undefined);
    if (!(await filling.spread(size))) throw filling.fault?.error;
    const granules = this.#open(size);
    this.#wereHere = granules.holds(asked);
    if (this.#wereHere && !(await mayRead())) return 'absent';
    // The first byte begins the answers.
    this.isAlone = true;
    this.#options.sized(size);
    if (this.#wereHere) return size;
    this.#wantFirst(granules, size);
    try {
      if (!(await granules.hasAnswered)) return 'absent';
    } catch (error) {
      if (granules.isRefused) return 'whole';
      throw error;
    }
    await shown();
    return size;
  }

  /** Until all of it is wanted, all of it is here, or nobody wants any of it. */
  async run(size: number): Promise<'whole' | 'complete' | 'left'> {
    const { demand, filling, deposit, source } = this.#options;
    using _ = demand.watch(() => {
      this.#dropLeft();
      filling.wake();
    });
    this.#dropLeft();
    const wake = (): void => filling.wake();
    using idle = source.ranges.idle.watch(wake, source.timing.idleMs);
    demand.signal.addEventListener('abort', wake);
    try {
      for (;;) {
        const { changed } = filling;
        if (filling.fault) throw filling.fault.error;
        demand.signal.throwIfAborted();
        const { held } = deposit.ingest;
        if (held >= size) return 'complete';
        const isWanted = this.#asked(size) === undefined || source.ranges.isEnough(held, size);
        if (isWanted && filling.free({ start: 0, end: size }).length > 0) return 'whole';
        if (idle.isOver(demand.isAbandoned && !filling.isBusy)) return 'left';
        await changed;
      }
    } finally {
      this.isAlone = false;
      demand.signal.removeEventListener('abort', wake);
    }
  }

  /** Each by itself: one may leave before the others. */
  #wantFirst(granules: Granules, size: number): void {
    const { demand, source } = this.#options;
    for (const asker of demand.askers) {
      const ranges = source.ranges.partsOf(asker.ranges, size);
      if (ranges) this.#opening.set(asker, granules.want(ranges));
    }
  }

  #dropLeft(): void {
    const askers = new Set(this.#options.demand.askers);
    for (const [asker, wish] of this.#opening) {
      if (askers.has(asker)) continue;
      this.#opening.delete(asker);
      wish[Symbol.dispose]();
    }
  }

  /** Ends what is on its way. */
  async close(): Promise<void> {
    await this.#granules?.close();
  }

  get #isWholeWanted(): boolean {
    const { demand, source } = this.#options;
    return (
      demand.wantsWhole || demand.askers.some(({ ranges }) => !source.ranges.mayBeParts(ranges))
    );
  }

  /** `undefined` where somebody wants all of it. */
  #asked(size: number): readonly ByteRange[] | undefined {
    const { demand, source } = this.#options;
    if (this.#isWholeWanted) return undefined;
    const found: ByteRange[] = [];
    for (const { ranges } of demand.askers) {
      const parts = source.ranges.partsOf(ranges, size);
      if (!parts) return undefined;
      found.push(...parts);
    }
    return found;
  }
}
