import type { Pin } from '../../api/store-api.ts';
import type { Digest } from '../../oci/digest.ts';
import type { Tag, Target } from '../../oci/reference.ts';
import { nodeOf, type JournalEntry, type Node, type TagRecord } from './catalog.ts';
import { below, tagOf, type Batch, type Tables } from './tables.ts';

const ENTRIES_A_WRITE = 200;

type Fact = Record<string, unknown> | 1;

/**
 * The last entry of a journal about each thing. Kept in a table of the new catalog, so that a long
 * journal takes no memory.
 */
export class Replay {
  readonly #tables: Tables;
  readonly #facts;

  constructor(tables: Tables) {
    this.#tables = tables;
    this.#facts = tables.db.sublevel<string, Fact>('replay', { valueEncoding: 'json' });
  }

  async fill(entries: AsyncIterable<JournalEntry>): Promise<void> {
    let together: JournalEntry[] = [];
    const write = async (): Promise<void> => {
      const written = together;
      together = [];
      await this.#tables.write((batch) => {
        for (const entry of written) this.#apply(batch, entry);
      });
    };
    for await (const entry of entries) {
      if (together.push(entry) >= ENTRIES_A_WRITE) await write();
    }
    await write();
  }

  #apply(batch: Batch, entry: JournalEntry): void {
    const sublevel = this.#facts;
    const put = (key: string, fact: object | 1): unknown =>
      batch.put(key, fact, { sublevel: this.#facts });
    if ('manifest' in entry) {
      put(`manifest ${entry.of} ${entry.manifest}`, { type: entry.type, at: entry.at });
    } else if ('tag' in entry) {
      const gone = entry.until !== undefined && { goneAt: entry.until };
      put(`tag ${entry.of} ${entry.tag}`, { digest: entry.is, checkedAt: entry.at, ...gone });
    } else if ('blob' in entry) put(`blob ${entry.of} ${entry.blob}`, 1);
    else if ('gone' in entry) {
      batch.del(`manifest ${entry.of} ${entry.gone}`, { sublevel });
      batch.del(`blob ${entry.of} ${entry.gone}`, { sublevel });
    } else if ('untagged' in entry) batch.del(`tag ${entry.of} ${entry.untagged}`, { sublevel });
    else if ('pin' in entry) put(`pin ${entry.pin.origin} ${entry.pin.image}`, entry.pin);
    else batch.del(`pin ${entry.unpin.origin} ${entry.unpin.image}`, { sublevel });
  }

  async *manifests(): AsyncGenerator<{ node: Node; type: string; at: number }> {
    for await (const [key, fact] of this.#facts.iterator(below('manifest'))) {
      const node = nodeOf(rest(key));
      if (node) yield { node, ...(fact as { type: string; at: number }) };
    }
  }

  async *tags(): AsyncGenerator<{ target: Target; tag: Tag; record: TagRecord }> {
    for await (const [key, fact] of this.#facts.iterator(below('tag'))) {
      const node = nodeOf(rest(key));
      if (node)
        yield { target: node.target, tag: tagOf(key), record: fact as unknown as TagRecord };
    }
  }

  /** Blobs that no manifest listed, with a repository that was seen to have them. */
  async *links(): AsyncGenerator<{ target: Target; digest: Digest }> {
    for await (const key of this.#facts.keys(below('blob'))) {
      const node = nodeOf(rest(key));
      if (node) yield node;
    }
  }

  async *pins(): AsyncGenerator<Pin> {
    for await (const fact of this.#facts.values(below('pin'))) yield fact as unknown as Pin;
  }

  /** Removes the table. */
  async clear(): Promise<void> {
    await this.#facts.clear();
  }
}

function rest(key: string): string {
  return key.slice(key.indexOf(' ') + 1);
}
