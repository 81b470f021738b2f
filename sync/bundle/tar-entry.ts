/** The unit of a tar: headers are one, contents are filled up with zeros to whole ones. */
export const BLOCK = 512;

/** Two blocks of zeros, which end a tar. */
export const TAR_END = Buffer.alloc(2 * BLOCK);

const NAME_BYTES = 100;
const MODE = 0o644;
const FILE = '0';
const PAX = 'x';

/**
 * What stands before the bytes of a file in the tar of a part: one block in the form ustar, of nobody, of
 * 1970. Only the path of a blob by SHA-512 is longer than that form has room for; a PAX header with that
 * path and nothing else comes before it. One path and size have one header, so that a reader which knows both
 * compares bytes, and understands no others.
 */
export function tarHeader(path: string, size: number): Buffer {
  if (path.length <= NAME_BYTES) return headerBlock(path, size, FILE);
  const record = paxRecord(path);
  return Buffer.concat([
    headerBlock('PaxHeader', record.length, PAX),
    record,
    Buffer.alloc(paddingOf(record.length)),
    headerBlock('PaxHeader', size, FILE),
  ]);
}

/** The zeros behind so many bytes. */
export function paddingOf(size: number): number {
  return (BLOCK - (size % BLOCK)) % BLOCK;
}

/** What a file takes of a tar. */
export function tarSize(path: string, size: number): number {
  const header = path.length <= NAME_BYTES ? BLOCK : 3 * BLOCK;
  return header + size + paddingOf(size);
}

/** The size that a header of this form states, without a look at the rest of it. */
export function statedSize(header: Buffer): number | undefined {
  const [, digits] = /^([0-7]{11}) $/.exec(header.toString('latin1', 124, 136)) ?? [];
  return digits === undefined ? undefined : Number.parseInt(digits, 8);
}

function headerBlock(name: string, size: number, type: string): Buffer {
  const block = Buffer.alloc(BLOCK);
  block.write(name, 0, 'latin1');
  block.write(octal(MODE, 6), 100);
  block.write(octal(0, 6), 108);
  block.write(octal(0, 6), 116);
  writeSize(block, size);
  block.write(octal(0, 11), 136);
  block.write(type, 156);
  block.write('ustar\u{0}00', 257);
  block.write(octal(0, 6), 329);
  block.write(octal(0, 6), 337);
  block.write(octal(checksumOf(block), 6), 148);
  return block;
}

/** From 8 GiB on in binary, as every tar of today reads it. */
function writeSize(block: Buffer, size: number): void {
  if (size < 8 ** 11) return void block.write(octal(size, 11), 124);
  block[124] = 0x80;
  block.writeBigUInt64BE(BigInt(size), 128);
}

function octal(value: number, digits: number): string {
  return `${value.toString(8).padStart(digits, '0')} `;
}

/** The sum of all bytes, its own field counted as spaces. */
function checksumOf(block: Buffer): number {
  return block.reduce((sum, byte) => sum + byte, 8 * 0x20);
}

/** Begins with its own length, the digits of that included. */
function paxRecord(path: string): Buffer {
  const rest = ` path=${path}\n`;
  let length = rest.length;
  while (String(length).length + rest.length !== length) {
    length = String(length).length + rest.length;
  }
  return Buffer.from(`${length}${rest}`);
}
