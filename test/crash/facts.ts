import { closeSync, openSync, writeSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { formatTarget } from '../../src/oci/reference.ts';
import type { RunningServer } from '../../src/server.ts';
import type { Evicted } from '../../src/store/catalog/catalog.ts';

/**
 * `began`: a process opened the store. `kept`: recorded in the catalog. `going`: about to be let go
 * of. `gone`: let go of.
 */
type Fact = 'began' | 'kept' | 'going' | 'gone';

/**
 * From now on every blob and manifest that the catalog records, and all that is let go of, is noted in
 * the file before anybody else hears of it. A kill loses no note. Returns what closes the file.
 */
export function noteFacts({ catalog, blobs }: RunningServer, file: string): () => void {
  const handle = openSync(file, 'a');
  const note = (fact: Fact, keys: readonly string[]): void => {
    const lines = keys.map((key) => `${Date.now()} ${fact} ${key}\n`);
    if (lines.length > 0) writeSync(handle, lines.join(''));
  };
  note('began', ['-']);
  const recordBlob = catalog.recordBlob.bind(catalog);
  const recordManifest = catalog.recordManifest.bind(catalog);
  const evict = catalog.evict.bind(catalog);
  const remove = blobs.delete.bind(blobs);
  catalog.recordBlob = async (target, digest, record) => {
    await recordBlob(target, digest, record);
    note('kept', [digest]);
  };
  catalog.recordManifest = async (target, entry, at) => {
    await recordManifest(target, entry, at);
    note('kept', [imageKey(formatTarget(target), entry.descriptor.digest)]);
  };
  catalog.evict = async (unit, only) => {
    note('going', keysOf(await catalog.planEvictions()(unit, only)));
    const evicted = await evict(unit, only);
    note('gone', keysOf(evicted));
    return evicted;
  };
  blobs.delete = async (digest, isRecorded) => {
    note('going', [digest]);
    const isGone = await remove(digest, isRecorded);
    if (isGone) note('gone', [digest]);
    return isGone;
  };
  return () => closeSync(handle);
}

function keysOf({ manifests, unlinked, blobs }: Evicted): string[] {
  const held = manifests.map(({ target, digest }) => imageKey(formatTarget(target), digest));
  const links = unlinked.map(({ target, digest }) => linkKey(formatTarget(target), digest));
  return [...held, ...links, ...blobs.map(({ digest }) => digest)];
}

/** That a repository has a digest. `target` is `upstream/repository`. */
export function linkKey(target: string, digest: string): string {
  return `${target}#${digest}`;
}

/** `target` is `upstream/repository`. */
export function imageKey(target: string, digest: string): string {
  return `${target}@${digest}`;
}

/** What a file of notes says. */
export class Facts {
  readonly #kept = new Set<string>();
  readonly #going = new Set<string>();
  readonly #left = new Map<string, number>();
  #evictions = 0;

  static async read(file: string): Promise<Facts> {
    const facts = new Facts();
    const text = await readFile(file, 'utf8').catch(() => '');
    for (const line of text.split('\n').filter(Boolean)) {
      const [time = '', fact = '', key = ''] = line.split(' ');
      facts.#add(Number(time), fact as Fact, key);
    }
    return facts;
  }

  #add(time: number, fact: Fact, key: string): void {
    if (fact === 'kept') this.#kept.add(key);
    else if (fact === 'going') this.#going.add(key);
    else if (fact === 'gone') this.#leave(time, key);
    // What was under way at a kill may be done or not.
    else for (const each of this.#going) this.#leave(time, each);
    if (fact === 'gone' && key.includes('@')) this.#evictions += 1;
  }

  #leave(time: number, key: string): void {
    this.#left.set(key, time);
    this.#kept.delete(key);
    this.#going.delete(key);
  }

  /** Images that were let go of. */
  get evictions(): number {
    return this.#evictions;
  }

  /** Recorded, and for certain not let go of since. */
  isKept(key: string): boolean {
    return this.#kept.has(key) && !this.#going.has(key);
  }

  /** Whether it may have gone at this time or later. */
  mayHaveLeft(key: string, since: number): boolean {
    return this.#going.has(key) || (this.#left.get(key) ?? 0) >= since;
  }
}
