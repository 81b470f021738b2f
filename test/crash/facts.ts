import { closeSync, openSync, writeSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import type { Digest } from '../../src/oci/digest.ts';
import { formatTarget } from '../../src/oci/reference.ts';
import type { RunningServer } from '../../src/server.ts';
import type { Evicted } from '../../src/store/catalog/catalog.ts';

/** `kept`: recorded in the catalog. `going`: about to be let go of. `gone`: let go of. */
type Fact = 'kept' | 'going' | 'gone';

/**
 * From now on every blob that the catalog records, and all that is let go of, is noted in the file
 * before anybody else hears of it. A kill loses no note. Returns what closes the file.
 */
export function noteFacts({ catalog, blobs }: RunningServer, file: string): () => void {
  const handle = openSync(file, 'a');
  const note = (fact: Fact, keys: readonly string[]): void => {
    const lines = keys.map((key) => `${Date.now()} ${fact} ${key}\n`);
    if (lines.length > 0) writeSync(handle, lines.join(''));
  };
  const recordBlob = catalog.recordBlob.bind(catalog);
  const evict = catalog.evict.bind(catalog);
  const remove = blobs.delete.bind(blobs);
  catalog.recordBlob = async (target, digest, record) => {
    await recordBlob(target, digest, record);
    note('kept', [digest]);
  };
  catalog.evict = async (unit) => {
    note('going', keysOf(await catalog.planEvictions()(unit)));
    const evicted = await evict(unit);
    note('gone', keysOf(evicted));
    return evicted;
  };
  blobs.delete = async (digest: Digest) => {
    note('going', [digest]);
    await remove(digest);
    note('gone', [digest]);
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
  readonly #left = new Map<string, number>();
  #evictions = 0;

  static async read(file: string): Promise<Facts> {
    const facts = new Facts();
    const text = await readFile(file, 'utf8').catch(() => '');
    for (const line of text.split('\n').filter(Boolean)) {
      const [time = '', fact = '', key = ''] = line.split(' ');
      if (fact === 'kept') facts.#kept.add(key);
      // What was under way at the kill may be done or not.
      else facts.#left.set(key, fact === 'going' ? Infinity : Number(time));
      if (fact !== 'gone') continue;
      facts.#kept.delete(key);
      if (key.includes('@')) facts.#evictions += 1;
    }
    return facts;
  }

  /** Images that were let go of. */
  get evictions(): number {
    return this.#evictions;
  }

  /** Recorded, and not let go of since. */
  isKept(key: string): boolean {
    return this.#kept.has(key);
  }

  /** Whether it may have gone at this time or later. */
  mayHaveLeft(key: string, since: number): boolean {
    return (this.#left.get(key) ?? 0) >= since;
  }
}
