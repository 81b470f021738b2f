import type { Attachments } from '../mirror/mirror.ts';
import type { Digest } from '../oci/digest.ts';
import type { Target } from '../oci/reference.ts';
import { ageOf, type Clock } from '../time/clock.ts';
import type { Condition, Examined, How } from './condition.ts';
import type { FirstSights } from './first-sights.ts';
import { lineageOf } from './lineage.ts';
import { TEXTS } from './texts.ts';
import type { Verdict } from './verdict.ts';

export interface MinAgeParts {
  readonly attachments: () => Attachments;
  readonly sights: FirstSights;
  readonly clock: Clock;
  readonly minAgeMs: number;
  /** Of the same rule: what signatures say of the age is said by those whom it names. */
  readonly signedBy?: Condition | undefined;
}

const MINUTE_MS = 60_000;

/**
 * An image has been known for long enough: it, or a held index that lists it, since this repository was first
 * seen to have it, or since a witness whom the trust root names saw the signature that the rule asks for. It is
 * found out each time, by the wall clock: one that runs ahead makes an image older only as long as it does.
 */
export class MinAge implements Condition {
  readonly asks = 'minAge';
  readonly #parts: MinAgeParts;

  constructor(parts: MinAgeParts) {
    this.#parts = parts;
  }

  async judge(target: Target, digest: Digest, how: How): Promise<Verdict> {
    const { minAgeMs, clock } = this.#parts;
    const ageMs = await this.#ageOf(target, digest, how);
    if (ageMs >= minAgeMs) return { is: 'admitted' };
    const knownAt = clock.wall() - ageMs;
    const [since, until] = [Math.floor(knownAt / MINUTE_MS), (knownAt + minAgeMs) / MINUTE_MS];
    const reason = TEXTS.young({ since: minuteOf(since), until: minuteOf(Math.ceil(until)) });
    return { is: 'refused', refusals: [{ code: 'young', reason }] };
  }

  /** When it is old enough, where it is not. */
  async examine(target: Target, digest: Digest, how: How): Promise<Examined> {
    const until = await this.passesAt(target, digest, how);
    return until > this.#parts.clock.wall() ? { until } : {};
  }

  /** Milliseconds since 1970, also of what is old enough. */
  async passesAt(target: Target, digest: Digest, how: How): Promise<number> {
    const { minAgeMs, clock } = this.#parts;
    return clock.wall() + minAgeMs - (await this.#ageOf(target, digest, how));
  }

  /** Signatures are looked at where what was seen does not tell enough. */
  async #ageOf(target: Target, digest: Digest, how: How): Promise<number> {
    const seenMs = await this.#seenFor(target, digest);
    if (seenMs >= this.#parts.minAgeMs) return seenMs;
    return Math.max(seenMs, await this.#signedFor(target, digest, how));
  }

  async #seenFor(target: Target, digest: Digest): Promise<number> {
    const { attachments, sights, minAgeMs } = this.#parts;
    let longest = 0;
    for await (const each of lineageOf(attachments(), target, digest)) {
      longest = Math.max(longest, await sights.ageOf(target, each));
      if (longest >= minAgeMs) break;
    }
    return longest;
  }

  async #signedFor(target: Target, digest: Digest, how: How): Promise<number> {
    // What cannot be found out of signatures makes nothing older.
    const signed = this.#parts.signedBy?.judge(target, digest, how).catch(() => undefined);
    const verdict = await signed;
    const at = verdict?.is === 'admitted' ? verdict.by?.at : undefined;
    return (at === undefined ? undefined : ageOf(at, this.#parts.clock)) ?? 0;
  }
}

/** By how many minutes it is after the first of 1970. */
function minuteOf(minutes: number): string {
  return new Date(minutes * MINUTE_MS).toISOString().replace(':00.000Z', 'Z');
}
