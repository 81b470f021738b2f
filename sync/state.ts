import { open, readFile, rename } from 'node:fs/promises';
import type { SyncConfig } from '../src/config/sync-config.ts';
import { isDigest } from '../src/oci/digest.ts';
import type { SyncProblem, SyncReport } from '../src/api/sync-api.ts';
import { fingerprint } from './lock.ts';
import type { WantedImage } from './wanted-image.ts';

/** An image that an earlier run settled on. */
export interface KnownImage extends WantedImage {
  /** Stays although the upstream has it no more, or means something else by its tag. */
  readonly kept?: 'deleted' | 'moved';
  /** When its referrers were last looked for. */
  readonly searchedAt?: number;
}

interface Document {
  readonly version: 1;
  readonly images: readonly KnownImage[];
  /** Of which it is not known what they come to. */
  readonly unresolved?: readonly SyncProblem[];
  /** The fingerprint of the rules that these are the images of. */
  readonly rules?: string;
  /** A run had begun and was not at its end. */
  readonly isRunning: boolean;
  readonly last?: SyncReport;
  /** Of the last run that fetched something. */
  readonly bytesPerSecond?: number;
}

const EMPTY: Document = { version: 1, images: [], isRunning: false };

/**
 * What sync knows from one run to the next, in one file of the store. Losing it costs nothing but
 * the memory of what was kept for which rule: the next run finds out anew.
 */
export class SyncState {
  readonly #path: string;
  #document: Document;

  static async open(path: string): Promise<SyncState> {
    return new SyncState(path, (await read(path)) ?? EMPTY);
  }

  private constructor(path: string, document: Document) {
    this.#path = path;
    this.#document = document;
  }

  /** Whether what it knows is of these rules. */
  isOf(config: Pick<SyncConfig, 'rules'>): boolean {
    return this.#document.rules === fingerprint(config);
  }

  get current(): Document {
    return this.#document;
  }

  /** On disk when it resolves, whole or not at all. */
  async update(change: Partial<Omit<Document, 'version'>>): Promise<void> {
    this.#document = { ...this.#document, ...change };
    const fresh = `${this.#path}.new`;
    {
      await using file = await open(fresh, 'w', 0o600);
      await file.writeFile(JSON.stringify(this.#document));
      await file.sync();
    }
    await rename(fresh, this.#path);
  }
}

async function read(path: string): Promise<Document | undefined> {
  try {
    const document = { ...EMPTY, ...(JSON.parse(await readFile(path, 'utf8')) as object) };
    const isSound =
      (document.version as number) === 1 && document.images.every(({ digest }) => isDigest(digest));
    if (!isSound) return undefined;
    // JSON has no word for what never gets too old.
    const images = document.images.map((image) => ({
      ...image,
      freshMs: (image.freshMs as number | null) ?? Infinity,
    }));
    return { ...document, images };
  } catch {
    return undefined;
  }
}
