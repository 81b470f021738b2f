import PQueue from 'p-queue';
import type { Attachments } from '../mirror/mirror.ts';
import type { Digest } from '../oci/digest.ts';
import { formatTarget, type Tag, type Target } from '../oci/reference.ts';
import type { AdmissionFacts, MovedTag } from '../store/catalog/catalog.ts';
import { TEXTS } from './texts.ts';

export interface LastAdmittedParts {
  readonly facts: Pick<AdmissionFacts, 'findAdmitted' | 'recordAdmitted' | 'admittedAs'>;
  readonly attachments: () => Attachments;
  /** Whether a rule asks for an age of the repository's images, and what is held is too young for it. */
  readonly isYoung: (target: Target, digest: Digest) => Promise<boolean>;
  /** Whether every rule admits what is held, which was old enough at that moment. */
  readonly wasAdmitted: (target: Target, digest: Digest, at: number) => Promise<boolean>;
}

/**
 * The manifest that each tag last had admitted: one that left by the tag, or could have while the upstream is known
 * to have meant it; one that was too young all that time never counts. It is kept in the store while the manifest
 * that the tag means now is too young.
 */
export class LastAdmitted {
  readonly #parts: LastAdmittedParts;
  /** By repository: what is being found out of tags that moved. */
  readonly #noting = new Map<string, PQueue>();

  constructor(parts: LastAdmittedParts) {
    this.#parts = parts;
  }

  async find(target: Target, tag: Tag): Promise<Digest | undefined> {
    await this.#settled(target);
    return this.#parts.facts.findAdmitted(target, tag);
  }

  /** It left by this tag. */
  admitted(target: Target, tag: Tag, digest: Digest): void {
    this.#note(target, async () => this.#record(target, tag, digest));
  }

  /** What these tags meant could have left by them for as long as they are known to have meant it. */
  moved(target: Target, moves: readonly MovedTag[]): void {
    this.#note(target, async () => {
      for (const { tag, from, saidAt } of moves) {
        const isAdmitted = await this.#parts.wasAdmitted(target, from, saidAt);
        if (isAdmitted) await this.#record(target, tag, from);
      }
    });
  }

  /** Why a manifest must not be evicted; nothing where it may be. */
  async whyKept(target: Target, digest: Digest): Promise<string | undefined> {
    const { facts, attachments, isYoung } = this.#parts;
    await this.#settled(target);
    for (const tag of await facts.admittedAs(target, digest)) {
      const now = await attachments().tagged(target, tag, 'held');
      if (!now || now === digest || !(await isYoung(target, now))) continue;
      return TEXTS.lastAdmitted({ tag });
    }
    return this.#whyAwaited(target, digest);
  }

  /** What a tag means now stays too: without it nobody knows why the other one does. */
  async #whyAwaited(target: Target, digest: Digest): Promise<string | undefined> {
    const { facts, attachments, isYoung } = this.#parts;
    for (const tag of await attachments().tagsOf(target, digest)) {
      const last = await facts.findAdmitted(target, tag);
      if (!last || last === digest) continue;
      return (await isYoung(target, digest)) ? TEXTS.awaited({ tag }) : undefined;
    }
    return undefined;
  }

  /** Resolves when nothing is being found out. */
  async noted(): Promise<void> {
    for (const turns of this.#noting.values()) await turns.onIdle();
  }

  async #record(target: Target, tag: Tag, digest: Digest): Promise<void> {
    const { facts } = this.#parts;
    if ((await facts.findAdmitted(target, tag)) === digest) return;
    await facts.recordAdmitted(target, tag, digest);
  }

  /** Resolves when what is being found out by now is known. */
  async #settled(target: Target): Promise<void> {
    await this.#noting.get(formatTarget(target))?.add(() => undefined);
  }

  /** One after the other; what the disk does not take is found out at the next chance. */
  #note(target: Target, work: () => Promise<void>): void {
    const key = formatTarget(target);
    const known = this.#noting.get(key);
    const turns = known ?? new PQueue({ concurrency: 1 });
    turns.add(work).catch(() => undefined);
    if (known) return;
    this.#noting.set(key, turns);
    turns.addEventListener('idle', () => this.#noting.delete(key));
  }
}
