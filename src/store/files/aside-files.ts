import type { Amount } from '../../api/store-api.ts';
import type { Digest } from '../../oci/digest.ts';
import { asideName, type Aside, type Folders } from './folders.ts';

/** A file of which an ingest has the name, until it ends. */
export interface Claim {
  /** Its bytes on disk. */
  resize(bytes: number): void;
  /**
   * The ingest has ended. `isKept`: the file stays, for a later ingest to go on with; `isSparse`: it has
   * holes, so that parts of it may be read again.
   */
  end(options: { isKept: boolean; isSparse?: boolean }): void;
}

/** A file as it is found. */
interface Left {
  readonly bytes: number;
  readonly isSparse?: boolean;
  /** Milliseconds since 1970; without it, now. */
  readonly usedAt?: number;
}

interface Entry {
  bytes: number;
  /** Of one with holes, when it was last written or read, milliseconds since 1970. */
  usedAt?: number | undefined;
  isClaimed: boolean;
  /** Settles when the file is removed. */
  removal?: Promise<void>;
}

/**
 * Of each folder, so that many tiny files cost no more entries of the disk than a few large ones: a
 * site has that many broken transfers only while something is wrong.
 */
const MAX_FILES = 1_000;

/**
 * The files below `ingest` and `quarantine`: blobs on their way, what broken transfers left, and what
 * was found damaged. Counts their bytes, and removes those that nobody writes: damaged ones first,
 * then the partial one that nobody went on with for longest.
 */
export class AsideFiles {
  readonly #folders: Folders;
  readonly #now: () => number;
  /** In each the oldest file comes first. */
  readonly #files: Record<Aside, Map<string, Entry>> = { quarantine: new Map(), ingest: new Map() };
  #bytes = 0;
  #claimedBytes = 0;

  constructor(folders: Folders, now: () => number) {
    this.#folders = folders;
    this.#now = now;
  }

  amountOf(folder: Aside): Amount {
    const files = [...this.#files[folder].values()];
    return { files: files.length, bytes: files.reduce((sum, { bytes }) => sum + bytes, 0) };
  }

  /** How many bytes of a blob that is not whole have come from this upstream. Nobody has verified them. */
  arrivedBytes(digest: Digest, upstream: string): number {
    const name = asideName(`${digest}@${encodeURIComponent(upstream)}`);
    return this.#files.ingest.get(name)?.bytes ?? 0;
  }

  /** Of those that are being written. */
  get claimedBytes(): number {
    return this.#claimedBytes;
  }

  /** Of those that may be removed. */
  get idleBytes(): number {
    return this.#bytes - this.#claimedBytes;
  }

  /** Of those that `shed` would remove. */
  unusedBytes(since: number): number {
    const files = FOLDERS.flatMap((folder) => [...this.#files[folder].values()]);
    const unused = files.filter((file) => !file.isClaimed && !isUsed(file, since));
    return unused.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** Counts what earlier processes left. */
  async measure(): Promise<void> {
    for (const folder of FOLDERS) {
      const found = await Array.fromAsync(this.#folders.listAside(folder));
      const oldestFirst = found.toSorted((a, b) => a.modifiedAt - b.modifiedAt);
      for (const { name, size: bytes, isSparse, modifiedAt: usedAt } of oldestFirst) {
        this.add(folder, name, { bytes, isSparse, usedAt });
      }
    }
  }

  /** A file is there that nobody writes. */
  add(folder: Aside, name: string, { bytes, isSparse = false, usedAt = this.#now() }: Left): void {
    this.#drop(folder, name);
    const used = isSparse ? usedAt : undefined;
    this.#files[folder].set(name, { bytes, isClaimed: false, usedAt: used });
    this.#bytes += bytes;
    this.#limit(folder);
  }

  /** Takes a name of `ingest` for an ingest, when a removal under way is through. */
  async claim(name: string): Promise<Claim> {
    const files = this.#files.ingest;
    await files.get(name)?.removal;
    const entry = { bytes: files.get(name)?.bytes ?? 0, isClaimed: true };
    this.#drop('ingest', name);
    files.set(name, entry);
    this.#resize(entry, entry.bytes, 0);
    return {
      resize: (bytes) => this.#resize(entry, bytes, entry.bytes),
      end: ({ isKept, isSparse = false }) => {
        const { bytes } = entry;
        if (files.get(name) !== entry) return;
        this.#drop('ingest', name);
        if (isKept) this.add('ingest', name, { bytes, isSparse });
      },
    };
  }

  /**
   * Removes files until these bytes are free, or nothing is left that may go: those with holes only where
   * they were not used since this time, milliseconds since 1970. Resolves with what went.
   */
  async shed(wantedBytes: number, { unusedSince = Infinity } = {}): Promise<Amount> {
    let [files, bytes] = [0, 0];
    for (const folder of FOLDERS) {
      for (const [name, entry] of this.#files[folder]) {
        if (bytes >= wantedBytes) return { files, bytes };
        const size = entry.bytes;
        if (isUsed(entry, unusedSince)) continue;
        if (!(await this.remove(folder, name))) continue;
        files += 1;
        bytes += size;
      }
    }
    return { files, bytes };
  }

  /** False when it is being written, or the disk does not remove it. */
  async remove(folder: Aside, name: string): Promise<boolean> {
    const entry = this.#files[folder].get(name);
    if (entry?.isClaimed || entry?.removal) return false;
    const removing = this.#folders.removeAside(folder, name);
    if (entry) entry.removal = removing.catch(() => undefined);
    try {
      await removing;
    } catch {
      if (entry) delete entry.removal;
      return false;
    }
    if (entry && this.#files[folder].get(name) === entry) this.#drop(folder, name);
    return true;
  }

  #limit(folder: Aside): void {
    const files = this.#files[folder];
    for (const [name, { isClaimed, removal }] of files) {
      if (files.size <= MAX_FILES) return;
      // One at a time: `add` is called once for each that comes.
      if (!isClaimed && !removal) return void this.remove(folder, name);
    }
  }

  #drop(folder: Aside, name: string): void {
    const entry = this.#files[folder].get(name);
    if (!entry) return;
    this.#files[folder].delete(name);
    this.#bytes -= entry.bytes;
    if (entry.isClaimed) this.#claimedBytes -= entry.bytes;
  }

  #resize(entry: Entry, bytes: number, before: number): void {
    entry.bytes = bytes;
    this.#bytes += bytes - before;
    this.#claimedBytes += bytes - before;
  }
}

function isUsed({ usedAt = -Infinity }: Entry, since: number): boolean {
  return usedAt > since;
}

const FOLDERS = ['quarantine', 'ingest'] as const;
