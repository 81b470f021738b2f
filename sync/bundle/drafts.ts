import { randomUUID } from 'node:crypto';
import type { Readable } from 'node:stream';
import type { BlobRange, BundleWish, DraftApi, DraftState } from '../../src/api/bundle-api.ts';
import type { SyncConfig } from '../../src/config/sync-schema.ts';
import { RegistryError } from '../../src/oci/errors.ts';
import type { Store } from '../../src/store/store.ts';
import { BundleError } from './bundle-error.ts';
import { BundleNumbers } from './bundle-numbers.ts';
import { Draft, type DraftParts } from './draft.ts';
import { decodeInventory } from './inventory-file.ts';
import type { Inventory } from './inventory.ts';
import { readSelection, type SelectionParts } from './selection.ts';
import { TEXTS } from './texts.ts';

export interface DraftsParts
  extends Omit<DraftParts, 'id' | 'numbers' | 'schedule'>, SelectionParts {
  readonly store: Pick<Store, 'id' | 'path'>;
}

/** With the images of one it bounds what they remember, half a KiB an image and 150 bytes a blob. */
const MAX_OPEN = 4;
/** How long after the last question a draft ends by itself. */
const IDLE_MS = 10 * 60_000;

/**
 * What bundles are made of: each draft selects images, fetches what the mirror lacks of them, and keeps
 * all of it from being evicted until it ends. It ends when its maker says so, or has asked nothing for
 * ten minutes. At most four are open at once.
 */
export class Drafts implements DraftApi {
  #parts: DraftsParts;
  readonly #numbers: BundleNumbers;
  readonly #open = new Map<string, Draft>();
  readonly #closing = new Set<Promise<void>>();

  constructor(parts: DraftsParts) {
    this.#parts = parts;
    this.#numbers = new BundleNumbers(parts.store.path);
  }

  /** Drafts that are open end as they began. */
  configure(config: SyncConfig): void {
    this.#parts = { ...this.#parts, config };
  }

  async draft({ inventory: encoded, ...wish }: BundleWish): Promise<DraftState> {
    const inventory = encoded === undefined ? undefined : await readInventory(encoded);
    const selection = readSelection(wish, this.#parts);
    if (this.#open.size >= MAX_OPEN) throw refuse(409, TEXTS.tooManyDrafts({ most: MAX_OPEN }));
    const { store, ...parts } = this.#parts;
    const { files, isPlain } = wish;
    const id = randomUUID();
    const draft = new Draft(
      { ...parts, id: store.id, numbers: this.#numbers },
      { selection, inventory, files, isPlain },
    );
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

async function readInventory(encoded: string): Promise<Inventory> {
  try {
    return await decodeInventory(Buffer.from(encoded, 'base64'));
  } catch (error) {
    if (!(error instanceof BundleError)) throw error;
    throw refuse(400, error.message, error);
  }
}

function refuse(status: number, message: string, cause?: unknown): RegistryError {
  return new RegistryError('UNSUPPORTED', { status, message, cause });
}
