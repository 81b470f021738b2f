import { IntegrityError, type Digest } from '../../src/oci/digest.ts';
import { NoRoomError, type Budget } from '../../src/store/care/care.ts';
import type { Catalog } from '../../src/store/catalog/catalog.ts';
import type { BlobStore, Ingest, Pieces } from '../../src/store/files/blob-store.ts';
import { BundleError } from './bundle-error.ts';
import type { BundleManifest } from './bundle-manifest.ts';
import { contentOf, recipesOf, slicesOf, type ContentEntry, type Slice } from './content.ts';
import { TEXTS } from './texts.ts';
import { writeBehind } from './write-behind.ts';

export interface IntakeParts {
  readonly catalog: Catalog;
  readonly blobs: BlobStore;
  readonly budget: Budget;
  readonly now: () => number;
}

type Entry = Pick<ContentEntry, 'digest' | 'size'>;

/** Blobs that wait for the disk while others come; each has an open file. */
const MAX_RECORDING = 4;
/** Whose partial files they are; no registry has this name. */
const OWNER = 'bundle:';

/**
 * Takes the content of one bundle into the store, by digest: no client sees any of it before a manifest of
 * its repository lists it. What has come, whole or in pieces, is not evicted before `close`.
 */
export class Intake {
  readonly #parts: IntakeParts;
  readonly #pieces = new Map<Digest, Pieces>();
  /** What is here already is not evicted before the rest comes. */
  readonly #leases = new DisposableStack();
  readonly #leased = new Set<Digest>();
  /** Series and number, as `explain` tells where a blob came from. */
  readonly #bundle: string;
  /** Blobs whose bytes are in a file, by digest, until they are recorded. */
  readonly #recording = new Map<Digest, Promise<void>>();
  #failure: { readonly error: unknown } | undefined;
  /** Blobs that were not held before, and their bytes. */
  readonly came = { blobs: 0, bytes: 0 };

  /** What recipes make, by the paths of these. */
  readonly #made: ReadonlyMap<string, Entry>;

  constructor(parts: IntakeParts, manifest: BundleManifest) {
    this.#parts = parts;
    this.#bundle = `${manifest.series} ${manifest.number}`;
    this.#made = new Map(recipesOf(manifest).map(({ path, makes }) => [path, makes]));
  }

