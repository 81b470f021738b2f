import type { Catalog } from '../catalog/catalog.ts';
import type { BlobStore } from '../files/blob-store.ts';
import type { Shortage } from './evictor.ts';
import type { Room } from './room.ts';

export interface Limits {
  readonly maxBytes: number;
  /** Of `maxBytes` for one blob, from 0 to 1. */
  readonly maxBlobShare: number;
  readonly minFreeBytes: number;
}

export interface LedgerParts {
  readonly catalog: Catalog;
  readonly blobs: BlobStore;
  readonly limits: Limits;
  /** Bytes below the store's path that are neither blobs nor partial or damaged files. */
  readonly otherBytes?: () => number;
}

/** Of the budget: above the first, evicting begins beside the work; it ends below the second. */
const WATERMARK = { high: 0.98, low: 0.95 } as const;
/**
 * Content has half of the budget, and of a large one this many bytes, whatever else lies below the
 * path: LevelDB and its reserve take as much while nothing is held.
 */
const LEAST_BYTES = 16 * 1024 * 1024;

/**
 * The store's account of bytes: what lies below its path, what blobs on their way may write, and what
 * lacks. Each byte is counted once: as announced until it has room, as granted until it is written,
 * then where it lies.
 */
export class Ledger {
  readonly #parts: LedgerParts;
  /** Of blobs that were let in. */
  readonly #rooms = new Set<Room>();

  constructor(parts: LedgerParts) {
    this.#parts = parts;
  }

  /** What is still to come of running downloads, as far as it is believed. */
  get promisedBytes(): number {
    return sum(this.#rooms, (room) => room.promisedBytes);
  }

  /** Above the high watermark. */
  get isHigh(): boolean {
    return this.#taken > this.#maxBytes * WATERMARK.high;
  }

  /** Above the low watermark. */
  get excessBytes(): number {
    return Math.max(0, Math.ceil(this.#taken - this.#maxBytes * WATERMARK.low));
  }

  has(room: Room): boolean {
    return this.#rooms.has(room);
  }

  add(room: Room): void {
    this.#rooms.add(room);
  }

  delete(room: Room): void {
    this.#rooms.delete(room);
  }

  /** Lets the blob in when there is room for all of it without an eviction. */
  async enter(room: Room): Promise<boolean> {
    const free = await this.#freeBytes();
    // Nothing is awaited between the look at what is free and the promise.
    if (this.#judge(room.remainingBytes, this.promisedBytes, free).bytes > 0) return false;
    this.#rooms.add(room);
    return true;
  }

  /** Gives the blob room up to so many bytes when that takes no eviction. */
  async extend(room: Room, upTo: number): Promise<boolean> {
    if (upTo - room.written <= room.grantedBytes) return true;
    const free = await this.#freeBytes();
    // Nothing is awaited between the look at what is free and the grant.
    if (this.#judge(upTo - room.written, this.#grantedBeside(room), free).bytes > 0) return false;
    room.grantedUpTo(upTo);
    return true;
  }

  /** What lacks to give a blob room up to so many bytes. */
  async shortageOf(room: Room, upTo: number): Promise<{ bytes: number; reason: Shortage }> {
    return this.#judge(upTo - room.written, this.#grantedBeside(room), await this.#freeBytes());
  }

  /** What lacks for so many bytes beside all that is promised. */
  async shortage(bytes: number): Promise<{ bytes: number; reason: Shortage }> {
    return this.#judge(bytes, this.promisedBytes, await this.#freeBytes());
  }

  /** What lacks when nothing more comes. */
  async deficit(): Promise<{ bytes: number; reason: Shortage }> {
    return this.#judge(0, this.#grantedBeside(), await this.#freeBytes());
  }

  get #held(): number {
    const { catalog, blobs } = this.#parts;
    const written = sum(this.#rooms, (room) => room.written);
    // Between its commit and its record a blob is known by its room alone, before it is let in by its file.
    const onTheWay = Math.max(written, blobs.aside.claimedBytes);
    return catalog.usage.bytes + blobs.aside.idleBytes + onTheWay;
  }

  get #taken(): number {
    return this.#held + this.#grantedBeside();
  }

  /** For content: what is left beside catalog, journal, and files that are none of the store's. */
  get #maxBytes(): number {
    const { otherBytes = () => 0 } = this.#parts;
    const { maxBytes } = this.#parts.limits;
    return Math.max(maxBytes - otherBytes(), Math.min(maxBytes / 2, LEAST_BYTES));
  }

  #grantedBeside(room?: Room): number {
    return sum(this.#rooms, (each) => each.grantedBytes) - (room?.grantedBytes ?? 0);
  }

  async #freeBytes(): Promise<number> {
    return (await this.#parts.blobs.folders.freeBytes()) ?? Infinity;
  }

  #judge(coming: number, others: number, free: number): { bytes: number; reason: Shortage } {
    const ofBudget = this.#held + others + coming - this.#maxBytes;
    const ofDisk = this.#parts.limits.minFreeBytes + others + coming - free;
    return ofDisk > ofBudget
      ? { bytes: Math.max(0, ofDisk), reason: 'free-space' }
      : { bytes: Math.max(0, ofBudget), reason: 'budget' };
  }
}

function sum(rooms: Iterable<Room>, bytesOf: (room: Room) => number): number {
  return [...rooms].reduce((total, room) => total + bytesOf(room), 0);
}
