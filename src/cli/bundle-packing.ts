import { createReadStream } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { BundleError } from '../../sync/bundle/bundle-error.ts';
import { formatManifest, type BundleManifest } from '../../sync/bundle/bundle-manifest.ts';
import { countParts, PARITY_PART, type ContentEntry } from '../../sync/bundle/content.ts';
import { PAYLOAD_TYPE, sealEnvelope } from '../../sync/bundle/envelope.ts';
import { ParityFile } from '../../sync/bundle/parity.ts';
import { parseManifest } from '../../sync/bundle/parse-manifest.ts';
import { writePart } from '../../sync/bundle/part-writer.ts';
import type { SigningKey } from '../../sync/bundle/signing-key.ts';
import type { ByteRange } from '../oci/content.ts';
import { Digester, splitDigest } from '../oci/digest.ts';
import type { BundleTarget } from './bundle-target.ts';
import { TEXTS } from './texts.ts';
import { collected } from '../../sync/bundle/young-buffers.ts';
import { writeBehind } from '../../sync/bundle/write-behind.ts';

export interface PackParts {
  readonly manifest: BundleManifest;
  readonly key: SigningKey;
  /** The bytes of `index.json`. */
  readonly index: Buffer;
  /** The paths of the files that are carried beside images, by their name. */
  readonly files: ReadonlyMap<string, string>;
  readonly target: BundleTarget;
  readonly openBlob: (digest: string, range: ByteRange) => Promise<AsyncIterable<Uint8Array>>;
  readonly signal: AbortSignal;
  /** Told of bytes that are written. */
  readonly wrote: (bytes: number) => void;
}

export interface PackedPart {
  /** 0 of the parity part. */
  readonly part: number;
  readonly path: string;
  readonly size: number;
}

/** What is read of a file at a time. */
const CHUNK_BYTES = 256 * 1024;

/** Whole, and not placed yet. */
interface WrittenPart extends Omit<PackedPart, 'path'> {
  readonly name: string;
  /** The position of the entry that it has the beginning of and not the end. */
  readonly cut: number | undefined;
}

/**
 * Writes the parts of a bundle, one after the other, each in one pass. In a drop folder each is placed as
 * soon as it is whole and all that it has a piece of is proven; else all are placed together at the end.
 * Throws a `BundleError` with code `content` where bytes are not those of the manifest.
 */
export class BundlePacking {
  readonly #parts: PackParts;
  readonly #envelope: Buffer;
  readonly #cut = new CutCheck();
  readonly #placed: PackedPart[] = [];
  #written: readonly WrittenPart[] = [];
  /** That was read last. */
  #entry: ContentEntry | undefined;

  constructor(parts: PackParts) {
    const { manifest, key } = parts;
    this.#parts = parts;
    const payload = formatManifest(manifest);
    // What no site could read is not signed.
    parseManifest(payload);
    this.#envelope = sealEnvelope(payload, PAYLOAD_TYPE.manifest, key);
  }

  async run(): Promise<readonly PackedPart[]> {
    const { manifest, target } = this.#parts;
    try {
      await (manifest.hasParity ? this.#writeWithParity() : this.#writeParts());
      await this.#place(Infinity);
      return this.#placed;
    } catch (error) {
      throw this.#explain(target.explain(error));
    }
  }

  async #writeWithParity(): Promise<void> {
    const { manifest, key } = this.#parts;
    const envelope = this.#envelope;
    await this.#write(PARITY_PART, async (file) => {
      const parity = new ParityFile(file, { manifest, envelope, key });
      await this.#writeParts(parity);
      await parity.seal();
    });
  }

  async #writeParts(parity?: ParityFile): Promise<void> {
    const { manifest, key, target, signal } = this.#parts;
    const envelope = this.#envelope;
    const open = (entry: ContentEntry, range: ByteRange) => this.#open(entry, range);
    for (let part = 1; part <= countParts(manifest); part += 1) {
      await this.#write(part, async (file) => {
        const bytes = writePart({ manifest, envelope, part, key, open });
        const chunks = collected(parity ? parity.mix(bytes) : bytes);
        await writeBehind(chunks, Infinity, async (block) => file.writeFile(block, { signal }));
      });
      const [proven = Infinity] = manifest.cuts[part - 1] ?? [];
      if (target.isDropFolder) await this.#place(proven);
    }
  }

  async #write(part: number, write: (file: FileHandle) => Promise<void>): Promise<void> {
    const { manifest, target } = this.#parts;
    const name = target.nameOf(manifest, part, countParts(manifest));
    const file = await target.create(name);
    try {
      await write(file);
      await file.sync();
      const { size } = await file.stat();
      const [entry, offset = 0] = manifest.cuts[part - 1] ?? [];
      const cut = offset > 0 ? entry : undefined;
      this.#written = [...this.#written, { part, name, size, cut }];
    } finally {
      await file.close();
    }
  }

  /** Those of which all entries are proven: those before this position are. */
  async #place(proven: number): Promise<void> {
    const isProven = ({ cut }: WrittenPart): boolean => cut === undefined || cut < proven;
    const { place = [], wait = [] } = Object.groupBy(this.#written, (each) =>
      isProven(each) ? 'place' : 'wait',
    );
    this.#written = wait;
    for (const { part, name, size } of place) {
      this.#placed.push({ part, path: await this.#parts.target.place(name), size });
    }
  }

  async *#open(entry: ContentEntry, range: ByteRange): AsyncGenerator<Uint8Array, void> {
    this.#entry = entry;
    const isCut = range.start > 0 || range.end < entry.size;
    for await (const chunk of await this.#read(entry, range)) {
      if (isCut) this.#cut.update(entry, chunk);
      this.#parts.wrote(chunk.length);
      yield chunk;
    }
    if (isCut && range.end === entry.size) this.#cut.end(entry);
  }

  #read(
    { path, digest }: ContentEntry,
    { start, end }: ByteRange,
  ): AsyncIterable<Uint8Array> | Iterable<Uint8Array> | Promise<AsyncIterable<Uint8Array>> {
    const { index, files, openBlob } = this.#parts;
    if (start === end) return [];
    if (path === 'index.json') return [index.subarray(start, end)];
    const file = path.startsWith('with/') ? files.get(path.slice('with/'.length)) : undefined;
    if (file === undefined) return openBlob(digest, { start, end });
    return createReadStream(file, { start, end: end - 1, highWaterMark: CHUNK_BYTES });
  }

  #explain(error: unknown): unknown {
    if (!(error instanceof BundleError) || error.code !== 'content' || !this.#entry) return error;
    const { path, digest } = this.#entry;
    const isFile = path.startsWith('with/');
    const message = isFile ? TEXTS.bundleFileChanged({ path }) : TEXTS.bundleDamaged({ digest });
    return new BundleError('content', message, { cause: error });
  }
}

/** Proves an entry whose pieces are read in their order, over the ends of parts. */
class CutCheck {
  #digester: Digester | undefined;

  update({ digest }: ContentEntry, chunk: Uint8Array): void {
    this.#digester ??= new Digester(splitDigest(digest).algorithm);
    this.#digester.update(chunk);
  }

  /** Throws a `BundleError` with code `content`. */
  end({ digest }: ContentEntry): void {
    const actual = this.#digester?.value();
    this.#digester = undefined;
    if (actual !== digest) throw new BundleError('content', digest);
  }
}
