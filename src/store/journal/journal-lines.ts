import type { FileHandle } from 'node:fs/promises';
import { MAX_LINE_BYTES } from './journal-line.ts';

const CHUNK_BYTES = 64 * 1024;
const NEWLINE = 10;

/**
 * The lines of the first `size` bytes of a file, also one that has no end; empty ones are left out.
 * `undefined` stands for a line that is longer than any entry.
 */
export async function* readLines(
  handle: FileHandle,
  size: number,
): AsyncGenerator<string | undefined> {
  let carry = Buffer.alloc(0);
  let isTooLong = false;
  for (let position = 0; position < size;) {
    const chunk = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, size - position));
    const { bytesRead } = await handle.read(chunk, 0, chunk.length, position);
    if (bytesRead === 0) break;
    position += bytesRead;
    let rest: Buffer = Buffer.concat([carry, chunk.subarray(0, bytesRead)]);
    for (let end = rest.indexOf(NEWLINE); end >= 0; end = rest.indexOf(NEWLINE)) {
      if (isTooLong || end > MAX_LINE_BYTES) yield undefined;
      else if (end > 0) yield rest.toString('utf8', 0, end);
      isTooLong = false;
      rest = rest.subarray(end + 1);
    }
    isTooLong ||= rest.length > MAX_LINE_BYTES;
    carry = isTooLong ? Buffer.alloc(0) : Buffer.from(rest);
  }
  if (isTooLong) yield undefined;
  else if (carry.length > 0) yield carry.toString('utf8');
}
