import type { AdmissionRuleReport } from '../src/api/admission-api.ts';
import type { SyncConfig } from '../src/config/sync-schema.ts';
import type { Prefetcher } from '../src/mirror/prefetcher.ts';
import type { Log } from '../src/observe/log.ts';
import type { Metrics } from '../src/observe/metrics.ts';
import type { Digest } from '../src/oci/digest.ts';
import type { Target } from '../src/oci/reference.ts';
import type { Pins } from '../src/store/care/care.ts';
import type { Catalog } from '../src/store/catalog/catalog.ts';
import type { BlobStore } from '../src/store/files/blob-store.ts';
import type { Schedule, Timer } from './schedule.ts';
import type { KnownImage, SyncState } from './state.ts';

/** Who is asked for images: the upstreams, or whoever stands for them. */
export type Source = Pick<Prefetcher, keyof Prefetcher>;

/** What the classes of sync work with. */
export interface SyncParts {
  readonly config: SyncConfig;
  readonly state: SyncState;
  readonly prefetcher: Source;
  readonly catalog: Catalog;
  readonly blobs: BlobStore;
  readonly pins: Pins;
  /** What bundles brought and the site keeps beside what the rules select. */
  readonly brought: () => readonly KnownImage[];
  /** Why a held image may not be pulled; nothing where it may. `held`: by what is known here, and nobody is asked. */
  readonly refusal: (
    target: Target,
    digest: Digest,
    how?: { readonly reach: 'held' },
  ) => Promise<string | undefined>;
  /** What each rule of admission says of a held image, by what is known here. */
  readonly verdicts: (target: Target, digest: Digest) => Promise<readonly AdmissionRuleReport[]>;
  /** Whether a rule of admission is about it: then what is attached to it always comes along. */
  readonly isJudged: (target: Target) => boolean;
  readonly metrics: Metrics;
  readonly log: Log;
  readonly timer: Timer;
  readonly schedule: Schedule;
  /** Ends the current run at its next step. */
  readonly signal: AbortSignal;
}
