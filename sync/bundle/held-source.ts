import { attachedSubject, isAttachedTag } from '../../src/oci/cosign.ts';
import type { Descriptor } from '../../src/oci/descriptor.ts';
import type { Digest } from '../../src/oci/digest.ts';
import {
  formatImageName,
  formatTarget,
  itemKey,
  type Repository,
  type Tag,
  type Target,
} from '../../src/oci/reference.ts';
import { UpstreamError } from '../../src/oci/upstream-error.ts';
import type { Source, SyncParts } from '../parts.ts';
import { PASSING_ANSWERS, Retries } from '../retries.ts';

type HeldSourceParts = Pick<SyncParts, 'prefetcher' | 'catalog' | 'timer' | 'signal'>;

/**
 * Asks the upstreams; of one that gives no answer, what is held counts as its answer: its tags mean what
 * they meant, and there are no others.
 */
export class HeldSource implements Source {
  readonly #parts: HeldSourceParts;
  readonly #retries: Retries;
  readonly #unasked = new Set<string>();
  /** Manifests of which their upstream did not say what is attached to them. */
  readonly #unsearched = new Set<string>();

  constructor(parts: HeldSourceParts) {
    this.#parts = parts;
    this.#retries = new Retries({ ...parts, faults: PASSING_ANSWERS });
  }

  /** Tags that mean here what they meant when their upstream was last asked, as `name:tag`; sorted. */
  get unasked(): string[] {
    return [...this.#unasked].toSorted();
  }

  /** Whether the upstream said what is attached to a manifest, wherever it was asked for that. */
  isSearched(target: Target, digest: Digest): boolean {
    return !this.#unsearched.has(itemKey(target, digest));
  }

  async listTags(target: Target, most?: number): Promise<readonly Tag[] | undefined> {
    const { prefetcher, catalog } = this.#parts;
    return this.#ask(
      async () => prefetcher.listTags(target, most),
      async () => nonEmpty((await catalog.findTagList(target)) ?? (await catalog.listTags(target))),
    );
  }

  isListed(target: Target, tag: Tag): boolean | undefined {
    return this.#parts.prefetcher.isListed(target, tag);
  }

  async listRepositories(upstream: string): Promise<readonly Repository[] | undefined> {
    const { prefetcher, catalog } = this.#parts;
    return this.#ask(
      async () => prefetcher.listRepositories(upstream),
      async () => nonEmpty(await catalog.listRepositories(upstream)),
    );
  }

  async resolve(target: Target, tag: Tag): Promise<Digest | undefined> {
    const { prefetcher, catalog } = this.#parts;
    const held = async (): Promise<Digest | 'absent' | undefined> => {
      const { digest, goneAt } = (await catalog.findTag(target, tag)) ?? {};
      // What is attached to an image is part of it where it is held, and not missed where it is not.
      const subject = attachedSubject(tag);
      if (subject) this.#unsearched.add(itemKey(target, subject));
      if (isAttachedTag(tag)) return digest ?? 'absent';
      if (digest === undefined || goneAt !== undefined) return undefined;
      this.#unasked.add(formatImageName({ name: formatTarget(target), tag }));
      return digest;
    };
    const meant = await this.#ask(
      async () => (await prefetcher.resolve(target, tag)) ?? 'absent',
      held,
    );
    return meant === 'absent' ? undefined : meant;
  }

  async referrers(
    target: Target,
    subject: Digest,
    how?: { readonly isUntagged: boolean },
  ): Promise<readonly Descriptor[]> {
    const { prefetcher, catalog } = this.#parts;
    return this.#ask(
      async () => prefetcher.referrers(target, subject, how),
      async () => {
        this.#unsearched.add(itemKey(target, subject));
        return catalog.listReferrers(target, subject);
      },
    );
  }

  async holdManifest(target: Target, digest: Digest): Promise<boolean> {
    return this.#retries.run(async () => this.#parts.prefetcher.holdManifest(target, digest));
  }

  async holdBlob(...args: Parameters<Source['holdBlob']>): Promise<boolean> {
    return this.#parts.prefetcher.holdBlob(...args);
  }

  /** The fault of an upstream that gives no answer is thrown where nothing of its answer is held. */
  async #ask<Answer>(
    upstream: () => Promise<Answer>,
    held: () => Promise<Answer | undefined>,
  ): Promise<Answer> {
    try {
      return await this.#retries.run(upstream);
    } catch (error) {
      if (!(error instanceof UpstreamError) || !error.isSilence) throw error;
      const answer = await held();
      if (answer === undefined) throw error;
      return answer;
    }
  }
}

function nonEmpty<Item>(list: readonly Item[]): readonly Item[] | undefined {
  return list.length > 0 ? list : undefined;
}
