import { randomInt } from 'node:crypto';
import type { Metrics } from '../observe/metrics.ts';
import { readAll } from '../oci/content.ts';
import type { Digest } from '../oci/digest.ts';
import type { Target } from '../oci/reference.ts';
import type { Catalog, Origin } from '../store/catalog/catalog.ts';
import type { StoredBlob } from '../store/files/blob-store.ts';
import { INTERACTIVE, type Demand } from '../upstream/demand.ts';
import type { BlobBody } from '../upstream/upstream.ts';
import type { Upstreams } from './upstreams.ts';

export interface PossessionParts {
  readonly upstreams: Upstreams;
  readonly catalog: Catalog;
  readonly metrics: Metrics;
}

/**
 * - `shown`: the upstream has sent bytes of our choosing, and they are the held ones.
 * - `absent`: it says that it has no such blob.
 * - `unshown`: it sent others, or none in time: its own transfer must show what it has.
 */
export type Proof = 'shown' | 'absent' | 'unshown';

/** Asked for at a random place: nobody who lacks the blob can guess them, and any link sends them soon. */
const PROOF_BYTES = 64 * 1024;
/** A client waits for its headers meanwhile; after that a transfer of its own is quicker. */
const PATIENCE_MS = 5_000;

/**
 * Whether an upstream has what is held because of another one. Inside one upstream its word by HEAD
 * counts, since its operator has the bytes; between two a word counts for nothing.
 */
export class Possession {
  readonly #parts: PossessionParts;

  constructor(parts: PossessionParts) {
    this.#parts = parts;
  }

  /** Of what nobody knows where it came from, as after a rebuild, it is the only upstream's. */
  async originOf(digest: Digest, { upstream }: Pick<Target, 'upstream'>): Promise<Origin> {
    const { upstreams, catalog } = this.#parts;
    const origin = await catalog.originOf(digest, upstream);
    return origin === 'unknown' && upstreams.count === 1 ? 'own' : origin;
  }

  /**
   * Compares a range of the held bytes with the upstream's, whose word suffices for no bytes at all.
   * Throws `UpstreamError` when it cannot say.
   */
  async prove(target: Target, held: StoredBlob, demand: Demand = INTERACTIVE): Promise<Proof> {
    const { upstream } = this.#parts.upstreams.of(target);
    const { digest, size } = held;
    if (size === 0) return 'shown';
    const length = Math.min(PROOF_BYTES, size);
    const start = randomInt(size - length + 1);
    const range = { start, end: start + length };
    const abort = new AbortController();
    const timer = setTimeout(() => abort.abort(), PATIENCE_MS);
    const signal = demand.signal ? AbortSignal.any([demand.signal, abort.signal]) : abort.signal;
    try {
      const asked = { ...range, demand: { priority: demand.priority, signal } };
      const body = await upstream.getBlob(target.repository, digest, asked);
      if (!body) return 'absent';
      const isOther = body.start !== range.start || (body.size ?? size) !== size;
      const sent = isOther ? undefined : await readRange(body, length);
      body.discard();
      if (!sent) return 'unshown';
      const expected = await heldRange(held, range).catch(() => undefined);
      if (!expected) return 'unshown';
      return sent.equals(expected) ? 'shown' : this.#lied(target);
    } catch (error) {
      if (abort.signal.aborted) return 'unshown';
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  #lied({ upstream }: Target): Proof {
    this.#parts.metrics.integrityFailures.inc({ upstream, where: 'download' });
    return 'unshown';
  }
}

async function readRange({ chunks }: BlobBody, length: number): Promise<Buffer> {
  const parts: Buffer[] = [];
  let received = 0;
  for await (const chunk of chunks) {
    parts.push(chunk);
    received += chunk.length;
    if (received >= length) break;
  }
  return Buffer.concat(parts).subarray(0, length);
}

async function heldRange(held: StoredBlob, range: { start: number; end: number }): Promise<Buffer> {
  const reader = await held.open(range);
  try {
    return await readAll(reader, range.end - range.start);
  } finally {
    await reader.close();
  }
}
