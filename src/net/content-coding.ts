import zlib from 'node:zlib';
import { pipeline } from 'node:stream';
import { readSmall } from './exchange.ts';

/** A compression that can be undone. */
export type Coding = 'gzip' | 'deflate' | 'br' | 'zstd';

/** The bytes are no such encoding. */
export class DecodingError extends Error {
  override readonly name = 'DecodingError';
}

const CODINGS: ReadonlyMap<string, Coding> = new Map([
  ['gzip', 'gzip'],
  ['x-gzip', 'gzip'],
  ['deflate', 'deflate'],
  ['br', 'br'],
  ['zstd', 'zstd'],
]);
/** One by the storage and one by what stands in front of it; each has its decoder's memory. */
const MAX_CODINGS = 2;
/** RFC 9659: what HTTP allows. Brotli's own is 16 MiB, that of the others 32 KiB. */
const ZSTD_WINDOW_LOG = 23;
const CHUNK_BYTES = 64 * 1024;

/**
 * The compressions that an answer's `Content-Encoding` names, in the order in which they were applied.
 * What else stands there (`aws-chunked`, `binary`, `utf-8`, nothing) is what storage repeats of an
 * upload, and says nothing about the bytes.
 */
export function codingsOf(lines: readonly string[]): readonly Coding[] {
  const names = lines.flatMap((line) => line.toLowerCase().split(','));
  const codings = names.flatMap((name) => CODINGS.get(name.trim()) ?? []);
  return codings.length > MAX_CODINGS ? [] : codings;
}

/**
 * The bytes without their encodings. Throws {@link DecodingError} when they have none such; what
 * breaks the source is thrown as it is. Whoever leaves early closes the source.
 */
export function decode(
  chunks: AsyncIterable<Buffer>,
  codings: readonly Coding[],
): AsyncIterable<Buffer> {
  return codings.reduceRight(undo, chunks);
}

async function* undo(chunks: AsyncIterable<Buffer>, coding: Coding): AsyncGenerator<Buffer> {
  const source = chunks[Symbol.asyncIterator]();
  const first = await source.next();
  if (first.done === true) return;
  let broken: { readonly error: unknown } | undefined;
  async function* feed(): AsyncGenerator<Buffer> {
    try {
      yield first.value;
      yield* { [Symbol.asyncIterator]: () => source };
    } catch (error) {
      broken = { error };
      throw error;
    }
  }
  const decoder = createDecoder(coding, first.value);
  // The loop has its error.
  pipeline(feed(), decoder, () => {});
  try {
    for await (const chunk of decoder) yield chunk as Buffer;
  } catch (cause) {
    throw broken ? broken.error : new DecodingError(coding, { cause });
  }
}

function createDecoder(coding: Coding, start: Buffer): NodeJS.ReadWriteStream {
  const options = { chunkSize: CHUNK_BYTES };
  switch (coding) {
    case 'gzip':
      return zlib.createGunzip(options);
    case 'br':
      return zlib.createBrotliDecompress(options);
    case 'zstd': {
      const params = { [zlib.constants.ZSTD_d_windowLogMax]: ZSTD_WINDOW_LOG };
      return zlib.createZstdDecompress({ ...options, params });
    }
    case 'deflate': {
      // Some leave out the zlib header (RFC 9110 section 8.4.1.2).
      const hasHeader = ((start[0] ?? 0) & 0x0f) === 8;
      return hasHeader ? zlib.createInflate(options) : zlib.createInflateRaw(options);
    }
  }
}

/**
 * The whole of a document, encoded or not whatever its header says: what is a JSON object is no
 * encoding. `undefined` when it is longer than the limit (bytes), before or after it is decoded.
 */
export async function readDocument(
  chunks: AsyncIterable<Buffer>,
  { limit, codings }: { limit: number; codings: readonly Coding[] },
): Promise<Buffer | undefined> {
  const bytes = await readSmall(chunks, limit);
  if (!bytes || codings.length === 0 || parseJsonObject(bytes)) return bytes;
  try {
    return await readSmall(decode(once(bytes), codings), limit);
  } catch {
    // Whoever reads it says what is wrong with it.
    return bytes;
  }
}

async function* once(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}

/** The bytes as a JSON object; `undefined` for anything else. */
export function parseJsonObject(bytes: Buffer | undefined): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(bytes?.toString('utf8') ?? '');
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
    return isObject ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
