import { digestOf } from '../../../src/oci/digest.ts';
import type { ByteRange, Reader } from '../../../src/oci/content.ts';
import type { WholeContent } from '../../../sync/bundle/content-window.ts';

/** Bytes as a blob that counts what is read of it; its reader gives them in pieces of odd lengths. */
export class MemoryContent implements WholeContent {
  readonly digest;
  readonly isVerified = true;
  readonly bytes: Buffer;
  bytesRead = 0;
  opened = 0;
  openCount = 0;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
    this.digest = digestOf(bytes);
  }

  get size(): number {
    return this.bytes.length;
  }

  async open({ start, end }: ByteRange = { start: 0, end: this.size }): Promise<Reader> {
    let at = start;
    this.opened += 1;
    this.openCount += 1;
    return {
      read: async (scratch) => {
        const count = Math.min(scratch.length, end - at, 77_777);
        this.bytes.copy(scratch, 0, at, at + count);
        at += count;
        this.bytesRead += count;
        return scratch.subarray(0, count);
      },
      close: async () => {
        this.openCount -= 1;
      },
    };
  }
}
