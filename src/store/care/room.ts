export interface RoomParts {
  /** Of the blob; `undefined` when its upstream did not tell. */
  readonly size: number | undefined;
  /** Bytes that are on disk already. */
  readonly written: number;
  /** That one blob may take; without a known size room is made no further ahead. */
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

  /** That room was made for and that have not come yet. */
  get grantedBytes(): number {
    return Math.max(0, this.#granted - this.#written);
  }

  /** That others may not count on. */
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
