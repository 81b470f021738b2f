import type { Readable } from 'node:stream';
import { extract, type Extract, type ExtractEvents } from 'tar-stream';
import { quote } from '../../src/oci/quote.ts';
import { BundleError } from './bundle-error.ts';
import { TEXTS } from './texts.ts';

/** An entry of a tar, named by the folders that lead to it. */
export type LayoutEntry =
  | {
      readonly type: 'file';
      readonly name: string;
      readonly size: number;
      /** Its bytes, exactly as many; read once, and not after the next entry was asked for. */
      readonly content: AsyncIterable<Buffer>;
    }
  | { readonly type: 'symlink'; readonly name: string; readonly to: string };

type Entry = ExtractEvents['entry'][1];

/** Folders count too. An image has some hundred; what is remembered of each is its name. */
const MAX_ENTRIES = 50_000;
const MAX_NAME_LENGTH = 256;
/** Of headers, padding, and of entries that nobody reads. */
const MAX_OTHER_BYTES = 256 * 2 ** 20;
/** Below it a header has room for the size, and no writer of tars says it elsewhere. */
const LEAST_PAX_SIZE = 2 ** 33;
const PAX_SIZE = /^\d{1,15}$/;

/** What is no tar because it is compressed, by its first bytes. */
const COMPRESSIONS = [
  { name: 'gzip', magic: Buffer.from([0x1f, 0x8b]), command: 'gzip -dc' },
  { name: 'zstd', magic: Buffer.from([0x28, 0xb5, 0x2f, 0xfd]), command: 'zstd -dc' },
  { name: 'xz', magic: Buffer.from([0xfd, 0x37, 0x7a, 0x58]), command: 'xz -dc' },
  { name: 'bzip2', magic: Buffer.from([0x42, 0x5a, 0x68]), command: 'bzip2 -dc' },
] as const;

/**
 * The files and symbolic links of a tar that nobody vouches for, one after the other; what is not read of
 * an entry is passed over. At most 50,000 entries, and 256 MiB of what is no content of a file that was
 * read; a chunk or two is in memory. Throws {@link BundleError} for names that lead out of the tar, for
 * links that are no symbolic ones, for devices, for sizes that header and PAX do not agree on, for sparse
 * files, and for a tar that is cut, compressed or none. The stream is left open: whoever sent it may still
 * be told why.
 */
export class LayoutTar {
  readonly #tar: Readable;
  #received = 0;
  #read = 0;
  #entries = 0;

  constructor(tar: Readable) {
    this.#tar = tar;
  }

  async *entries(): AsyncGenerator<LayoutEntry> {
    const parser = extract();
    const stop = this.#feed(parser);
    try {
      for await (const entry of parser) {
        const found = this.#admit(entry);
        if (found) yield found;
        entry.resume();
      }
    } catch (error) {
      throw asBundleError(error);
    } finally {
      stop();
    }
  }

  /** By hand: a pipeline would destroy the request when the parser ends, and its answer with it. */
  #feed(parser: Extract): () => void {
    const tar = this.#tar;
    const count = (chunk: Buffer): void => {
      const compression = this.#received === 0 ? compressionOf(chunk) : undefined;
      this.#received += chunk.length;
      if (compression)
        parser.destroy(new BundleError('format', TEXTS.layoutCompressed(compression)));
      else if (this.#received - this.#read > MAX_OTHER_BYTES) {
        parser.destroy(new BundleError('format', TEXTS.layoutOther({ most: MAX_OTHER_BYTES })));
      }
    };
    const fail = (): void => {
      if (!tar.readableEnded) parser.destroy(new BundleError('truncated', TEXTS.layoutCut));
    };
    tar.on('data', count).once('error', fail).once('close', fail);
    const sink = parser as unknown as NodeJS.WritableStream;
    tar.pipe(sink);
    return () => {
      tar.off('data', count).off('close', fail).unpipe(sink);
      parser.destroy();
      // Its sender would not read an answer while it still writes.
      tar.resume();
    };
  }

  #admit(entry: Entry): LayoutEntry | undefined {
    const { header } = entry;
    this.#entries += 1;
    if (this.#entries > MAX_ENTRIES) {
      throw new BundleError('format', TEXTS.layoutEntries({ most: MAX_ENTRIES }));
    }
    const name = readName(header.name);
    if (header.type === 'directory') return undefined;
    if (header.type === 'symlink') {
      return { type: 'symlink', name, to: readTarget(name, header.linkname) };
    }
    // Of types that are not known, as that of sparse files, the parser tells none.
    const type = (header.type as string | null) ?? TEXTS.layoutOtherType;
    if (type !== 'file')
      throw new BundleError('format', TEXTS.layoutType({ name: quote(name), type }));
    return { type, name, size: readSize(name, header), content: this.#content(entry) };
  }

  async *#content(entry: Entry): AsyncGenerator<Buffer> {
    const chunks = (entry as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
    for (;;) {
      // What whoever reads it throws is theirs.
      const next = await chunks.next().catch((error: unknown) => {
        throw asBundleError(error);
      });
      if (next.done) return;
      this.#read += next.value.length;
      yield next.value;
    }
  }
}

/** Folders that lead to a place within the tar, without `.`. */
function readName(text: string): string {
  const parts = text.split('/').filter((part) => part !== '' && part !== '.');
  const isOut = text.startsWith('/') || parts.includes('..') || /[\0\\]/.test(text);
  if (isOut || text.length > MAX_NAME_LENGTH) {
    throw new BundleError('format', TEXTS.layoutName({ name: quote(text) }));
  }
  return parts.join('/');
}

/** Where a link of the tar leads within it. */
function readTarget(name: string, link: string): string {
  const parts = name.split('/').slice(0, -1);
  for (const part of link.split('/')) {
    const isUp = part === '..' && parts.length > 0 && parts.at(-1) !== '..';
    if (isUp) parts.pop();
    else if (part !== '' && part !== '.') parts.push(part);
  }
  try {
    return readName(link.startsWith('/') ? link : parts.join('/'));
  } catch {
    throw new BundleError('format', TEXTS.layoutLink({ name: quote(name), to: quote(link) }));
  }
}

function readSize(name: string, { size, pax }: Entry['header']): number {
  const extended = (pax ?? {}) as Readonly<Record<string, string>>;
  const isSparse = Object.keys(extended).some((key) => key.startsWith('GNU.sparse'));
  const said = extended['size'];
  const isTwofold = said !== undefined && !(PAX_SIZE.test(said) && Number(said) >= LEAST_PAX_SIZE);
  if (isSparse || isTwofold || !Number.isSafeInteger(size) || size < 0) {
    throw new BundleError('format', TEXTS.layoutSize({ name: quote(name) }));
  }
  return size;
}

function compressionOf(first: Buffer): { name: string; command: string } | undefined {
  return COMPRESSIONS.find(({ magic }) => first.subarray(0, magic.length).equals(magic));
}

/** What the parser says, be it of the tar or of the entry that is read. */
function asBundleError(error: unknown): BundleError {
  if (error instanceof BundleError) return error;
  const reason = error instanceof Error ? error.message : String(error);
  return new BundleError('format', TEXTS.layoutTar({ reason }), { cause: error });
}
