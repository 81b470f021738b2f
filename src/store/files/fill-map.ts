import { readFile, type FileHandle } from 'node:fs/promises';
import { crc32 } from 'node:zlib';
import type { Digest } from '../../oci/digest.ts';
import { openOwn, writeOwn } from '../own-file.ts';
import { Intervals, type Interval } from './intervals.ts';

/*
 *   header  checksum of the header  record …
 *
 *   header   `entrepot-fill 1 DIGEST SIZE INODE BOOT` and a line feed
 *   record   start and end, 48 bits each, and a checksum of both that begins with that of the header
 *
 * Integers are little-endian, checksums are CRC-32.
 */
const MAGIC = 'entrepot-fill 1';
const CHECKSUM_BYTES = 4;
const RECORD_BYTES = 16;
const MAX_BYTES = 4 * 1024 * 1024;
/** Of a map that was written when all that it says was on the disk. */
const SYNCED = 'synced';
/** With so many records, of which most say what others say too, it is written anew. */
const REWRITE = { least: 4096, factor: 4 } as const;

/** Which file a map is of: one that was copied is another one, of which it says nothing. */
export interface Mapped {
  readonly digest: Digest;
  readonly inode: number;
  /** Of the whole blob. */
  readonly size: number;
}

/**
 * The file beside one with holes that says which of its bytes are there. Records are appended; what follows
 * a torn one says nothing, and neither does a map of another file. A map that does not wait for its bytes
 * to be synced says nothing either once the machine was started anew: memory held what the disk had not.
 */
export class FillMap {
  readonly #path: string;
  readonly #mapped: Mapped;
  readonly #isSynced: boolean;
  readonly #said = new Intervals();
  #file: FileHandle | undefined;
  #seed = 0;
  #end = 0;

  /** What is said of this file; `undefined` when nothing is. */
  static async read(
    path: string,
    { digest, inode }: Omit<Mapped, 'size'>,
  ): Promise<{ size: number; filled: Intervals } | undefined> {
    const bytes = await readMap(path);
    const checked = bytes.indexOf('\n') + 1;
    const header = bytes.toString('latin1', 0, checked);
    if (checked === 0 || bytes.length < checked + CHECKSUM_BYTES) return undefined;
    const seed = bytes.readUInt32LE(checked);
    const [, size = '', boot = ''] = /^.* (\d+) \d+ (\S+)\n$/.exec(header) ?? [];
    const mapped = { digest, inode, size: Number(size) };
    if (seed !== crc32(header) || header !== headerOf(mapped, boot)) return undefined;
    if (boot !== SYNCED && boot !== (await bootId())) return undefined;
    const filled = new Intervals();
    for (let at = checked + CHECKSUM_BYTES; ; at += RECORD_BYTES) {
      const interval = parseRecord(bytes.subarray(at, at + RECORD_BYTES), seed);
      if (!interval || interval.end > mapped.size) return { size: mapped.size, filled };
      filled.add(interval);
    }
  }

  /** `isSynced`: nothing is said before it is on the disk. */
  constructor(path: string, mapped: Mapped, isSynced: boolean) {
    this.#path = path;
    this.#mapped = mapped;
    this.#isSynced = isSynced;
  }

  /** Says this beside what was said; the first time in a file of its own. */
  async say(intervals: Intervals): Promise<void> {
    for (const interval of intervals) this.#said.add(interval);
    const records = this.#end / RECORD_BYTES + intervals.count;
    const isLong = records > REWRITE.least && records > REWRITE.factor * this.#said.count;
    if (!this.#file || isLong) return this.#write();
    const bytes = recordsOf(intervals, this.#seed);
    await this.#file.write(bytes, 0, bytes.length, this.#end);
    this.#end += bytes.length;
  }

  /** All that was said is on the disk by now. Nothing is said after it. */
  async settle(): Promise<void> {
    await this.#write(SYNCED);
    await this.close();
  }

  async close(): Promise<void> {
    await this.#file?.close();
    this.#file = undefined;
  }

  async #write(boot?: string): Promise<void> {
    await this.close();
    const isSynced = this.#isSynced || boot === SYNCED;
    const header = headerOf(this.#mapped, isSynced ? SYNCED : await bootId());
    const checksum = Buffer.alloc(CHECKSUM_BYTES);
    this.#seed = crc32(header);
    checksum.writeUInt32LE(this.#seed);
    const records = recordsOf(this.#said, this.#seed);
    const bytes = Buffer.concat([Buffer.from(header, 'latin1'), checksum, records]);
    await writeOwn(this.#path, bytes, { isSynced });
    this.#end = bytes.length;
    this.#file = await openOwn(this.#path, 'update');
  }
}

function headerOf({ digest, size, inode }: Mapped, boot: string): string {
  return `${MAGIC} ${digest} ${size} ${inode} ${boot}\n`;
}

function recordsOf(intervals: Intervals, seed: number): Buffer {
  const bytes = Buffer.alloc(intervals.count * RECORD_BYTES);
  let at = 0;
  for (const { start, end } of intervals) {
    bytes.writeUIntLE(start, at, 6);
    bytes.writeUIntLE(end, at + 6, 6);
    bytes.writeUInt32LE(crc32(bytes.subarray(at, at + 12), seed), at + 12);
    at += RECORD_BYTES;
  }
  return bytes;
}

function parseRecord(bytes: Buffer, seed: number): Interval | undefined {
  if (
    bytes.length < RECORD_BYTES ||
    bytes.readUInt32LE(12) !== crc32(bytes.subarray(0, 12), seed)
  ) {
    return undefined;
  }
  return { start: bytes.readUIntLE(0, 6), end: bytes.readUIntLE(6, 6) };
}

/** Empty when there is none, or what stands there is none of ours. */
async function readMap(path: string): Promise<Buffer> {
  try {
    await using file = await openOwn(path, 'read');
    const bytes = Buffer.alloc(Math.min(MAX_BYTES, (await file.stat()).size));
    const { bytesRead } = await file.read(bytes, 0, bytes.length, 0);
    return bytes.subarray(0, bytesRead);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'EFOREIGN') return Buffer.alloc(0);
    throw error;
  }
}

let boot: Promise<string> | undefined;

/** Another one each time that the machine starts; the same word always where the system tells none. */
async function bootId(): Promise<string> {
  boot ??= readFile('/proc/sys/kernel/random/boot_id', 'latin1').then(
    (id) => id.trim(),
    () => 'unknown',
  );
  return boot;
}
