import type { Digest } from '../../src/oci/digest.ts';
import { formatTarget, type Tag } from '../../src/oci/reference.ts';
import type { Catalog } from '../../src/store/catalog/catalog.ts';

type Entry = Catalog extends { tags(): AsyncIterable<infer Each> } ? Each : never;

/** The tags of a catalog, for whoever goes through its repositories in the order that they have there. */
export class TagsInOrder implements AsyncDisposable {
  readonly #entries: AsyncIterator<Entry>;
  #next: Entry | undefined;
  #isDone = false;

  constructor(catalog: Pick<Catalog, 'tags'>) {
    this.#entries = catalog.tags()[Symbol.asyncIterator]();
  }

  /** By the manifest that they mean; those of repositories before this one are passed over. */
  async of(name: string): Promise<Map<Digest, Tag[]>> {
    const tags = new Map<Digest, Tag[]>();
    for (;;) {
      const entry = await this.#peek();
      const found = entry && formatTarget(entry.target);
      if (!entry || !found || found > name) return tags;
      this.#next = undefined;
      if (found < name) continue;
      const { digest } = entry.record;
      const known = tags.get(digest);
      if (known) known.push(entry.tag);
      else tags.set(digest, [entry.tag]);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#entries.return?.();
  }

  async #peek(): Promise<Entry | undefined> {
    if (this.#next || this.#isDone) return this.#next;
    const { value, done = false } = await this.#entries.next();
    this.#isDone = done;
    this.#next = done ? undefined : (value as Entry);
    return this.#next;
  }
}
