import type { Log } from '../observe/log.ts';
import type { Metrics } from '../observe/metrics.ts';
import { attachedSubject } from '../oci/cosign.ts';
import type { Digest } from '../oci/digest.ts';
import { formatTarget, itemKey, type Tag, type Target } from '../oci/reference.ts';
import type { Health, Pins } from '../store/care/care.ts';
import type { Catalog } from '../store/catalog/catalog.ts';
import { UpstreamError } from '../oci/upstream-error.ts';
import type { Clock } from '../time/clock.ts';
import { ExpiringMap } from '../time/expiring-map.ts';
import type { Answer } from './answer.ts';
import type { Upstreams } from './upstreams.ts';

/** What selects images for this site, and knows more of them than the catalog. */
export interface Selection {
  /** Whether its copy of the tag is this digest, complete and young enough. */
  isReady(image: {
    readonly target: Target;
    readonly tag: Tag;
    readonly digest: Digest;
  }): Promise<boolean>;
  /** Whether all that is attached to the image was looked for, and what there was is held. */
  isSearched(image: { readonly target: Target; readonly digest: Digest }): boolean;
}

export interface GoneTagsParts {
  readonly catalog: Catalog;
  readonly pins: Pins;
  readonly health: Health;
  readonly metrics: Metrics;
  readonly log: Log;
  readonly selection: Selection;
}

/**
 * Held tags that the upstream said it has no more. They are gone, also while it cannot be asked,
 * unless a pin, as sync sets one for what its rules keep, keeps the image.
 */
export class GoneTags {
  readonly #parts: GoneTagsParts;

  constructor(parts: GoneTagsParts) {
    this.#parts = parts;
  }

  /** Whether a pin keeps what the tag means here, whatever the upstream removes. */
  isKept(target: Target, tag: Tag, digest: Digest): boolean {
    const pins = this.#parts.pins.of({ target, digest, tags: [tag] });
    return pins.some(({ tags }) => tags?.includes(tag) ?? true);
  }

  /** Whether this site's copy of the tag's image is ready, so that no question is owed. */
  async isReady(target: Target, tag: Tag, digest: Digest): Promise<boolean> {
    return this.#parts.selection.isReady({ target, tag, digest });
  }

  /** Whether a tag that is not held is known never to have been: one of a subject whose own were looked for. */
  async wasNever(target: Target, tag: Tag): Promise<boolean> {
    const digest = attachedSubject(tag);
    if (digest === undefined) return false;
    const { catalog, selection } = this.#parts;
    return selection.isSearched({ target, digest }) || catalog.wasSearched({ target, digest });
  }

  async add(target: Target, tag: Tag, goneAt: number): Promise<void> {
    const { catalog, health, log, metrics } = this.#parts;
    const record = await catalog.findTag(target, tag);
    if (record?.goneAt !== undefined || !record) return;
    metrics.tagsGone.inc({ upstream: target.upstream });
    log.info({ target: formatTarget(target), tag, digest: record.digest }, 'tag gone');
    await health.recorded(catalog.recordTag(target, tag, { ...record, goneAt }));
  }
}

/** Absences in memory, with the words of the upstream where it gave any: at most 600 characters each. */
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

  /** Of an absence in the upstream's words: nothing. Throws any other error. */
  static require(this: void, error: unknown): undefined {
    if (!(error instanceof UpstreamError && error.isAbsence)) throw error;
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
