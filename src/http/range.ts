import { randomUUID } from 'node:crypto';
import { type ByteRange, type Reader, parseLength } from '../oci/content.ts';
import { RegistryError } from '../oci/errors.ts';
import { TEXTS } from './texts.ts';

/** A header line has room for more; podman asks for up to 1024 at once. */
const MAX_RANGES = 1024;

/**
 * The ranges of a `Range` header for a content of `size` bytes, clipped to it; `undefined` when the
 * whole is to be sent. Throws `RANGE_INVALID` when none lies inside, and 400 when there are too
 * many. `last < first` counts as outside, as the conformance tests of the distribution spec have it.
 * @see https://www.rfc-editor.org/rfc/rfc9110#section-14.2
 */
export function parseRange(header: string | undefined, size: number): ByteRange[] | undefined {
  const set = /^\s*bytes\s*=(.*)$/i.exec(header ?? '')?.[1];
  if (set === undefined) return undefined;
  const specs = set.split(',').map((spec) => spec.trim());
  if (specs.length > MAX_RANGES) {
    throw new RegistryError('RANGE_INVALID', {
      status: 400,
      message: TEXTS.tooManyRanges({ most: MAX_RANGES }),
    });
  }
  const ranges: ByteRange[] = [];
  for (const spec of specs) {
    const match = /^(\d*)-(\d*)$/.exec(spec);
    if (!match || spec === '-') return undefined;
    const range = clip(match[1] ?? '', match[2] ?? '', size);
    if (range) ranges.push(range);
  }
  if (ranges.length === 0) {
    throw new RegistryError('RANGE_INVALID', { headers: { 'Content-Range': `bytes */${size}` } });
  }
  return isWasteful(ranges, size) ? undefined : ranges;
}

function clip(first: string, last: string, size: number): ByteRange | undefined {
  if (first === '') {
    const count = Math.min(positionOf(last), size);
    return count === 0 ? undefined : { start: size - count, end: size };
  }
  const start = positionOf(first);
  const end = last === '' ? size : Math.min(positionOf(last) + 1, size);
  return start < end ? { start, end } : undefined;
}

/** Digits too many for a length are past the end of any content. */
function positionOf(digits: string): number {
  return parseLength(digits) ?? Infinity;
}

/** Overlapping ranges could ask for any multiple of the content (RFC 9110 section 17.15). */
function isWasteful(ranges: readonly ByteRange[], size: number): boolean {
  return ranges.length > 1 && ranges.reduce((sum, { start, end }) => sum + end - start, 0) > size;
}

/**
 * Readers of a content that is not held, for one answer: each may cost its upstream a request. Eight
 * are enough for the pieces of a few files, and few beside the transfers of an upstream.
 */
const MAX_READERS = 8;

/**
 * The same ranges in the same order, in groups that one reader gives by going forward: ranges with the
 * smallest gaps between them are together. `undefined` when they go back too often, which RFC 9110
 * section 14.2 lets a server answer as if no range were asked for.
 */
export function groupRanges(ranges: readonly ByteRange[]): ByteRange[][] | undefined {
  const gaps = ranges.map(({ start }, at) => start - (ranges[at - 1]?.end ?? Infinity));
  const backward = gaps.filter((gap) => gap < 0).length;
  if (backward > MAX_READERS) return undefined;
  const forward = gaps.filter((gap) => gap >= 0).toSorted((a, b) => b - a);
  const near = forward[MAX_READERS - backward] ?? 0;
  let spare = MAX_READERS - backward - forward.filter((gap) => gap > near).length;
  const groups: ByteRange[][] = [];
  for (const [at, range] of ranges.entries()) {
    const gap = gaps[at] ?? -1;
    const isApart = gap < 0 || gap > near || (gap > 0 && gap === near && spare-- > 0);
    if (isApart) groups.push([range]);
    else groups.at(-1)?.push(range);
  }
  return groups;
}

/** Gives the ranges of a group one after the other from a reader of all that lies between its ends. */
export class GroupReader {
  readonly #reader: Reader;
  #position: number;
  /** What was read and is of a later range. */
  #rest: Buffer = Buffer.alloc(0);

  /** `start` is where the reader stands. */
  constructor(reader: Reader, start: number) {
    this.#reader = reader;
    this.#position = start;
  }

  /** The next range; to be read to its end. Closing it leaves the group's own reader open. */
  next({ start, end }: ByteRange): Reader {
    return {
      read: async (scratch) => {
        while (this.#position < end) {
          const isBefore = this.#position < start;
          const wanted = (isBefore ? start : end) - this.#position;
          const bytes = await this.#read(scratch.subarray(0, wanted));
          if (bytes.length === 0) break;
          const piece = bytes.subarray(0, wanted);
          this.#rest = bytes.subarray(piece.length);
          this.#position += piece.length;
          if (!isBefore) return piece;
        }
        return scratch.subarray(0, 0);
      },
      close: async () => undefined,
    };
  }

  async #read(scratch: Buffer): Promise<Buffer> {
    return this.#rest.length > 0 ? this.#rest : this.#reader.read(scratch);
  }
}

/**
 * The frame around several ranges in one answer.
 * @see https://www.rfc-editor.org/rfc/rfc9110#section-14.6
 */
export class Multipart {
  readonly #boundary = randomUUID();
  readonly #ranges: readonly ByteRange[];
  readonly #size: number;

  constructor(ranges: readonly ByteRange[], size: number) {
    this.#ranges = ranges;
    this.#size = size;
  }

  get contentType(): string {
    return `multipart/byteranges; boundary=${this.#boundary}`;
  }

  get length(): number {
    const parts = this.#ranges.map((range) => this.head(range).length + range.end - range.start);
    return parts.reduce((sum, part) => sum + part, this.end.length);
  }

  head({ start, end }: ByteRange): string {
    return [
      `\r\n--${this.#boundary}`,
      'Content-Type: application/octet-stream',
      `Content-Range: bytes ${start}-${end - 1}/${this.#size}`,
      '\r\n',
    ].join('\r\n');
  }

  get end(): string {
    return `\r\n--${this.#boundary}--\r\n`;
  }
}
