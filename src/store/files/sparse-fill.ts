import { rm, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { CrashPoint } from '../faults.ts';
import { syncFolder } from '../own-file.ts';
import { FillMap, type Mapped } from './fill-map.ts';
import { Intervals, type Interval } from './intervals.ts';

export interface SparseFillParts {
  readonly mapPath: string;
  readonly mapped: Mapped;
  /** Open for writing. */
  readonly data: FileHandle;
  readonly durability: 'full' | 'rename';
  readonly step: CrashPoint;
}

/** How much is written, or how much time passes, before it is synced. */
const GROUP = { bytes: 64 * 1024 * 1024, ms: 5_000 } as const;

/**
 * When the map of a file with holes is told of what was written to it. With durability `full` that is once
 * it was synced, many writes at a time: a power loss takes what came since the last sync. With `rename` it
 * is at once: a kill of the process takes nothing. One caller at a time.
 */
export class SparseFill {
  readonly #parts: SparseFillParts;
  readonly #map: FillMap;
  /** Written, and not in the map. */
  #pending = new Intervals();
  #committing: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isOver = false;
  #fault: { readonly error: unknown } | undefined;

  /** Of a file in which these bytes are. */
  static async begin(parts: SparseFillParts, filled: Intervals): Promise<SparseFill> {
    const fill = new SparseFill(parts);
    for (const interval of filled) fill.#pending.add(interval);
    await fill.#commit();
    if (fill.#isSynced) await syncFolder(dirname(parts.mapPath));
    return fill;
  }

  constructor(parts: SparseFillParts) {
    this.#parts = parts;
    this.#map = new FillMap(parts.mapPath, parts.mapped, this.#isSynced);
  }

  /** Of the whole blob. */
  get size(): number {
    return this.#parts.mapped.size;
  }

  get #isSynced(): boolean {
    return this.#parts.durability === 'full';
  }

  /** Rejects with what the disk refuses, perhaps of bytes that were noted before. */
  async note(interval: Interval): Promise<void> {
    this.#pending.add(interval);
    if (!this.#isSynced) return this.#commit();
    if (this.#fault) throw this.#fault.error;
    this.#commitInTime();
  }

  /** Nobody waits for a disk that is slower than what comes: the map is behind then. */
  #commitInTime(): void {
    if (this.#pending.bytes >= GROUP.bytes) this.#commitBeside();
    else if (this.#pending.count > 0)
      this.#timer ??= setTimeout(() => this.#commitBeside(), GROUP.ms).unref();
  }

  /** The file stays: all that was written is on the disk after it, and in the map. */
  async keep(): Promise<void> {
    try {
      await this.#settle();
      await this.#commit();
      if (!this.#isSynced) await this.#parts.data.datasync();
      await this.#map.settle();
    } finally {
      await this.#map.close();
    }
  }

  /** The map goes: the file is whole, or of no use. */
  async drop(): Promise<void> {
    await this.#settle();
    await this.#map.close();
    await rm(this.#parts.mapPath, { force: true });
  }

  async #settle(): Promise<void> {
    this.#isOver = true;
    clearTimeout(this.#timer);
    await this.#committing;
  }

  #commitBeside(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#committing ??= this.#commit()
      .catch((error: unknown) => {
        this.#fault = { error };
      })
      .finally(() => {
        this.#committing = undefined;
        if (!this.#isOver) this.#commitInTime();
      });
  }

  async #commit(): Promise<void> {
    const { data, step } = this.#parts;
    const group = this.#pending;
    this.#pending = new Intervals();
    if (this.#isSynced) await data.datasync();
    step('fill.synced');
    await this.#map.say(group);
    step('fill.mapped');
  }
}
