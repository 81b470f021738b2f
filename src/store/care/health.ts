import type { StoreSummary } from '../../api/store-api.ts';
import type { Log } from '../../observe/log.ts';
import { isWithoutRoom, NoRoomError } from '../faults.ts';

export interface HealthParts {
  readonly log: Log;
  readonly now: () => number;
  /** Keeps for the next start how large what a full store refused is; 0 when it takes that again. */
  readonly keep: (refusedBytes: number) => void;
}

/** What operators are told. */
export type StoreCondition = Pick<StoreSummary, 'state' | 'reason' | 'since'>;

/** How long after the last refusal a look at the room may end it: two pulls of one image are one trouble. */
const CALM_MS = 60_000;

/**
 * Whether the store takes what is fetched: clients are served either way, operators must know. A store
 * that fails is ok again with the next content that is kept. One that is full still has room for small
 * things: it is ok again when it kept as much at once as it refused, or a minute after the last refusal
 * if there is room for that, also when it was refused before a restart.
 */
export class Health {
  readonly #log: Log;
  readonly #now: () => number;
  readonly #keep: HealthParts['keep'];
  #condition: StoreCondition = { state: 'ok' };
  /** The size of the largest blob that found no room since the store was ok. */
  #refusedBytes = 0;
  #refusedAt = 0;

  constructor(parts: HealthParts) {
    this.#keep = parts.keep;
    this.#log = parts.log;
    this.#now = parts.now;
  }

  get condition(): StoreCondition {
    return this.#condition;
  }

  /** How much must find room before a full store is ok; `undefined` while it refused just now. */
  get wantedBytes(): number | undefined {
    const age = Math.abs(this.#now() - this.#refusedAt);
    return age < CALM_MS ? undefined : this.#refusedBytes;
  }

  /** Something could not be kept. */
  refused(error: unknown, bytes = error instanceof NoRoomError ? error.bytes : 0): void {
    if (error instanceof NoRoomError && error.isTooLarge) return;
    const state = isWithoutRoom(error) ? 'full' : 'failing';
    this.#refusedAt = this.#now();
    const isLarger = bytes > this.#refusedBytes;
    if (isLarger) this.#refusedBytes = bytes;
    if (isLarger && state === 'full') this.#keep(bytes);
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

  /** How many bytes were kept at once. */
  took(bytes: number): void {
    const { state } = this.#condition;
    if (state === 'failing' || (state === 'full' && bytes >= this.#refusedBytes)) this.takesAgain();
  }

  /** What was refused would be kept now. */
  takesAgain(): void {
    if (this.#condition.state === 'ok') return;
    this.#refusedBytes = 0;
    this.#keep(0);
    this.#log.info({ before: this.#condition }, 'the store takes content again');
    this.#condition = { state: 'ok' };
  }
}
