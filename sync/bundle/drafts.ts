import { randomUUID } from 'node:crypto';
import type { Readable } from 'node:stream';
import type { BlobRange, BundleWish, DraftApi, DraftState } from '../../src/api/bundle-api.ts';
import { RegistryError } from '../../src/oci/errors.ts';
import { Draft, type DraftParts } from './draft.ts';
import { TEXTS } from './texts.ts';

/** With the images of one it bounds what they remember, half a KiB an image and 150 bytes a blob. */
const MAX_OPEN = 4;
/** So long after the last question a draft ends by itself. */
const IDLE_MS = 10 * 60_000;

/**
 * What bundles are made of: each draft selects images, fetches what the mirror lacks of them, and keeps
 * all of it from being evicted until it ends. It ends when its maker says so, or has asked nothing for
 * ten minutes. At most four are open at once.
 */
export class Drafts implements DraftApi {
  #parts: DraftParts;
  readonly #open = new Map<string, Draft>();
  readonly #closing = new Set<Promise<void>>();

  constructor(parts: DraftParts) {
    this.#parts = parts;
  }

  /** Drafts that are open end as they began. */
  configure(change: Partial<DraftParts>): void {
    this.#parts = { ...this.#parts, ...change };
  }

  draft(wish: BundleWish): DraftState {
    if (this.#open.size >= MAX_OPEN) {
      throw new RegistryError('UNSUPPORTED', {
        status: 409,
        message: TEXTS.tooManyDrafts({ most: MAX_OPEN }),
      });
    }
    const id = randomUUID();
    const draft = new Draft(this.#parts, wish);
    this.#open.set(id, draft);
    void draft.unusedFor(IDLE_MS).then(() => this.end(id));
    return { id, ...draft.state };
  }

  draftState(id: string): DraftState | undefined {
    const draft = this.#open.get(id);
    return draft && { id, ...draft.use().state };
  }

  async openBlob(id: string, digest: string, range: BlobRange): Promise<Readable | undefined> {
    return this.#open.get(id)?.use().openBlob(digest, range);
  }

  end(id: string): void {
    const draft = this.#open.get(id);
    if (!draft) return;
    this.#open.delete(id);
    const closing = draft.close().finally(() => this.#closing.delete(closing));
    this.#closing.add(closing);
  }

  stop(): void {
    for (const id of this.#open.keys()) this.end(id);
  }

  /** Resolves, after `stop`, when nothing of any draft is under way any more. */
  async closed(): Promise<void> {
    await Promise.allSettled(this.#closing);
  }
}
