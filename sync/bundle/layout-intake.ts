import { readAll } from '../../src/oci/content.ts';
import { Digester, splitDigest, type Algorithm, type Digest } from '../../src/oci/digest.ts';
import { MAX_MANIFEST_BYTES } from '../../src/oci/manifest.ts';
import type { Budget, Health } from '../../src/store/care/care.ts';
import type { Catalog } from '../../src/store/catalog/catalog.ts';
import type { Arrival, BlobStore } from '../../src/store/files/blob-store.ts';
import type { CrashPoint } from '../../src/store/store.ts';
import { BundleError } from './bundle-error.ts';
import { TEXTS } from './texts.ts';

export interface LayoutIntakeParts {
  readonly blobs: BlobStore;
  readonly catalog: Catalog;
  readonly budget: Budget;
  readonly health: Health;
  readonly now: () => number;
  readonly step: CrashPoint;
}

/** Bytes that come, as many as are said. */
export interface Coming {
  readonly size: number;
  readonly content: AsyncIterable<Buffer>;
}

/** Nobody but the operator waits for it. */
const PATIENCE_MS = 60_000;

/**
 * Takes the blobs of one layout into the store, where no client sees them: no repository is said to have
 * them. Until it is disposed of none of them is evicted; then those that were not held before and are not
 * kept are taken out again.
 */
export class LayoutIntake implements AsyncDisposable {
  readonly #parts: LayoutIntakeParts;
  readonly #leases = new DisposableStack();
  /** All that came, with its size. */
  readonly #sizes = new Map<Digest, number>();
  readonly #added = new Set<Digest>();
  readonly #kept = new Set<Digest>();

  constructor(parts: LayoutIntakeParts) {
    this.#parts = parts;
  }

  /** Of what came; `undefined` for what did not. */
  sizeOf(digest: Digest): number | undefined {
    return this.#sizes.get(digest);
  }

  /** Throws a `BundleError` when the bytes are not those of the digest. */
  async take(digest: Digest, coming: Coming): Promise<void> {
    this.#hold(digest);
    const actual = (await this.#isHeld(digest, coming.size))
      ? await digestOf(coming, splitDigest(digest).algorithm)
      : await this.#write(coming, digest);
    if (actual !== digest) {
      throw new BundleError('content', TEXTS.layoutContent({ digest, actual }));
    }
    this.#sizes.set(digest, coming.size);
  }

  /** Bytes without a name: resolves with their digest. */
  async takeUnnamed(coming: Coming): Promise<Digest> {
    const digest = await this.#write(coming);
    this.#sizes.set(digest, coming.size);
    return digest;
  }

  /** Bytes of what came, the first ones of a large blob. Throws a `BundleError` when the disk does not give them. */
  async read(digest: Digest, most = MAX_MANIFEST_BYTES): Promise<Buffer> {
    const { blobs, catalog } = this.#parts;
    const blob = await blobs.find(digest, await catalog.findBlob(digest));
    if (!blob) throw new BundleError('content', TEXTS.layoutLost({ digest }));
    const end = Math.min(most, blob.size);
    const reader = await blob.open({ start: 0, end });
    try {
      return await readAll(reader, end);
    } finally {
      await reader.close();
    }
  }

  /** It stays, whatever becomes of the rest. */
  keep(digest: Digest): void {
    this.#kept.add(digest);
  }

  /** Of what is kept, what was not held before. */
  get brought(): { readonly blobs: number; readonly bytes: number } {
    const digests = [...this.#added].filter((digest) => this.#kept.has(digest));
    const bytes = digests.reduce((sum, digest) => sum + (this.#sizes.get(digest) ?? 0), 0);
    return { blobs: digests.length, bytes };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#leases.dispose();
    const { budget, health } = this.#parts;
    const unwanted = [...this.#added].filter((digest) => !this.#kept.has(digest));
    // What the disk does not let go now is evicted like all that no manifest lists.
    await budget.discard(unwanted).catch((error: unknown) => health.refused(error));
  }

  #hold(digest: Digest): void {
    this.#leases.use(this.#parts.blobs.lease(digest));
  }

  async #isHeld(digest: Digest, size: number): Promise<boolean> {
    const { blobs, catalog } = this.#parts;
    const record = await catalog.findBlob(digest);
    const blob = record && (await blobs.find(digest, record));
    return blob?.isVerified === true && blob.size === size;
  }

  /** Resolves with what the bytes are; when they are not what is expected, nothing of them is left. */
  async #write({ size, content }: Coming, expected?: Digest): Promise<Digest> {
    const { blobs, budget } = this.#parts;
    using room = await budget.admit(size, { patienceMs: PATIENCE_MS });
    const arrival = await blobs.arrive(expected && splitDigest(expected).algorithm);
    try {
      for await (const chunk of content) {
        await room.take(chunk.length);
        await arrival.append(chunk);
        room.wrote(chunk.length);
      }
      const { digest } = arrival;
      if (expected === undefined) this.#hold(digest);
      const isWanted = digest === (expected ?? digest);
      if (isWanted && !(await this.#isHeld(digest, size))) await this.#commit(arrival);
      else await arrival.abort();
      return digest;
    } catch (error) {
      await arrival.abort();
      throw error;
    }
  }

  async #commit(arrival: Arrival): Promise<void> {
    const { budget, catalog, health, now, step } = this.#parts;
    const { digest, written: size } = arrival;
    const isNew = !(await catalog.findBlob(digest));
    const changedAt = await arrival.commit();
    step('layout.written');
    await catalog.adoptBlob(digest, { size, changedAt, storedAt: now(), layout: true });
    step('layout.adopted');
    if (isNew) this.#added.add(digest);
    health.took(size);
    budget.wake();
  }
}

async function digestOf({ content }: Coming, algorithm: Algorithm): Promise<Digest> {
  const digester = new Digester(algorithm);
  for await (const chunk of content) digester.update(chunk);
  return digester.value();
}
