/** How long what nobody asks for stays open: lazy clients come back. */
const IDLE_MS = 10_000;
/** How many stay open at most: each holds a file. */
const MAX_IDLE = 100;

/** The blobs of an upstream of which parts are here and nobody reads any at the moment. */
export class IdleParts {
  /** Those that have been idle for longest come first. */
  readonly #idle = new Set<IdleTime>();

  /** Of one blob. `wake`: told when its time may be over. */
  watch(wake: () => void, ms = IDLE_MS): IdleTime {
    return new IdleTime(this, { wake, ms });
  }

  add(time: IdleTime): void {
    this.#idle.add(time);
    const [longest] = this.#idle;
    if (this.#idle.size > MAX_IDLE) longest?.end();
  }

  delete(time: IdleTime): void {
    this.#idle.delete(time);
  }
}

/** How long nobody has read any of one blob. */
class IdleTime implements Disposable {
  readonly #all: IdleParts;
  readonly #wake: () => void;
  readonly #ms: number;
  #timer: NodeJS.Timeout | undefined;
  #isOver = false;

  constructor(all: IdleParts, { wake, ms }: { readonly wake: () => void; readonly ms: number }) {
    this.#all = all;
    this.#wake = wake;
    this.#ms = ms;
  }

  /** Whether it has been idle for long enough, or more others are than may stay open. */
  isOver(isIdle: boolean): boolean {
    if (!isIdle) this[Symbol.dispose]();
    else if (!this.#timer && !this.#isOver) {
      this.#timer = setTimeout(() => this.end(), this.#ms).unref();
      this.#all.add(this);
    }
    return this.#isOver;
  }

  end(): void {
    this[Symbol.dispose]();
    this.#isOver = true;
    this.#wake();
  }

  /** It is not idle. */
  [Symbol.dispose](): void {
    this.#isOver = false;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#all.delete(this);
  }
}
