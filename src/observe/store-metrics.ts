import { Declarations } from './declarations.ts';

/** Why images were evicted. */
const EVICTION_REASONS = ['budget', 'free-space', 'request'];
const FAULTS = ['damaged', 'truncated', 'missing', 'unreadable'];

const STATES = ['ok', 'full', 'read-only', 'failing'];
const ORIGINS = ['hand', 'config', 'use', 'sync'];

/** Of the store's summary what is measured. */
interface Summary {
  readonly blobs: number;
  readonly images: number;
  readonly maxBytes: number;
  readonly minFreeBytes: number;
  readonly freeBytes?: number;
  readonly state: string;
}

interface Beside {
  /** Of each pin. */
  readonly origins: readonly string[];
  readonly isReadOnly: boolean;
  /** Milliseconds since 1970. */
  readonly verifiedAt: number | undefined;
}

/** What the store holds, what of its disk is left, and what care found in it. */
export class StoreMetrics extends Declarations {
  readonly bytes = this.gauge(
    'entrepot_store_bytes',
    'Bytes of the store: used by held blobs, partial, quarantined, other (catalog, journal), reserved for running downloads',
    { state: ['used', 'partial', 'quarantined', 'other', 'reserved'] },
  );
  readonly blobs = this.gauge('entrepot_store_blobs', 'Held blobs');
  readonly images = this.gauge(
    'entrepot_store_images',
    'Held images, as counted within the last minute',
  );
  readonly pins = this.gauge(
    'entrepot_store_pins',
    'Pins by who made them: hand, config, use (lists of images in use) or sync',
    { origin: ORIGINS },
  );
  readonly limitBytes = this.gauge(
    'entrepot_store_limit_bytes',
    'The configured size of the store',
  );
  readonly freeBytes = this.gauge(
    'entrepot_store_free_bytes',
    'What is free on the disk of the store; absent where the disk does not say',
  );
  readonly minFreeBytes = this.gauge(
    'entrepot_store_min_free_bytes',
    'What the configuration leaves free on the disk',
  );
  readonly state = this.gauge(
    'entrepot_store_state',
    'Whether the store is in this state: ok, full (something found no room), read-only or failing (the disk refuses)',
    { state: STATES },
  );
  readonly evictedImages = this.counter(
    'entrepot_evicted_images_total',
    'Evicted images, by what they were needed for: budget, free-space or request',
    { reason: EVICTION_REASONS },
  );
  readonly evictedBytes = this.counter(
    'entrepot_evicted_bytes_total',
    'Bytes of evicted images, by what they were needed for: budget, free-space or request',
    { reason: EVICTION_REASONS },
  );
  readonly scrubbedBlobs = this.counter(
    'entrepot_scrub_blobs_total',
    'Held blobs that were read to be compared with their digest',
  );
  readonly scrubbedBytes = this.counter(
    'entrepot_scrub_bytes_total',
    'Held bytes that were read to be compared with their digest',
  );
  readonly scrubFindings = this.counter(
    'entrepot_scrub_findings_total',
    'Held blobs that were found wrong: healed (fetched anew) or open',
    { fault: FAULTS, result: ['healed', 'open'] },
  );
  readonly verifiedAt = this.gauge(
    'entrepot_verify_last_end_timestamp_seconds',
    'When all that is held was last verified; absent before the first time',
  );

  constructor(...parts: ConstructorParameters<typeof Declarations>) {
    super(...parts);
    const [reason, fault] = [EVICTION_REASONS, FAULTS];
    this.start(this.evictedImages, { reason });
    this.start(this.evictedBytes, { reason });
    this.start(this.scrubFindings, { fault, result: ['healed', 'open'] });
  }

  /** The scrub has read a blob. */
  read(bytes: number): void {
    this.scrubbedBlobs.inc();
    this.scrubbedBytes.inc(bytes);
  }

  /** How it is now. */
  show(
    bytes: Readonly<Record<string, number>>,
    summary: Summary,
    { origins, isReadOnly, verifiedAt }: Beside,
  ): void {
    const { freeBytes } = summary;
    for (const [state, count] of Object.entries(bytes)) this.bytes.set({ state }, count);
    this.blobs.set(summary.blobs);
    this.images.set(summary.images);
    this.limitBytes.set(summary.maxBytes);
    this.minFreeBytes.set(summary.minFreeBytes);
    if (freeBytes === undefined) this.freeBytes.remove();
    else this.freeBytes.set(freeBytes);
    const now = isReadOnly ? 'read-only' : summary.state;
    for (const state of STATES) this.state.set({ state }, state === now ? 1 : 0);
    for (const origin of ORIGINS) {
      const own = origins.filter((each) => each.split(':', 1)[0] === origin);
      this.pins.set({ origin }, own.length);
    }
    if (verifiedAt !== undefined) this.verifiedAt.set(verifiedAt / 1000);
  }
}
