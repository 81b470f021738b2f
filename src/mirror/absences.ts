import { itemKey, type Target } from '../oci/reference.ts';
import { UpstreamError } from '../oci/upstream-error.ts';
import type { Clock } from '../time/clock.ts';
import { ExpiringMap } from '../time/expiring-map.ts';
import type { Answer } from './answer.ts';
import type { Upstreams } from './upstreams.ts';

/** With the words of those that have any: 600 characters, which the upstream's room cuts them to. */
const MAX_ABSENCES = 10_000;

/**
 * Tags or digests that upstreams lately said they do not have, for the negative ttl. Where one said so in
 * words of its own (410), whoever asks meanwhile hears them too.
 */
export class Absences {
  readonly #upstreams: Upstreams;
  readonly #told: ExpiringMap<string, UpstreamError | true>;

  constructor({ upstreams, clock }: { upstreams: Upstreams; clock: Clock }) {
    this.#upstreams = upstreams;
    this.#told = new ExpiringMap({ max: MAX_ABSENCES, clock });
  }

  has(target: Target, item: string): boolean {
    return this.#told.has(itemKey(target, item));
  }

  /** What is answered meanwhile; `undefined` when nothing was said. Throws the upstream's words. */
  answer(target: Target, item: string): Answer<never> | undefined {
    const told = this.#told.get(itemKey(target, item));
    if (told instanceof UpstreamError) throw told.withReason(told.reason);
    return told && { value: undefined, source: 'negative' };
  }

  add(target: Target, item: string, words?: UpstreamError): void {
    const { negativeTtlMs } = this.#upstreams.of(target).policy;
    this.#told.set(itemKey(target, item), words?.withReason(words.reason) ?? true, negativeTtlMs);
  }

  /** Settles as the question does, and remembers where its answer is an absence in words. */
  async listen<Value>(target: Target, item: string, question: Promise<Value>): Promise<Value> {
    return question.catch((error: unknown) => {
      if (error instanceof UpstreamError && error.isAbsence) this.add(target, item, error);
      throw error;
    });
  }
}
