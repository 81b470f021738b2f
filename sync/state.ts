import { constants } from 'node:fs';
import { open, readFile, rename, rm } from 'node:fs/promises';
import type { SyncConfig } from '../src/config/sync-schema.ts';
import { isDigest } from '../src/oci/digest.ts';
import type { SyncProblem, SyncReport } from '../src/api/sync-api.ts';
import { fingerprint } from './lock.ts';
import { TEXTS } from './texts.ts';
import { imageDigestName, type WantedImage } from './wanted-image.ts';

/** An image that an earlier run selected. */
export interface KnownImage extends WantedImage {
  /** It stays although the upstream deleted it or moved its tag. */
  readonly kept?: 'deleted' | 'moved';
  /** When its referrers were last looked for. */
  readonly searchedAt?: number;
}

interface Document {
  readonly version: 1;
  readonly images: readonly KnownImage[];
  /** Rules and images that the last run could not resolve. */
  readonly unresolved?: readonly SyncProblem[];
  /** The fingerprint of the rules that selected the images. */
  readonly rules?: string;
  /** A run has begun and not ended. */
  readonly isRunning: boolean;
  readonly last?: SyncReport;
  /** When the last run without a failure ended. */
  readonly succeededAt?: number;
  /** How many runs in a row could not reach an upstream. */
  readonly misses: number;
  /** The rate of the last run that fetched something. */
  readonly bytesPerSecond?: number;
}

const EMPTY: Document = { version: 1, images: [], isRunning: false, misses: 0 };

/**
 * What sync remembers between runs, in one file of the store; the reports in it are those of the
 * API. Without the file the next run resolves all rules again, and kept images are released.
 */
export class SyncState {
  readonly #path: string;
  #document: Document;
  #written: Promise<void> = Promise.resolve();
  /** The report of the last run of some images alone; it is not written down. */
  lastOfSome: SyncReport | undefined;

  static async open(path: string): Promise<SyncState> {
    return new SyncState(path, (await read(path)) ?? EMPTY);
  }

  private constructor(path: string, document: Document) {
    this.#path = path;
    this.#document = document;
  }

  /** Whether these are the rules of the last run. */
  isOf(config: Pick<SyncConfig, 'rules'>): boolean {
    return this.#document.rules === fingerprint(config);
  }

  get current(): Document {
    return this.#document;
  }

  /** What is selected or kept, as `name@digest`. */
  get imageNames(): ReadonlySet<string> {
    return new Set(this.#document.images.map(imageDigestName));
  }

  /** Rules and images of which it is not known what they select. */
  unresolved(config: Pick<SyncConfig, 'rules'>): readonly SyncProblem[] {
    if (this.isOf(config)) return this.#document.unresolved ?? [];
    return config.rules.map(({ path, image }) => ({
      rule: path,
      image,
      reason: TEXTS.notResolved,
    }));
  }

  /** Written when it resolves, one after the other; after a crash the file is an old or the new one. */
  async update(change: Partial<Omit<Document, 'version'>>): Promise<void> {
    this.#document = { ...this.#document, ...change };
    const written = this.#written.then(async () => this.#write());
    this.#written = written.catch(() => undefined);
    await written;
  }

  async #write(): Promise<void> {
    const fresh = `${this.#path}.new`;
    {
      // A link that stands there is not written through.
      await rm(fresh, { force: true });
      await using file = await open(fresh, 'wx', 0o600);
      await file.writeFile(JSON.stringify(this.#document));
      await file.sync();
    }
    await rename(fresh, this.#path);
  }
}

/** No link is followed, and no device is waited for. */
const OWN = {
  encoding: 'utf8',
  flag: constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK,
} as const;

async function read(path: string): Promise<Document | undefined> {
  try {
    const document = { ...EMPTY, ...(JSON.parse(await readFile(path, OWN)) as object) };
    const isSound =
      (document.version as number) === 1 && document.images.every(({ digest }) => isDigest(digest));
    if (!isSound) return undefined;
    // JSON writes `Infinity` as null.
    const images = document.images.map((image) => ({
      ...image,
      freshMs: (image.freshMs as number | null) ?? Infinity,
    }));
    return { ...document, images };
  } catch {
    return undefined;
  }
}
