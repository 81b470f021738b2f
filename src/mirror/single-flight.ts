import { chainLength } from '../net/via.ts';
import { INTERACTIVE, isInteractive, type Demand } from '../upstream/demand.ts';
import { UpstreamError } from '../oci/upstream-error.ts';
import { TEXTS } from './texts.ts';

/** A question to an upstream. Equal ones that are open at the same time are asked once. */
export interface Question {
  readonly what:
    | 'tag'
    | 'tag with its manifest'
    | 'manifest'
    | 'manifest by tag'
    | 'manifest by HEAD'
    | 'blob by HEAD'
    | 'manifest as blob'
    | 'blob by range'
    | 'tags'
    | 'referrers'
    | 'repositories';
  readonly of: { readonly upstream: string; readonly repository?: string };
  /** The tag or digest. */
  readonly about?: string;
  readonly demand?: Demand;
}

/** A question that is open. */
interface Open extends Question {
  readonly flight: Pick<Flight<unknown>, 'answer' | 'chainLength' | 'abort'>;
}

export interface SingleFlightOptions {
  /** How long a small answer may be silent before all who wait for it share one more question. */
  readonly patienceMs: number;
}

/** Made of other questions, each of which has its own patience. */
const COMPOSED: ReadonlySet<Question['what']> = new Set(['tag', 'tag with its manifest']);

/** One flight at a time for each question; whoever asks meanwhile shares its answer or its failure. */
export class SingleFlight {
  readonly #patienceMs: number;
  readonly #flights = new Map<string, Open>();
  /** What flights run, also what is needed no more and about to end. */
  readonly #running = new Set<Promise<void>>();
  #isClosed = false;

  constructor({ patienceMs }: SingleFlightOptions) {
    this.#patienceMs = patienceMs;
  }

  /** A question has answers of one type. The work asks with the demand that it is given. */
  async do<Value>(question: Question, work: (demand: Demand) => Promise<Value>): Promise<Value> {
    const { upstream } = question.of;
    if (this.#isClosed) throw new UpstreamError(upstream, 'unreachable', TEXTS.stopping);
    const key = keyOf(question);
    const known = this.#flights.get(key);
    if (known) return known.flight.answer as Promise<Value>;
    const { demand = INTERACTIVE } = question;
    const patienceMs = COMPOSED.has(question.what) ? undefined : this.#patienceMs;
    const flight = new Flight({
      work: async (asked) => this.#run(work, asked),
      demand,
      patienceMs,
    });
    this.#flights.set(key, { ...question, flight });
    return flight.answer.finally(() => this.#flights.delete(key));
  }

  async #run<Value>(work: (demand: Demand) => Promise<Value>, demand: Demand): Promise<Value> {
    const run = Promise.withResolvers<void>();
    this.#running.add(run.promise);
    try {
      return await work(demand);
    } finally {
      this.#running.delete(run.promise);
      run.resolve();
    }
  }

  /**
   * Whether the question is open and was asked for a shorter chain than this request's. Where two
   * mirrors have each other as upstream its answer may be waiting for this very request.
   */
  mayWaitForUs(question: Question): boolean {
    const open = this.#flights.get(keyOf(question));
    return open !== undefined && open.flight.chainLength < chainLength();
  }

  /** Questions that an upstream has not answered. */
  get size(): number {
    return this.#running.size;
  }

  /** Asks nothing any more, ends what runs, and resolves when that has ended. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const { flight, of } of this.#flights.values()) {
      flight.abort(new UpstreamError(of.upstream, 'unreachable', TEXTS.stopping));
    }
    while (this.#running.size > 0) await Promise.all(this.#running);
  }
}

/**
 * What is refused to background work, for the sake of clients, must not be refused to a client. What
 * costs a registry little is asked once for each length of chain, so that it never waits for itself;
 * a manifest is fetched once for all.
 */
function keyOf({ what, of, about = '', demand = INTERACTIVE }: Question): string {
  const { upstream, repository = '' } = of;
  const asker = isInteractive(demand) ? 'client' : 'background';
  // What a digest means is never known anew.
  const isAnew = demand.isAnew && !about.includes(':');
  const who = isAnew ? `${asker} anew` : asker;
  const chain = what === 'manifest' ? '' : chainLength();
  return `${who} ${chain} ${upstream}/${repository} ${about} ${what}`;
}

interface FlightParts<Value> {
  /** Asks with the demand that it is given. */
  readonly work: (demand: Demand) => Promise<Value>;
  readonly demand: Demand;
  /** How long a try may be silent; `undefined` for work that only waits for flights of its own. */
  readonly patienceMs: number | undefined;
}

interface Try {
  readonly abort: AbortController;
  timer?: NodeJS.Timeout;
  isSilent: boolean;
}

/** How often at most a question is asked at a time, however many clients wait. */
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
class Flight<Value> {
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
    const run: Try = { abort, isSilent: false };
    const advanced = (): void => {
      run.isSilent = false;
      clearTimeout(run.timer);
      if (patienceMs !== undefined) run.timer = setTimeout(() => this.#silent(run), patienceMs);
    };
    advanced();
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
