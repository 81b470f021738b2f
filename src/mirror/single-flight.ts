import { chainLength } from '../net/via.ts';
import { INTERACTIVE, isInteractive, type Demand } from '../upstream/demand.ts';

/** A question to an upstream. Equal ones that are open at the same time are asked once. */
export interface Question {
  readonly what:
    | 'tag'
    | 'tag with its manifest'
    | 'manifest'
    | 'manifest by tag'
    | 'manifest by HEAD'
    | 'blob by HEAD'
    | 'blob by range'
    | 'tags'
    | 'referrers'
    | 'repositories';
  readonly of: { readonly upstream: string; readonly repository?: string };
  /** The tag or digest. */
  readonly about?: string;
  readonly demand?: Demand;
}

interface Running {
  readonly answer: Promise<unknown>;
  /** Of the request that began it. */
  readonly chainLength: number;
}

/** One run at a time for each question; whoever asks meanwhile shares its result or its failure. */
export class SingleFlight {
  readonly #running = new Map<string, Running>();

  /** A question has answers of one type. */
  async do<Value>(question: Question, work: () => Promise<Value>): Promise<Value> {
    const key = keyOf(question);
    const running = this.#running.get(key);
    if (running) return running.answer as Promise<Value>;
    const answer = work().finally(() => this.#running.delete(key));
    this.#running.set(key, { answer, chainLength: chainLength() });
    return answer;
  }

  /**
   * Whether the question is open and was asked for a shorter chain than this request's. Where two
   * mirrors have each other as upstream its answer may be waiting for this very request.
   */
  mayWaitForUs(question: Question): boolean {
    const running = this.#running.get(keyOf(question));
    return running !== undefined && running.chainLength < chainLength();
  }

  get size(): number {
    return this.#running.size;
  }

  /** Resolves when nothing runs any more, whatever came of it. */
  async idle(): Promise<void> {
    while (this.#running.size > 0) {
      await Promise.allSettled([...this.#running.values()].map(({ answer }) => answer));
    }
  }
}

/**
 * What is refused to background work, for the sake of clients, must not be refused to a client. What
 * costs a registry little is asked once for each length of chain, so that it never waits for itself;
 * a manifest is fetched once for all.
 */
function keyOf({ what, of, about = '', demand = INTERACTIVE }: Question): string {
  const { upstream, repository = '' } = of;
  const who = isInteractive(demand) ? 'client' : 'background';
  const chain = what === 'manifest' ? '' : chainLength();
  return `${who} ${chain} ${upstream}/${repository} ${about} ${what}`;
}
