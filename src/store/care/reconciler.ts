import { setTimeout } from 'node:timers/promises';
import type { Algorithm, Digest } from '../../oci/digest.ts';
import type { Aside, BlobStore } from '../files/blob-store.ts';
import type { Catalog } from '../catalog/catalog.ts';
import { ageOf } from '../../time/clock.ts';
import { Slices } from '../../time/slices.ts';

export interface ReconcilerParts {
  readonly blobs: BlobStore;
  readonly catalog: Catalog;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** Waits until commits and removals that are under way are done. */
  readonly settle?: (signal?: AbortSignal) => Promise<unknown>;
  readonly slices?: Slices;
}

export interface Reconciliation {
  /** False when it was stopped before its end. */
  isComplete: boolean;
  /** Files that had no record. */
  adopted: number;
  /** Records that had no file. */
  forgotten: number;
  /** Names under `blobs` that are no blobs; they are left alone. */
  foreign: number;
  foreignBytes: number;
  /** Files that were being read or written. */
  busy: number;
  partialsKept: number;
  partialsRemoved: number;
  quarantineKept: number;
  quarantineRemoved: number;
}

const ALGORITHMS: readonly Algorithm[] = ['sha256', 'sha512'];
/** How long partial and damaged files are kept. */
const MAX_AGE_MS = 7 * 24 * 60 * 60 * 1000;
const SETTLE_MS = 1000;
/** Files without a record that are waited for together. */
const MAX_UNRECORDED = 10_000;

/**
 * Brings files and catalog together beside the work: what a crash, a lost catalog or somebody's
 * hand made of them. Reads no bytes; holds one folder's names at a time, and those of files without
 * a record, up to a limit.
 */
export class Reconciler {
  readonly #parts: ReconcilerParts;
  readonly #settle: NonNullable<ReconcilerParts['settle']>;
  readonly #slices: Slices;

  constructor(parts: ReconcilerParts) {
    this.#parts = parts;
    this.#settle = parts.settle ?? (async (signal) => setTimeout(SETTLE_MS, undefined, { signal }));
    this.#slices = parts.slices ?? new Slices();
  }

  /** With an aborted signal it stops at the next folder or file, or rejects. One at a time. */
  async run({ signal }: { signal?: AbortSignal } = {}): Promise<Reconciliation> {
    const done = nothingDone();
    const run: Run = { done, signal, unrecorded: [] };
    await this.#count(await this.#parts.blobs.folders.listForeign(), done);
    for (const algorithm of ALGORITHMS) {
      for (let number = 0; number < 256; number += 1) {
        await this.#slices.step();
        if (signal?.aborted) return done;
        await this.#reconcileShard(algorithm, number, run);
        if (run.unrecorded.length >= MAX_UNRECORDED) await this.#adoptAll(run);
      }
    }
    await this.#adoptAll(run);
    await this.#removeOldPartials(done, signal);
    await this.#removeOldDamage(done, signal);
    done.isComplete = !signal?.aborted;
    return done;
  }

  async #count(foreign: readonly string[], done: Reconciliation): Promise<void> {
    done.foreign += foreign.length;
    for (const path of foreign) done.foreignBytes += await this.#parts.blobs.folders.sizeOf(path);
  }

  /** Names and records of one folder side by side, both in byte order. */
  async #reconcileShard(algorithm: Algorithm, number: number, { done, signal, unrecorded }: Run) {
    const { blobs, catalog } = this.#parts;
    const shard = number.toString(16).padStart(2, '0');
    const { digests, foreign } = await blobs.folders.listShard(algorithm, shard);
    await this.#count(foreign, done);
    const orphans: Digest[] = [];
    let position = 0;
    for await (const [record] of catalog.listBlobs(`${algorithm}:${shard}`)) {
      await this.#slices.step();
      for (; position < digests.length && digests[position]! < record; position += 1) {
        unrecorded.push(digests[position]!);
      }
      if (digests[position] === record) position += 1;
      else orphans.push(record);
    }
    for (; position < digests.length; position += 1) unrecorded.push(digests[position]!);
    for (const digest of orphans) {
      await this.#slices.step();
      if (signal?.aborted) return;
      await this.#forget(digest, done);
    }
  }

  async #forget(digest: Digest, done: Reconciliation): Promise<void> {
    const { blobs, catalog } = this.#parts;
    if (blobs.isBusy(digest) || (await blobs.statBlob(digest)) || blobs.isBusy(digest)) return;
    if (!(await catalog.hasBlob(digest))) return;
    await catalog.forgetBlob(digest);
    done.forgotten += 1;
  }

  async #adoptAll({ done, signal, unrecorded }: Run): Promise<void> {
    if (unrecorded.length === 0) return;
    // A commit may be between its file and its record, an eviction between its record and its file.
    await this.#settle(signal);
    for (const digest of unrecorded.splice(0)) {
      await this.#slices.step();
      if (signal?.aborted) return;
      await this.#adopt(digest, done);
    }
  }

  async #adopt(digest: Digest, done: Reconciliation): Promise<void> {
    const { blobs, catalog } = this.#parts;
    const isBusy = blobs.isBusy(digest);
    using _ = blobs.lease(digest);
    if (await catalog.hasBlob(digest)) return;
    const file = await blobs.statBlob(digest);
    if (!file) return;
    if (isBusy) {
      done.busy += 1;
      return;
    }
    await catalog.adoptBlob(digest, { size: file.size, storedAt: file.modifiedAt });
    done.adopted += 1;
  }

  async #removeOldPartials(done: Reconciliation, signal: AbortSignal | undefined): Promise<void> {
    for await (const { name, modifiedAt } of this.#aside('ingest', signal)) {
      const isRemoved = await this.#removeOld('ingest', name, modifiedAt);
      done[isRemoved ? 'partialsRemoved' : 'partialsKept'] += 1;
    }
  }

  async #removeOldDamage(done: Reconciliation, signal: AbortSignal | undefined): Promise<void> {
    // Its change time is when the file was moved there; its modification time is older.
    for await (const { name, changedAt } of this.#aside('quarantine', signal)) {
      const isRemoved = await this.#removeOld('quarantine', name, changedAt);
      done[isRemoved ? 'quarantineRemoved' : 'quarantineKept'] += 1;
    }
  }

  async *#aside(folder: Aside, signal: AbortSignal | undefined) {
    for await (const file of this.#parts.blobs.folders.listAside(folder)) {
      await this.#slices.step();
      if (signal?.aborted) return;
      yield file;
    }
  }

  /** What a clock that ran ahead has stamped is as old as this moment, and ages from now on. */
  async #removeOld(folder: Aside, name: string, time: number): Promise<boolean> {
    const { blobs, now } = this.#parts;
    const age = ageOf(time, { wall: now });
    if (age === undefined) await blobs.folders.stampAside(folder, name, now());
    return age !== undefined && age > MAX_AGE_MS && blobs.aside.remove(folder, name);
  }
}

interface Run {
  readonly done: Reconciliation;
  readonly signal: AbortSignal | undefined;
  /** Files without a record so far. */
  readonly unrecorded: Digest[];
}

function nothingDone(): Reconciliation {
  return {
    isComplete: false,
    adopted: 0,
    forgotten: 0,
    foreign: 0,
    foreignBytes: 0,
    busy: 0,
    partialsKept: 0,
    partialsRemoved: 0,
    quarantineKept: 0,
    quarantineRemoved: 0,
  };
}
