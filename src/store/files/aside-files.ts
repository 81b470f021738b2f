import type { Amount } from '../../api/store-api.ts';
import type { Aside, Folders } from './folders.ts';

/** A file of which an ingest has the name, until it ends. */
export interface Claim {
  /** Its bytes on disk. */
  resize(bytes: number): void;
  /** The ingest has ended. `isKept`: the file stays, for a later ingest to go on with. */
  end(options: { isKept: boolean }): void;
}

interface Entry {
  bytes: number;
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
  /** In each the oldest file comes first. */
  readonly #files: Record<Aside, Map<string, Entry>> = { quarantine: new Map(), ingest: new Map() };
  #bytes = 0;
  #claimedBytes = 0;

  constructor(folders: Folders) {
    this.#folders = folders;
  }

  amountOf(folder: Aside): Amount {
    const files = [...this.#files[folder].values()];
    return { files: files.length, bytes: files.reduce((sum, { bytes }) => sum + bytes, 0) };
  }

  /** Of those that are being written. */
  get claimedBytes(): number {
    return this.#claimedBytes;
  }

  /** Of those that may be removed. */
  get idleBytes(): number {
    return this.#bytes - this.#claimedBytes;
  }

  /** Counts what earlier processes left. */
  async measure(): Promise<void> {
    for (const folder of FOLDERS) {
      const found = await Array.fromAsync(this.#folders.listAside(folder));
      for (const { name, size } of found.toSorted((a, b) => a.modifiedAt - b.modifiedAt)) {
        this.add(folder, name, size);
      }
    }
  }

  /** A file is there that nobody writes. */
  add(folder: Aside, name: string, bytes: number): void {
    this.#drop(folder, name);
    this.#files[folder].set(name, { bytes, isClaimed: false });
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
      end: ({ isKept }) => {
        const { bytes } = entry;
        if (files.get(name) !== entry) return;
        this.#drop('ingest', name);
        if (isKept) this.add('ingest', name, bytes);
      },
    };
  }

  /** Removes files until these bytes are free, or nothing is left that may go. Resolves with what went. */
  async shed(wantedBytes: number): Promise<Amount> {
    let [files, bytes] = [0, 0];
    for (const folder of FOLDERS) {
      for (const [name, entry] of this.#files[folder]) {
        if (bytes >= wantedBytes) return { files, bytes };
        const size = entry.bytes;
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

const FOLDERS = ['quarantine', 'ingest'] as const;
