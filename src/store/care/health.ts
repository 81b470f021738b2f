import type { StoreSummary } from '../../api/store-api.ts';
import type { Log } from '../../observe/log.ts';
import { isFull, NoRoomError } from '../faults.ts';

/** What operators are told; `ok` again with the next content that is kept. */
export type StoreCondition = Pick<StoreSummary, 'state' | 'reason' | 'since'>;

/** Whether the store takes what is fetched: clients are served either way, operators must know. */
export class Health {
  readonly #log: Log;
  readonly #now: () => number;
  #condition: StoreCondition = { state: 'ok' };

  constructor(parts: { log: Log; now: () => number }) {
    this.#log = parts.log;
    this.#now = parts.now;
  }

  get condition(): StoreCondition {
    return this.#condition;
  }

  /** Something could not be kept. */
  refused(error: unknown): void {
    if (error instanceof NoRoomError && error.isTooLarge) return;
    const state = isWithoutRoom(error) ? 'full' : 'failing';
    const reason = error instanceof Error ? error.message : String(error);
    const isNew = this.#condition.state !== state;
    this.#condition = {
      state,
      reason,
      since: isNew ? this.#now() : (this.#condition.since ?? this.#now()),
    };
    if (!isNew) return;
    this.#log.error(
      { state, reason },
      'the store takes nothing: clients are served straight through',
    );
  }

  /**
   * Waits for the catalog to write a fact. A catalog that cannot write takes nothing from the client
   * that brought the fact: the operator is told, and it will be learnt again.
   */
  async recorded(writing: Promise<void>): Promise<void> {
    try {
      await writing;
    } catch (err) {
      this.#log.error({ err }, 'the catalog could not be written');
    }
  }

  /** Something was kept. */
  took(): void {
    if (this.#condition.state === 'ok') return;
    this.#log.info({ before: this.#condition }, 'the store takes content again');
    this.#condition = { state: 'ok' };
  }
}

function isWithoutRoom(error: unknown): boolean {
  return (error instanceof NoRoomError && error.cause === undefined) || isFull(error);
}
