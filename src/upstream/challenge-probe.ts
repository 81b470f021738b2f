import type { Timing } from '../net/timing.ts';
import type { Sender } from '../net/transport.ts';
import { UpstreamError } from '../oci/upstream-error.ts';
import type { Clock } from '../time/clock.ts';
import { chooseChallenge, parseChallenges, type Challenge } from './challenge.ts';

export interface ChallengeProbeParts {
  /** The registry's `/v2/`. */
  readonly registry: URL;
  readonly sender: Sender;
  readonly clock: Clock;
  readonly timing: Pick<Timing, 'probeMs'>;
}

/** A registry that asks for no login may begin to; one whose accounts are used is asked so often. */
const OPEN_MS = 10 * 60_000;
/** A registry that said nothing of use is asked again after this time. */
const RETRY_MS = 10_000;

/**
 * What `/v2/` says to somebody unknown, by which clients learn how to log in: many registries hide what is
 * private by 404, which asks for nothing. It is asked once for all accounts, and a challenge is
 * remembered for good; no client chooses the question, and none waits for it longer than for a probe.
 */
export class ChallengeProbe {
  readonly #parts: ChallengeProbeParts;
  #challenge: Challenge | undefined;
  #asking: Promise<void> | undefined;
  /** A moment of the steady clock. */
  #nextAt = -Infinity;
  #isTold = false;

  constructor(parts: ChallengeProbeParts) {
    this.#parts = parts;
  }

  /** False while the registry could not say it: then nobody knows what it would show to an account. */
  get isTold(): boolean {
    return this.#isTold;
  }

  /** `undefined` where it asks for no login that can be answered, or could not be asked. Never rejects. */
  async challenge(): Promise<Challenge | undefined> {
    const isKnown = this.#challenge !== undefined || this.#parts.clock.steady() < this.#nextAt;
    if (!isKnown) {
      this.#asking ??= this.#ask().finally(() => {
        this.#asking = undefined;
      });
      await this.#asking;
    }
    return this.#challenge;
  }

  async #ask(): Promise<void> {
    const { registry: url, sender, clock, timing } = this.#parts;
    const signal = AbortSignal.timeout(timing.probeMs);
    try {
      const headers = { accept: 'application/json' };
      const response = await sender.send({ method: 'GET', url, headers, signal });
      await response.dump();
      const { status, challenges } = response;
      this.#isTold = status < 500 && status !== 429;
      this.#challenge = chooseChallenge(parseChallenges(challenges));
      this.#nextAt = clock.steady() + (this.#isTold ? OPEN_MS : RETRY_MS);
    } catch (error) {
      this.#isTold = false;
      // The breaker has a pause of its own.
      const isUnasked = error instanceof UpstreamError && error.isUnasked;
      if (!isUnasked) this.#nextAt = clock.steady() + RETRY_MS;
    }
  }
}
