import { chainLength } from '../net/via.ts';
import type { Demand } from '../upstream/demand.ts';

export interface FlightParts<Value> {
  /** Asks with the demand that it is given. */
  readonly work: (demand: Demand) => Promise<Value>;
  readonly demand: Demand;
  /** How long a try may be silent; `undefined` for work that only waits for flights of its own. */
  readonly patienceMs: number | undefined;
}

interface Try {
  readonly abort: AbortController;
  readonly timer: NodeJS.Timeout | undefined;
  isSilent: boolean;
}

/** So often, and no more, a question is asked at a time, however many clients wait. */
const MAX_TRIES = 2;

/**
 * An open question to an upstream, and its one answer for all who share it. When its first try is
 * silent past the patience there is a second one beside it, and no third. The first answer counts;
 * a failure counts unless the other try may still do better, which a silent one may not. What is
 * needed no more is aborted. Every try ends because every exchange with an upstream does.
 *
 *   one try ──silent──▶ two tries ──one answers───────────────────────────────▶ answered
 *      │                    ├─────one fails, the other is within its patience──▶ one try, the last
 *      │                    └─────one fails, the other is silent───────────────▶ failed
 *      └──answers, fails──▶ answered, failed
 */
export class Flight<Value> {
  /** Of the request that began it. */
  readonly chainLength = chainLength();
  readonly #parts: FlightParts<Value>;
  readonly #answer = Promise.withResolvers<Value>();
  readonly #tries = new Set<Try>();
  #begun = 0;
  #failure: { readonly error: unknown } | undefined;

  constructor(parts: FlightParts<Value>) {
    this.#parts = parts;
    this.#begin();
  }

  get answer(): Promise<Value> {
    return this.#answer.promise;
  }

  /** Ends what runs; who waits has its failure. */
  abort(reason?: Error): void {
    for (const { abort } of this.#tries) abort.abort(reason);
  }

  #begin(): void {
    const { work, demand, patienceMs } = this.#parts;
    const abort = new AbortController();
    const timer =
      patienceMs === undefined ? undefined : setTimeout(() => this.#silent(run), patienceMs);
    const run: Try = { abort, timer, isSilent: false };
    const advanced = (): void => {
      run.isSilent = false;
      timer?.refresh();
    };
    this.#begun += 1;
    this.#tries.add(run);
    work({ ...demand, signal: abort.signal, advanced }).then(
      (answer) => {
        this.#end(run);
        this.#answer.resolve(answer);
        this.abort();
      },
      (error: unknown) => {
        this.#end(run);
        this.#fail({ error });
      },
    );
  }

  #silent(run: Try): void {
    run.isSilent = true;
    if (this.#begun < MAX_TRIES) this.#begin();
    else if (this.#failure) this.#fail(this.#failure);
  }

  #fail(failure: { readonly error: unknown }): void {
    this.#failure = failure;
    if ([...this.#tries].some(({ isSilent }) => !isSilent)) return;
    this.#answer.reject(failure.error);
    this.abort();
  }

  #end(run: Try): void {
    clearTimeout(run.timer);
    this.#tries.delete(run);
  }
}
