import { createHash } from 'node:crypto';
import type { Digest } from '../oci/digest.ts';
import { formatTarget, type Target } from '../oci/reference.ts';
import type { AdmissionFacts } from '../store/catalog/catalog.ts';
import type { Clock } from '../time/clock.ts';
import { ExpiringMap } from '../time/expiring-map.ts';
import type { Verdict } from './verdict.ts';

/** What a verdict is about. */
export interface Question {
  readonly target: Target;
  readonly digest: Digest;
  /** All that the verdict rests on besides: what is asked, whom is trusted, what evidence is held. */
  readonly rests: readonly unknown[];
}

export interface VerdictsParts {
  readonly clock: Clock;
  readonly facts: Pick<AdmissionFacts, 'findFinding' | 'recordFinding'>;
  /** Of the program: another one judges anew. */
  readonly version: string;
}

/** By the wall clock. */
interface Kept {
  readonly verdict: Verdict;
  readonly reachedAt: number;
  readonly validUntil: number;
}

const MAX_VERDICTS = 10_000;
const DAY_MS = 86_400_000;
/** In memory, by the steady clock. What is signed after it was refused is admitted within 30 s. */
const MEMORY_MS = { admitted: 3_600_000, refused: 30_000, unknown: 2_000 };
/** One that admits is judged anew by then. */
const MAX_VALID_MS = 7 * DAY_MS;

/**
 * Verdicts that were reached lately, 10,000 of them in memory: a refusal counts for 30 s, and is kept nowhere
 * else. One that admits is also kept in the catalog, as long as the image is held, and counts for a week at most.
 * None counts at a moment before it was reached: a clock that is set back has it judged anew.
 */
export class Verdicts {
  readonly #parts: VerdictsParts;
  readonly #known: ExpiringMap<string, Kept>;
  readonly #running = new Map<string, Promise<Verdict>>();
  readonly #writes = new Set<Promise<void>>();

  constructor(parts: VerdictsParts) {
    this.#parts = parts;
    this.#known = new ExpiringMap({ max: MAX_VERDICTS, clock: parts.clock });
  }

  async find(question: Question): Promise<Verdict | undefined> {
    const name = this.#nameOf(question);
    const key = keyOf(question, name);
    const known = this.#known.get(key) ?? (await this.#read(question, name));
    const now = this.#parts.clock.wall();
    if (!known || now < known.reachedAt || now >= known.validUntil) return undefined;
    return known.verdict;
  }

  keep(question: Question, verdict: Verdict): Verdict {
    const name = this.#nameOf(question);
    const reachedAt = this.#parts.clock.wall();
    const validUntil = Math.min(endOf(verdict), reachedAt + MAX_VALID_MS);
    const kept = { verdict, reachedAt, validUntil };
    this.#remember(keyOf(question, name), kept);
    if (verdict.is === 'admitted') this.#write(question, name, kept);
    return verdict;
  }

  /** One judgement of a question at a time, which all who ask meanwhile share. */
  async reach(question: Question, judge: () => Promise<Verdict>): Promise<Verdict> {
    const key = keyOf(question, this.#nameOf(question));
    const running = this.#running.get(key);
    if (running) return running;
    const reached = judge();
    this.#running.set(key, reached);
    return reached.finally(() => this.#running.delete(key));
  }

  /** Resolves when all that was kept is written. */
  async written(): Promise<void> {
    await Promise.all(this.#writes);
  }

  #nameOf({ rests }: Question): string {
    const text = JSON.stringify([this.#parts.version, ...rests]);
    return createHash('sha256').update(text).digest('hex');
  }

  #remember(key: string, kept: Kept): void {
    this.#known.set(key, kept, MEMORY_MS[kept.verdict.is]);
  }

  /** What cannot be read is judged anew. */
  async #read(question: Question, name: string): Promise<Kept | undefined> {
    const { target, digest } = question;
    const found = await this.#parts.facts.findFinding(target, digest, name).catch(() => undefined);
    const kept = found as Kept | undefined;
    if (kept?.verdict.is !== 'admitted') return undefined;
    this.#remember(keyOf(question, name), kept);
    return kept;
  }

  /** Nobody waits for it; what the disk does not take is judged anew after a restart. */
  #write({ target, digest }: Question, name: string, kept: Kept): void {
    const writing = this.#parts.facts
      .recordFinding(target, digest, { name, finding: { ...kept } })
      .catch(() => undefined)
      .finally(() => this.#writes.delete(writing));
    this.#writes.add(writing);
  }
}

function endOf(verdict: Verdict): number {
  return verdict.is === 'admitted' ? (verdict.validUntil ?? Infinity) : Infinity;
}

function keyOf({ target, digest }: Question, name: string): string {
  return `${formatTarget(target)} ${digest} ${name}`;
}
