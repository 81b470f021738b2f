import { createHash } from 'node:crypto';
import type { Digest } from '../../src/oci/digest.ts';
import { BundleError } from './bundle-error.ts';
import { ByteSource } from './byte-source.ts';
import { PARITY_PART, slicesOf, type Slice } from './content.ts';
import { openEnvelope, PAYLOAD_TYPE, readEnvelope } from './envelope.ts';
import { readHead, readPadded, readZeros, type Keyring, type PartHead } from './part-head.ts';
import {
  contentLine,
  formatTrailer,
  PARITY_PATH,
  parityLayout,
  PART_PATH,
  trailerSize,
} from './part-layout.ts';
import { SliceCheck } from './slice-check.ts';
import { BLOCK, paddingOf, TAR_END, tarHeader } from './tar-entry.ts';
import { TEXTS } from './texts.ts';

export type { Keyring, PartHead } from './part-head.ts';

/** What tapes and raw disks leave behind the end of a tar. */
const MOST_ZEROS_BEHIND = 1024 * 1024;

export interface PartVisitor {
  readonly keys: Keyring;
  /** Called once, before any content is read: what it throws ends the reading. */
  admit(head: PartHead): Promise<void> | void;
  /**
   * Called for each slice in turn, and never for the parity part. `bytes` ends only once a whole entry is proven to
   * match its digest (a `BundleError` otherwise); of a piece only the trailer tells, at the end of the
   * part. What is left unread when it resolves is read and verified then.
   */
  take?(slice: Slice, bytes: AsyncIterable<Buffer>): Promise<void> | void;
}

/**
 * Reads and verifies one part in one pass, from a pipe as from a file. What it resolves to is proven: the
 * signed manifest, each path, size and digest, the signed trailer, and nothing behind it but zeros, 1 MiB
 * of them at most. Throws a `BundleError` for all else, what `visitor` throws, and what `source` throws.
 * It holds the manifest, of 64 MiB at most, and the chunk that is under way.
 */
export async function readPart(
  source: AsyncIterable<Uint8Array>,
  visitor: PartVisitor,
): Promise<PartHead> {
  await using bytes = new ByteSource(source);
  const head = await readHead(bytes, visitor.keys);
  await visitor.admit(head);
  const lines = createHash('sha256');
  for (const slice of head.part === PARITY_PART
    ? paritySlices(head)
    : slicesOf(head.manifest, head.part)) {
    lines.update(await readSlice(bytes, slice, head.part === PARITY_PART ? {} : visitor));
  }
  await readTrailer(bytes, head, `sha256:${lines.digest('hex')}` as Digest);
  await readEnd(bytes);
  return head;
}

/** Reads the head of a part alone, and leaves the rest. Throws as `readPart` does. */
export async function peekPart(
  source: AsyncIterable<Uint8Array>,
  keys: Keyring,
): Promise<PartHead> {
  await using bytes = new ByteSource(source);
  return await readHead(bytes, keys);
}

/** The content of the parity part as one piece that only the trailer proves. */
function paritySlices({ id, manifest }: PartHead): readonly Slice[] {
  const { length } = parityLayout(manifest);
  const of = { path: PARITY_PATH, digest: id, size: length };
  return [{ path: PARITY_PATH, entry: -1, of, start: 0, end: length, isWhole: false }];
}

/** The line of the slice that the trailer signs. */
async function readSlice(
  source: ByteSource,
  slice: Slice,
  { take }: Pick<PartVisitor, 'take'>,
): Promise<string> {
  const size = slice.end - slice.start;
  await readHeader(source, slice.path, size);
  const bytes = new SliceBytes(source, slice);
  await take?.(slice, bytes);
  const sha256 = await bytes.drain();
  await readZeros(source, paddingOf(size));
  return contentLine({ path: slice.path, size, sha256 });
}

/** Whatever else a tar can say at a place is refused: its header has other bytes. */
async function readHeader(source: ByteSource, path: string, size: number): Promise<void> {
  const expected = tarHeader(path, size);
  const header = await source.exactly(expected.length);
  if (!header.equals(expected)) throw new BundleError('format', TEXTS.entry({ path }));
}

async function readTrailer(source: ByteSource, head: PartHead, digest: Digest): Promise<void> {
  const type = PAYLOAD_TYPE.trailer;
  const size = trailerSize(head.part);
  await readHeader(source, PART_PATH.trailer, size);
  const envelope = await readPadded(source, size);
  const { payload, keyId } = head.key
    ? { ...openEnvelope(envelope, { type, keys: [head.key] }), keyId: head.keyId }
    : readEnvelope(envelope, type);
  if (keyId !== head.keyId) throw new BundleError('signature', TEXTS.trailerKey);
  if (!payload.equals(formatTrailer({ bundle: head.id, part: head.part, digest }))) {
    throw new BundleError('content', TEXTS.trailerDigest({ part: head.part }));
  }
}

async function readEnd(source: ByteSource): Promise<void> {
  await readZeros(source, TAR_END.length);
  let behind = 0;
  for (let chunk: Buffer | undefined; (chunk = await source.next(BLOCK)); behind += chunk.length) {
    const isZero = chunk.every((byte) => byte === 0);
    if (!isZero || behind > MOST_ZEROS_BEHIND) throw new BundleError('format', TEXTS.behindEnd);
  }
}

/** The bytes of one slice, verified as they go by. */
class SliceBytes implements AsyncIterableIterator<Buffer> {
  readonly #source: ByteSource;
  readonly #check: SliceCheck;
  #sha256: string | undefined;

  constructor(source: ByteSource, slice: Slice) {
    this.#source = source;
    this.#check = new SliceCheck(slice);
  }

  async next(): Promise<IteratorResult<Buffer>> {
    if (this.#check.left === 0) {
      this.#sha256 ??= this.#check.end();
      return { done: true, value: undefined };
    }
    const value = await this.#source.some(this.#check.left);
    this.#check.update(value);
    return { done: false, value };
  }

  /** Reads what nobody took; the SHA-256 of all in hex. */
  async drain(): Promise<string> {
    while (this.#sha256 === undefined) await this.next();
    return this.#sha256;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
