import { INTERACTIVE, isInteractive, type Demand } from '../upstream/demand.ts';

/** A question to an upstream. Equal ones that are open at the same time are asked once. */
export interface Question {
  readonly what:
    | 'tag'
    | 'tag with its manifest'
    | 'manifest'
    | 'manifest by HEAD'
    | 'blob by HEAD'
    | 'tags'
    | 'referrers'
    | 'repositories';
  readonly of: { readonly upstream: string; readonly repository?: string };
  /** The tag or digest. */
  readonly about?: string;
  readonly demand?: Demand;
}

/** One run at a time for each question; whoever asks meanwhile shares its result or its failure. */
export class SingleFlight {
  readonly #running = new Map<string, Promise<unknown>>();

  /** A question has answers of one type. */
  async do<Value>(question: Question, work: () => Promise<Value>): Promise<Value> {
    const key = keyOf(question);
    const running = this.#running.get(key) as Promise<Value> | undefined;
    if (running) return running;
    const started = work().finally(() => this.#running.delete(key));
    this.#running.set(key, started);
    return started;
  }

  get size(): number {
    return this.#running.size;
  }

  /** Resolves when nothing runs any more, whatever came of it. */
  async idle(): Promise<void> {
    while (this.#running.size > 0) await Promise.allSettled(this.#running.values());
  }
}

/** What is refused to background work, for the sake of clients, must not be refused to a client. */
function keyOf({ what, of, about = '', demand = INTERACTIVE }: Question): string {
  const { upstream, repository = '' } = of;
  const who = isInteractive(demand) ? 'client' : 'background';
  return `${who} ${upstream}/${repository} ${about} ${what}`;
}
