import type { Reader } from '../oci/content.ts';

/**
 * A JSON document that ends with a list, made piece by piece as its client takes it: the items are
 * shared by all who ask, and a client that stops holds one chunk of the text.
 */
export class JsonList<Item> implements Reader {
  readonly #head: string;
  readonly #items: () => Iterable<Item>;
  readonly #pieces: Generator<string>;
  #rest: Buffer = Buffer.alloc(0);

  /** `head` is an object; `key` names the list, its last key. */
  constructor(head: object, key: string, items: () => Iterable<Item>) {
    const before = JSON.stringify(head).slice(0, -1);
    this.#head = `${before}${before === '{' ? '' : ','}"${key}":[`;
    this.#items = items;
    this.#pieces = this.#write();
  }

  /** Bytes of the whole. */
  get size(): number {
    let bytes = 0;
    for (const piece of this.#write()) bytes += Buffer.byteLength(piece);
    return bytes;
  }

  async read(scratch: Buffer): Promise<Buffer> {
    let filled = 0;
    while (filled < scratch.length) {
      if (this.#rest.length === 0) {
        const { done, value } = this.#pieces.next();
        if (done) break;
        this.#rest = Buffer.from(value);
      }
      const copied = this.#rest.copy(scratch, filled);
      this.#rest = this.#rest.subarray(copied);
      filled += copied;
    }
    return scratch.subarray(0, filled);
  }

  async close(): Promise<void> {
    this.#pieces.return(undefined);
  }

  *#write(): Generator<string> {
    let before = this.#head;
    for (const item of this.#items()) {
      yield `${before}${JSON.stringify(item)}`;
      before = ',';
    }
    yield before === ',' ? ']}' : `${before}]}`;
  }
}
