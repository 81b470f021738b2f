import { createHash } from 'node:crypto';
import { open, type FileHandle } from 'node:fs/promises';
import { digestOf } from '../../src/oci/digest.ts';
import { BundleError } from './bundle-error.ts';
import { formatManifest, type BundleManifest } from './bundle-manifest.ts';
import { PARITY_PART } from './content.ts';
import { PAYLOAD_TYPE, sealEnvelope } from './envelope.ts';
import {
  contentLine,
  formatParity,
  formatTrailer,
  PARITY_PATH,
  parityLayout,
  PART_PATH,
  type ParityLayout,
} from './part-layout.ts';
import { tarFile, type PartToWrite } from './part-writer.ts';
import { paddingOf, TAR_END, tarHeader } from './tar-entry.ts';
import { TEXTS } from './texts.ts';

/** What is read of each file at a time. */
const WINDOW = 4 * 1024 * 1024;

type ParityToWrite = Pick<PartToWrite, 'manifest' | 'envelope' | 'key'>;

/**
 * The parity part while its bundle is written: all parts laid over each other. It is read and written at
 * places, so it must be a file on a disk. Holds a chunk at a time.
 */
export class ParityFile {
  readonly #file: FileHandle;
  readonly #parts: ParityToWrite;
  readonly #layout: ParityLayout;

  /** In a file that is open for reading and writing, and empty. */
  constructor(file: FileHandle, parts: ParityToWrite) {
    this.#file = file;
    this.#parts = parts;
    this.#layout = parityLayout(parts.manifest);
  }

  /**
   * Passes the bytes of a part on, and lays them over those that were before. Each part goes through it
   * once, one after the other.
   */
  async *mix(part: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void> {
    let position = this.#layout.start;
    for await (const chunk of part) {
      const mixed = Buffer.alloc(chunk.length);
      await readInto(this.#file, mixed, position);
      overlay(mixed, chunk);
      await writeAll(this.#file, mixed, position);
      position += chunk.length;
      yield chunk;
    }
  }

  /** Makes it whole, once all parts have gone through it. */
  async seal(): Promise<void> {
    const { start, length, sizes } = this.#layout;
    const { manifest, envelope, key } = this.#parts;
    const head = Buffer.concat([
      tarFile(PART_PATH.manifest, envelope),
      tarFile(PART_PATH.parity, formatParity(sizes)),
      tarHeader(PARITY_PATH, length),
    ]);
    await writeAll(this.#file, head, 0);
    const sha256 = await this.#hash();
    const line = contentLine({ path: PARITY_PATH, size: length, sha256 });
    const trailer = formatTrailer({
      bundle: digestOf(formatManifest(manifest)),
      part: PARITY_PART,
      digest: digestOf(Buffer.from(line)),
    });
    const sealed = tarFile(PART_PATH.trailer, sealEnvelope(trailer, PAYLOAD_TYPE.trailer, key));
    // What is left out before it are zeros.
    await writeAll(
      this.#file,
      Buffer.concat([sealed, TAR_END]),
      start + length + paddingOf(length),
    );
  }

  async #hash(): Promise<string> {
    const { start, length } = this.#layout;
    const hash = createHash('sha256');
    for (let done = 0; done < length; done += WINDOW) {
      const window = Buffer.alloc(Math.min(WINDOW, length - done));
      await readInto(this.#file, window, start + done);
      hash.update(window);
    }
    return hash.digest('hex');
  }
}

export interface LostPart {
  readonly manifest: BundleManifest;
  /** The one that is lost, from 1 on. */
  readonly part: number;
  /** The paths of all other parts, by their number. */
  readonly files: ReadonlyMap<number, string>;
  /** The path of the parity part. */
  readonly parity: string;
}

/**
 * The bytes of a lost part, made of all others and the parity part. They are right when those are, which
 * nobody has looked at here: who takes them verifies them as those of any part. Holds 8 MiB. Throws a
 * `BundleError` with code `part` where more than one is missing, with `truncated` where one is short.
 */
export async function* rebuildPart({
  manifest,
  part,
  files,
  parity,
}: LostPart): AsyncGenerator<Buffer, void> {
  const { sizes, start } = parityLayout(manifest);
  const sources = sizes.flatMap((size, position) => {
    if (position + 1 === part) return [];
    const path = files.get(position + 1);
    if (path === undefined)
      throw new BundleError('part', TEXTS.rebuildMissing({ part: position + 1 }));
    return [{ path, size, start: 0 }];
  });
  const lost = sizes[part - 1];
  if (lost === undefined) throw new RangeError(`the bundle has no part ${part}`);
  sources.unshift({ path: parity, size: start + lost, start });
  for (let done = 0; done < lost; done += WINDOW) {
    const window = Buffer.alloc(Math.min(WINDOW, lost - done));
    for (const source of sources) await mixIn(window, source, done);
    yield window;
  }
}

/** Lays over a window what a file has there, as far as it reaches. */
async function mixIn(
  window: Buffer,
  { path, size, start }: { path: string; size: number; start: number },
  done: number,
): Promise<void> {
  const length = Math.min(window.length, size - start - done);
  if (length <= 0) return;
  const bytes = Buffer.alloc(length);
  // Opened for each window: of thousands of parts not all can be open at once.
  await using file = await open(path);
  if ((await readInto(file, bytes, start + done)) < length) {
    throw new BundleError('truncated', TEXTS.rebuildShort({ path }));
  }
  overlay(window, bytes);
}

function overlay(target: Buffer, bytes: Uint8Array): void {
  for (let position = 0; position < bytes.length; position += 1)
    target[position]! ^= bytes[position]!;
}

/** Fills a buffer as far as the file reaches; how many bytes that were. */
async function readInto(file: FileHandle, buffer: Buffer, position: number): Promise<number> {
  let done = 0;
  while (done < buffer.length) {
    const { bytesRead } = await file.read(buffer, done, buffer.length - done, position + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return done;
}

async function writeAll(file: FileHandle, bytes: Buffer, position: number): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, position + done);
    done += bytesWritten;
  }
}
