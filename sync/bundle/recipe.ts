import type { ByteRange } from '../../src/oci/content.ts';
import { Digester, type Digest } from '../../src/oci/digest.ts';
import { ContentWindow, type WholeContent } from './content-window.ts';
import {
  formatInstruction,
  parseInstruction,
  type RecipeInstruction,
} from './recipe-instruction.ts';

export interface RecipeParts {
  /** What is made by it. */
  readonly blob: WholeContent;
  /** Blobs that it may take bytes of; the instructions count them. */
  readonly sources: readonly WholeContent[];
  readonly instructions: Iterable<RecipeInstruction>;
}

/**
 * How a blob is made of others that are held, and of new bytes. In memory are the instructions alone; the
 * new bytes are read from the blob whenever they are wanted.
 */
export class Recipe {
  readonly blob: WholeContent;
  /** Those that it takes bytes of, as it counts them. */
  readonly sources: readonly WholeContent[];
  /** Bytes of all of it, with the new ones. */
  readonly size: number;
  /** One after the other, without the new bytes. */
  readonly #script: Buffer;

  constructor({ blob, sources, instructions }: RecipeParts) {
    const script = new GrowingBytes();
    const used = new Set<WholeContent>();
    let newBytes = 0;
    for (const { length, from } of instructions) {
      const source = from && sources[from.source];
      if (!source) {
        script.push(formatInstruction({ length }));
        newBytes += length;
        continue;
      }
      used.add(source);
      const place = { source: [...used].indexOf(source), start: from.start };
      script.push(formatInstruction({ length, from: place }));
    }
    this.blob = blob;
    this.sources = [...used];
    this.#script = script.take();
    this.size = this.#script.length + newBytes;
  }

  /** Bytes of memory. */
  get weight(): number {
    return this.#script.length;
  }

  async digest(): Promise<Digest> {
    const digester = new Digester('sha256');
    for await (const bytes of this.read({ start: 0, end: this.size })) digester.update(bytes);
    return digester.value();
  }

  /** Its bytes; each buffer is the caller's. */
  async *read({ start, end }: ByteRange): AsyncGenerator<Buffer> {
    const window = new ContentWindow(this.blob);
    try {
      let at = 0;
      for (const { head, from, to } of this.#steps()) {
        if (at >= end) return;
        if (at + head.length > start) {
          yield Buffer.from(head.subarray(Math.max(0, start - at), end - at));
        }
        at += head.length;
        const first = from + Math.max(0, start - at);
        for await (const bytes of window.pieces(first, Math.min(to, from + end - at))) {
          yield Buffer.from(bytes);
        }
        at += to - from;
      }
    } finally {
      await window.close();
    }
  }

  /** Each instruction as it is written, and which bytes of the blob follow it. */
  *#steps(): Generator<{ head: Buffer; from: number; to: number }> {
    let position = 0;
    for (let at = 0; at < this.#script.length;) {
      const step = parseInstruction(this.#script.subarray(at));
      if (!step) return;
      const to = position + step.length;
      yield {
        head: this.#script.subarray(at, at + step.bytes),
        from: step.from ? to : position,
        to,
      };
      at += step.bytes;
      position = to;
    }
  }
}

class GrowingBytes {
  #bytes = Buffer.alloc(4 * 1024);
  #length = 0;

  push(bytes: readonly number[]): void {
    if (this.#length + bytes.length > this.#bytes.length) {
      this.#bytes = Buffer.concat([this.#bytes], 2 * this.#bytes.length);
    }
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  take(): Buffer {
    return Buffer.from(this.#bytes.subarray(0, this.#length));
  }
}
