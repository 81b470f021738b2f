import type { Timing } from '../../net/timing.ts';
import type { Metrics } from '../../observe/metrics.ts';
import type { ByteRange } from '../../oci/content.ts';
import type { Digest } from '../../oci/digest.ts';
import type { Repository } from '../../oci/reference.ts';
import type { Upstream } from '../../upstream/upstream.ts';
import type { Connections } from './connections.ts';
import type { RangePolicy } from './range-policy.ts';
import type { TransferQueue } from './transfer-queue.ts';
import type { QueueDemand } from './turn.ts';

/** One blob at one upstream. */
export interface TransferSource {
  readonly upstream: Upstream;
  /** Of the upstream. */
  readonly queue: TransferQueue;
  /** Of the upstream. */
  readonly connections: Connections;
  /** Of the upstream. */
  readonly ranges: RangePolicy;
  readonly repository: Repository;
  readonly digest: Digest;
  /** What a held manifest says. */
  readonly describedSize: () => Promise<number | undefined>;
  readonly timing: Timing;
  readonly metrics: Metrics;
}

export interface TransferParts extends TransferSource {
  readonly demand: QueueDemand;
  /** Exclusive; without it the transfer goes to the end of the blob. */
  readonly end?: number | undefined;
  /** It is one more connection, beside another transfer of the blob: it makes one attempt, of ranges alone. */
  readonly isExtra?: boolean;
  /** It brings a part of a blob: an answer that is no range fails. */
  readonly isPart?: boolean;
  /** Counts for its turn in place of the blob's size. */
  readonly turnSize?: number;
}

/** Tells what to bring next, once all up to the end is here; nothing more when it is `undefined`. */
export type NextRange = () => Promise<ByteRange | undefined>;
