/** An entry of a tar; of one with a PAX header all blocks of both are its header. */
export interface TarEntry {
  readonly path: string;
  readonly start: number;
  readonly header: number;
  readonly size: number;
  readonly end: number;
}

/** Where each entry of a part stands. */
export function entriesOf(part: Buffer): TarEntry[] {
  const entries = [];
  for (let start = 0; part[start] !== 0;) {
    const isLong = part.toString('latin1', start + 156, start + 157) === 'x';
    const header = isLong ? 3 * 512 : 512;
    const at = start + header - 512;
    const size = Number.parseInt(part.toString('latin1', at + 124, at + 135), 8);
    const path = isLong
      ? /path=(.*)\n/.exec(part.toString('latin1', start + 512, at))![1]!
      : part.toString('latin1', start, part.indexOf(0, start));
    const end = start + header + Math.ceil(size / 512) * 512;
    entries.push({ path, start, header, size, end });
    start = end;
  }
  return entries;
}

/** A header of another type, with its right sum. */
export function ofType(header: Buffer, type: string): Buffer {
  const changed = Buffer.from(header);
  changed.write(type, 156, 'latin1');
  return summed(changed);
}

/** Writes the sum of a header into it. */
export function summed(header: Buffer): Buffer {
  header.fill(' ', 148, 156);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return header;
}
