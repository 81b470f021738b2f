/**
 * A point that waits until a test lets it go on. Tests wait for `arrived()`, look at the
 * world while everything stands still, and then `open()`.
 */
export class Gate {
  readonly opened: Promise<void>;
  readonly #open: () => void;
  readonly #watchers = new Set<{ count: number; resolve: () => void }>();
  #waiting = 0;
  #isOpen = false;

  constructor() {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.opened = promise;
    this.#open = resolve;
  }

  /** How many wait here now. */
  get waiting(): number {
    return this.#waiting;
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Lets everybody through, now and from now on. */
  open(): void {
    this.#isOpen = true;
    this.#open();
  }

  /** Resolves once `count` waiters stand at the gate at the same time. */
  async arrived(count = 1): Promise<void> {
    if (this.#waiting >= count) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#watchers.add({ count, resolve });
    await promise;
  }

  /** Waits for the gate to open, or for `gone`: whatever ends the waiter's interest in it. */
  async pass(gone?: Promise<unknown>): Promise<void> {
    if (this.#isOpen) return;
    this.#waiting++;
    for (const watcher of this.#watchers) {
      if (this.#waiting < watcher.count) continue;
      this.#watchers.delete(watcher);
      watcher.resolve();
    }
    try {
      await (gone ? Promise.race([this.opened, gone]) : this.opened);
    } finally {
      this.#waiting--;
    }
  }
}