  /**
   * `bytes` of a whole entry end only where they are right. What is held already is left unread; what is
   * not may still wait for the disk when it resolves, until `settled`. Throws a `BundleError` with code `room`, and what the disk says.
   */
  async take({ of, start, end, isWhole }: Slice, bytes: AsyncIterable<Buffer>): Promise<void> {
    if (!isKept(of)) return;
    this.#throwFailure();
    this.lease(of.digest);
    // A file may have the bytes of a blob.
    await this.#recording.get(of.digest);
    if ((await this.#isDone(of)) || (await this.#adopt(of))) return;
    if (!isWhole) return this.#keepPiece(of, { start, end }, bytes);
    const { recorded } = await this.#write(of, bytes, { isProven: true });
    await this.#record(of.digest, recorded);
  }

  lease(digest: Digest): void {
    if (this.#leased.has(digest)) return;
    this.#leased.add(digest);
    this.#leases.use(this.#parts.blobs.lease(digest));
  }

  /** In full length; and of what was touched since its bytes were known to be right, all is read. */
  async isHeld({ digest, size }: Entry): Promise<boolean> {
    const { catalog, blobs, now } = this.#parts;
    const record = await catalog.findBlob(digest);
    if (record?.size !== size) return false;
    const blob = await blobs.find(digest, record, {
      verified: async (changedAt) => catalog.updateBlob(digest, { changedAt, verifiedAt: now() }),
      damaged: async () => catalog.forgetBlob(digest),
    });
    return blob !== undefined && (!blob.isTouched || (await blob.verify()));
  }

  /**
   * Bytes of a bundle that are still to be written, with the pieces that these parts brought. What is
   * held of it is not evicted from now on. Throws a `BundleError` with code `room` for a blob that is
   * larger than this store keeps one.
   */
  async countLacking(manifest: BundleManifest, received: readonly number[]): Promise<number> {
    const lacking = new Map<string, number>();
    const isLacking = async ({ digest, size }: Entry): Promise<boolean> => {
      this.lease(digest);
      if (await this.isHeld({ digest, size })) return false;
      await roomFor(size, async () => this.#parts.budget.requireSize(size));
      lacking.set(digest, size);
      return true;
    };
    for (const { digest, size } of [...manifest.blobs, ...manifest.files]) {
      await isLacking({ digest: digest as Digest, size });
    }
    for (const recipe of recipesOf(manifest)) {
      if (await isLacking(recipe.makes)) await isLacking(recipe);
    }
    for (const { of, start, end, isWhole } of received.flatMap((part) => [
      ...slicesOf(manifest, part),
    ])) {
      const left = isWhole ? undefined : lacking.get(of.digest);
      if (left !== undefined) lacking.set(of.digest, left - (end - start));
    }
    return lacking.values().reduce((sum, bytes) => sum + bytes, 0);
  }

  /** A kill may have come between a file and its record: the pieces that it was made of are gone. */
  async #adopt({ digest, size }: ContentEntry): Promise<boolean> {
    const { catalog, blobs, now } = this.#parts;
    const [record, file] = await Promise.all([catalog.findBlob(digest), blobs.statBlob(digest)]);
    if (record || file?.size !== size) return false;
    // Nobody knows how the file was since: it is verified when it is read.
    await catalog.adoptBlob(digest, { size, storedAt: now(), bundle: this.#bundle });
    return true;
  }

  /** Also where it is a recipe and what it makes is held. */
  async #isDone(entry: ContentEntry): Promise<boolean> {
    const makes = this.#made.get(entry.path);
    return (makes !== undefined && (await this.isHeld(makes))) || this.isHeld(entry);
  }

  /** It is recorded when it resolves. Throws an `IntegrityError` for bytes that are not the digest's. */
  async keep(entry: Entry & Partial<ContentEntry>, bytes: AsyncIterable<Buffer>): Promise<void> {
    const { recorded } = await this.#write(entry, bytes, { isProven: false });
    await recorded;
  }

  /** Its bytes are in a file when it resolves; the disk may still have to bring them home. */
  async #write(
    entry: Entry & Partial<ContentEntry>,
    bytes: AsyncIterable<Buffer>,
    { isProven }: { readonly isProven: boolean },
  ): Promise<{ readonly recorded: Promise<void> }> {
    const { budget, blobs } = this.#parts;
    const { digest, size } = entry;
    using undo = new DisposableStack();
    const room = undo.use(await roomFor(size, async () => budget.admit(size)));
    const ingest = await blobs.ingest(digest, OWNER);
    try {
      // What a killed process left of it comes again.
      await ingest.reset({ isProven });
      await writeBehind(bytes, size, async (block) => {
        await roomFor(size, async () => room.take(block.length));
        await ingest.append(block);
        room.wrote(block.length);
      });
    } catch (error) {
      await ingest.abort({ keep: false });
      throw error;
    }
    const held = undo.move();
    const recorded = this.#commit(ingest, entry)
      .catch(async (error: unknown) => {
        await ingest.abort({ keep: false });
        throw error;
      })
      .finally(() => held.dispose());
    return { recorded };
  }

  /** Goes on while a few blobs are still being recorded: `settled` waits for them. */
  async #record(digest: Digest, recorded: Promise<void>): Promise<void> {
    const noted = recorded
      .catch((error: unknown) => {
        this.#failure ??= { error };
      })
      .finally(() => this.#recording.delete(digest));
    this.#recording.set(digest, noted);
    if (this.#recording.size >= MAX_RECORDING) await Promise.race(this.#recording.values());
  }

  /** Resolves when all that was taken is recorded. Throws what kept one from it. */
  async settled(): Promise<void> {
    await Promise.all(this.#recording.values());
    this.#throwFailure();
  }

  #throwFailure(): void {
    const failure = this.#failure;
    this.#failure = undefined;
    if (failure) throw failure.error;
  }

  async #keepPiece(
    { digest }: ContentEntry,
    { start, end }: Pick<Slice, 'start' | 'end'>,
    bytes: AsyncIterable<Buffer>,
  ): Promise<void> {
    const { blobs, budget } = this.#parts;
    const size = end - start;
    using _ = await roomFor(size, async () => budget.admit(size, { received: size }));
    const pieces = this.#pieces.get(digest) ?? (await blobs.pieces(digest, OWNER));
    this.#pieces.set(digest, pieces);
    await pieces.write(bytes, start);
  }

  /**
   * Puts together what was cut and has all its pieces. Throws a `BundleError` with code `content` for what
   * then is not its digest: its pieces are gone, and the parts that bring them are told.
   */
  async complete(entry: ContentEntry, parts: readonly number[]): Promise<void> {
    const { digest } = entry;
    if (await this.#isDone(entry)) return;
    this.#pieces.get(digest)?.close();
    this.#pieces.delete(digest);
    const ingest = await this.#parts.blobs.ingest(digest, OWNER);
    try {
      await this.#commit(ingest, entry);
    } catch (error) {
      await ingest.abort({ keep: false });
      if (!(error instanceof IntegrityError)) throw error;
      const message = TEXTS.piecesWrong({ digest, parts: parts.join(', ') });
      throw new BundleError('content', message, { cause: error });
    }
  }

  async #commit(
    ingest: Ingest,
    { digest, size, path = '' }: Entry & Partial<ContentEntry>,
  ): Promise<void> {
    const { catalog, now } = this.#parts;
    await ingest.verify(size);
    const changedAt = await ingest.commit();
    const storedAt = now();
    const known = { size, storedAt, changedAt, verifiedAt: storedAt, bundle: this.#bundle };
    await catalog.adoptBlob(digest, known);
    if (this.#made.has(path)) return;
    this.came.blobs += 1;
    this.came.bytes += size;
  }

  close(): void {
    for (const pieces of this.#pieces.values()) pieces.close();
    this.#pieces.clear();
    this.#leases.dispose();
  }
}

/** The entries that are cut, each with the parts that bring it. */
export function cutEntries(manifest: BundleManifest): Map<ContentEntry, readonly number[]> {
  const parts = new Map<number, Set<number>>();
  for (const [place, [entry, offset]] of manifest.cuts.entries()) {
    if (offset === 0) continue;
    parts.set(entry, new Set([...(parts.get(entry) ?? []), place + 1, place + 2]));
  }
  const cut = new Map<ContentEntry, readonly number[]>();
  let position = 0;
  for (const entry of contentOf(manifest)) {
    const bringing = parts.get(position);
    if (bringing && isKept(entry)) cut.set(entry, [...bringing]);
    position += 1;
  }
  return cut;
}

/** What only tools that read the layout need is verified and not kept. */
function isKept({ path }: ContentEntry): boolean {
  return path !== 'oci-layout' && path !== 'index.json';
}

/** Throws a `BundleError` with code `room` where the store has none. */
async function roomFor<Value>(bytes: number, ask: () => Promise<Value>): Promise<Value> {
  try {
    return await ask();
  } catch (error) {
    if (!(error instanceof NoRoomError)) throw error;
    throw new BundleError('room', TEXTS.noRoomFor({ bytes, reason: error.message }), {
      cause: error,
    });
  }
}
