import type { Catalog } from '../catalog/catalog.ts';
import type { BlobStore } from '../files/blob-store.ts';
import type { Shortage } from './evictor.ts';

export interface Limits {
  readonly maxBytes: number;
  /** The share of `maxBytes` that one blob may take, from 0 to 1. */
  readonly maxBlobShare: number;
  readonly minFreeBytes: number;
}

export interface LedgerParts {
  readonly catalog: Catalog;
  readonly blobs: BlobStore;
  /** The limits of the configuration as it is now. */
  readonly limits: () => Limits;
  /** Bytes below the store's path that are neither blobs nor partial or damaged files. */
  readonly otherBytes?: () => number;
}

/** Shares of the budget: eviction begins above `high` and ends below `low`. */
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
  /** The room of each blob that was let in. */
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

  /**
   * Between all and the high watermark, and between all and the low one. A disk that has fewer bytes
   * than the store may take is all there is.
   */
  marginOn(freeBytes = Infinity): { readonly least: number; readonly enough: number } {
    const all = Math.min(this.#maxBytes, this.#taken + freeBytes);
    return { least: all - all * WATERMARK.high, enough: all - all * WATERMARK.low };
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
    const { maxBytes } = this.#parts.limits();
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
    const ofDisk = this.#parts.limits().minFreeBytes + others + coming - free;
    return ofDisk > ofBudget
      ? { bytes: Math.max(0, ofDisk), reason: 'free-space' }
      : { bytes: Math.max(0, ofBudget), reason: 'budget' };
  }
}

function sum(rooms: Iterable<Room>, bytesOf: (room: Room) => number): number {
  return [...rooms].reduce((total, room) => total + bytesOf(room), 0);
}

export interface RoomParts {
  /** The size of the blob; `undefined` when its upstream did not tell. */
  readonly size: number | undefined;
  /** Bytes that are on disk already. */
  readonly written: number;
  /** Most bytes that one blob may take; without a known size room is made no further ahead. */
  readonly mostBytes: number;
  /** How far ahead of what has come room is made at most. */
  readonly stepBytes: number;
  /** Makes room up to this many bytes of the blob. Rejects when there is none. */
  readonly grant: (room: Room, upTo: number) => Promise<void>;
  readonly end: (room: Room) => void;
}

/** Below this a blob is given room for no less at a time. */
const MIN_AHEAD_BYTES = 64 * 1024;

/**
 * What one blob on its way takes of the store. An announced length is believed as far as bytes back
 * it: room is made for what has come, and ahead of that for as much again, up to a step. So what
 * announces much and sends little displaces little.
 */
export class Room implements Disposable {
  readonly #parts: RoomParts;
  #written: number;
  #granted: number;
  #isEnded = false;

  constructor(parts: RoomParts) {
    this.#parts = parts;
    this.#written = parts.written;
    this.#granted = parts.written;
  }

  get size(): number | undefined {
    return this.#parts.size;
  }

  get written(): number {
    return this.#written;
  }

  /** Bytes that room was made for and that have not come yet. */
  get grantedBytes(): number {
    return Math.max(0, this.#granted - this.#written);
  }

  /** Bytes that other blobs may not count on. */
  get promisedBytes(): number {
    const believed = Math.min(this.remainingBytes, this.#written + this.#parts.stepBytes);
    return Math.max(this.grantedBytes, believed);
  }

  /** Still to come; without a known size, a step. */
  get remainingBytes(): number {
    const { size, stepBytes } = this.#parts;
    return size === undefined ? stepBytes : Math.max(0, size - this.#written);
  }

  /** For bytes that have come, before they are written. Rejects with `NoRoomError`. */
  async take(bytes: number): Promise<void> {
    const needed = this.#written + bytes;
    if (needed <= this.#granted) return;
    const ahead = Math.min(Math.max(this.#written, MIN_AHEAD_BYTES), this.#parts.stepBytes);
    const end = this.#parts.size ?? this.#parts.mostBytes;
    await this.#parts.grant(this, Math.max(needed, Math.min(needed + ahead, end)));
  }

  /** They are on the disk, where they are counted. */
  wrote(bytes: number): void {
    this.#written += bytes;
  }

  /** Called by whoever made the room. */
  grantedUpTo(bytes: number): void {
    this.#granted = Math.max(this.#granted, bytes);
  }

  /** The bytes are recorded, or given up. */
  [Symbol.dispose](): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#parts.end(this);
  }
}
