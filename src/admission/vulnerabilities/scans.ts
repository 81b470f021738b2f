import { setTimeout as sleep } from 'node:timers/promises';
import PQueue from 'p-queue';
import { Backoff } from '../../time/backoff.ts';
import type { Clock } from '../../time/clock.ts';
import { IMAGES, isReportType, nameOf } from './media-types.ts';
import { parseReport, type ScanSubject } from './report.ts';
import { ScanFault } from './scan-fault.ts';
import type { ScanOutcome } from './scan-outcome.ts';
import type { ReportAnswer, ScannerAdapter } from './scanner-adapter.ts';
import type { PassScheme, ScannerCapability, ScannerMetadata } from './scanner-metadata.ts';
import { TEXTS } from './texts.ts';

export interface WantedScan extends ScanSubject {
  /** Of the manifest; of an SBOM that of the document; of what is neither, that of its config, which no adapter reads. */
  readonly mediaType: string;
  /**
   * The scanner's login to this mirror: `Bearer …`, or `Basic …` of a name and a password without a colon.
   * Asked for when the scan begins, so that its life begins then.
   */
  readonly credential: (scheme: PassScheme) => Promise<string>;
  /** Nobody waits for it: whatever somebody waits for goes first. */
  readonly isBackground?: boolean | undefined;
}

export interface ScansParts {
  readonly adapter: Pick<ScannerAdapter, 'metadata' | 'submit' | 'report'>;
  /** Where the adapter pulls from this mirror. */
  readonly registryUrl: string;
  readonly clock: Clock;
  /** Places for scans, and how many of them those may have that nobody waits for; four and two unless given. */
  readonly places?: { readonly all: number; readonly background: number } | undefined;
  /** How long a scan keeps its place; ten seconds unless given. */
  readonly placeMs?: number | undefined;
  /** For one scan from its turn on; ten minutes unless given: Trivy's adapter gives up after five. */
  readonly scanMs?: number | undefined;
  /** Before the first question for a report; 1 s unless given. */
  readonly pauseMs?: number | undefined;
  readonly wait?: ((ms: number, signal: AbortSignal) => Promise<void>) | undefined;
}

interface Running {
  readonly outcome: Promise<ScanOutcome>;
  /** Has it wait with those that somebody waits for. */
  readonly promote: () => void;
}

type Polled = Extract<ReportAnswer, { readonly kind: 'report' | 'unknown' }>;

/** Adapters work on one to ten at a time, and queue the rest themselves. */
const PLACES = { all: 4, background: 2 };
/** Half of what a client waits. */
const PLACE_MS = 10_000;
/** How many scans may go on without a place; one more keeps its own. */
const MAX_LINGERING = 16;
const PRIORITY = { wanted: 1, background: 0 };
const SCAN_MS = 10 * 60_000;
/** Beyond the running ones. A database update has a thousand images judged anew. */
const MAX_WAITING = { wanted: 2_000, background: 2_000 };
/** What an adapter told about itself counts for so long. */
const METADATA_MS = 30_000;
/** Where the adapter does not say when to ask again: Harbor asks after 2 s first, then each 5 s. */
const PAUSES = { firstMs: 1_000, factor: 1.5, maxMs: 5_000 };
/**
 * How many requests for a report in a row may go wrong: an adapter that restarts is not given up, and
 * Anchore's says that a scan failed that it has not begun yet.
 */
const MAX_FAULTS = { silent: 3, failed: 1 };
/** A report is asked for anew once. */
const MAX_SUBMISSIONS = 2;
const CREDENTIAL = /^(?:Bearer [\w.~+/-]+=*|Basic [A-Za-z0-9+/]+=*)$/;

/**
 * The scans that one adapter is asked for: one of a digest at a time, whoever wants it. Four begin at once, of
 * which two in the background, after those that somebody waits for. One that is not done after ten seconds
 * gives up its place and goes on to its deadline beside the others, 16 of them at most: a scan that is stuck
 * costs no other image. What waits is bounded (2,000, and as many in the background). A scan that has begun
 * goes on when nobody waits for it any more.
 */
export class Scans {
  readonly #parts: ScansParts;
  readonly #pauses: Backoff;
  readonly #queue: PQueue;
  /** Where scans that nobody waits for wait until they may stand in the queue. */
  readonly #background: PQueue;
  readonly #closing = new AbortController();
  readonly #running = new Map<string, Running>();
  /** Those that have begun, whether they have a place or not. */
  readonly #begun = new Set<Promise<void>>();
  #lingering = 0;
  #metadata: { readonly value: Promise<ScannerMetadata>; readonly until: number } | undefined;

  constructor(parts: ScansParts) {
    const { places = PLACES, pauseMs: firstMs = PAUSES.firstMs } = parts;
    this.#pauses = new Backoff({ ...PAUSES, firstMs });
    this.#parts = parts;
    this.#queue = new PQueue({ concurrency: places.all });
    this.#background = new PQueue({ concurrency: places.background });
  }

  /** What the adapter says of itself, at most 30 s old. Throws {@link ScanFault}. */
  async metadata(): Promise<ScannerMetadata> {
    const { adapter, clock } = this.#parts;
    const now = clock.steady();
    if (this.#metadata && now < this.#metadata.until) return this.#metadata.value;
    const value = adapter.metadata(this.#closing.signal);
    this.#metadata = { value, until: now + METADATA_MS };
    value.catch(() => {
      if (this.#metadata?.value === value) this.#metadata = undefined;
    });
    return value;
  }

  /** Never rejects. Whoever wants a digest that is being scanned shares that scan. */
  async scan(wanted: WantedScan): Promise<ScanOutcome> {
    const { digest, isBackground = false } = wanted;
    const known = this.#running.get(digest);
    if (known) {
      if (!isBackground) known.promote();
      return known.outcome;
    }
    if (this.#closing.signal.aborted) return failed(new ScanFault('closing', TEXTS.closing));
    const most = MAX_WAITING[isBackground ? 'background' : 'wanted'];
    if ((isBackground ? this.#background : this.#queue).size >= most) {
      return failed(new ScanFault('busy', TEXTS.tooManyScans({ most })));
    }
    const { promise: outcome, resolve } = Promise.withResolvers<ScanOutcome>();
    let hasBegun = false;
    let queued: Promise<void> | undefined;
    const begin = async (priority: number): Promise<void> => {
      const work = async () => {
        hasBegun = true;
        await this.#inPlace(this.#outcome(wanted).then(resolve));
      };
      queued ??= this.#queue.add(work, { priority, id: digest });
      await queued;
    };
    const promote = (): void => {
      if (queued && !hasBegun) this.#queue.setPriority(digest, PRIORITY.wanted);
      void begin(PRIORITY.wanted);
    };
    this.#running.set(digest, { outcome, promote });
    if (isBackground) void this.#background.add(async () => begin(PRIORITY.background));
    else promote();
    return outcome.finally(() => this.#running.delete(digest));
  }

  /** What runs or waits ends at once. */
  async close(): Promise<void> {
    this.#closing.abort(new ScanFault('closing', TEXTS.closing));
    await this.#background.onIdle();
    await this.#queue.onIdle();
    await Promise.all(this.#begun);
  }

  /** Resolves when the scan has ended, or has had its place for long enough. */
  async #inPlace(scan: Promise<void>): Promise<void> {
    this.#begun.add(scan);
    void scan.finally(() => this.#begun.delete(scan));
    const { promise: late, resolve } = Promise.withResolvers<'late'>();
    const timer = setTimeout(() => resolve('late'), this.#parts.placeMs ?? PLACE_MS);
    const ended = await Promise.race([scan, late]);
    clearTimeout(timer);
    if (ended !== 'late') return;
    if (this.#lingering >= MAX_LINGERING) return scan;
    this.#lingering += 1;
    void scan.finally(() => (this.#lingering -= 1));
  }

  async #outcome(wanted: WantedScan): Promise<ScanOutcome> {
    try {
      this.#closing.signal.throwIfAborted();
      return await this.#scan(wanted);
    } catch (error) {
      return failed(error);
    }
  }

  async #scan(wanted: WantedScan): Promise<ScanOutcome> {
    const { clock, scanMs = SCAN_MS } = this.#parts;
    const end = clock.steady() + scanMs;
    const { vulnerability, database, scanner, passScheme } = await this.metadata();
    const consumes = vulnerability?.consumes ?? [];
    if (!vulnerability || !consumes.includes(nameOf(wanted.mediaType))) {
      // Of an adapter that does nothing it was set up for, no image is unscannable.
      if (!consumes.some((type) => IMAGES.has(type))) {
        throw new ScanFault('incapable', TEXTS.noReports({ scanner }));
      }
      const { mediaType: type } = wanted;
      return { kind: 'unscannable', reason: TEXTS.notConsumed({ scanner, type }) };
    }
    const { produces: type } = vulnerability;
    for (let submission = 1; submission <= MAX_SUBMISSIONS; submission++) {
      const answer = await this.#submit(wanted, vulnerability, passScheme);
      if (answer.kind === 'incapable') return { kind: 'unscannable', reason: answer.reason };
      const polled = await this.#poll(answer.id, type, end);
      if (polled.kind === 'unknown') continue;
      if (!isReportType(polled.type)) throw new ScanFault('wrong-type', TEXTS.wrongType);
      const { repository, digest } = wanted;
      return {
        kind: 'report',
        report: parseReport(polled.document, { repository, digest }),
        database,
      };
    }
    return { kind: 'missing', reason: TEXTS.noReport({ scanner }) };
  }

  /** The capability names its reports: Trivy's adapter refuses one that does not. */
  async #submit(
    { repository, digest, mediaType, credential }: WantedScan,
    { produces }: ScannerCapability,
    scheme: PassScheme,
  ): Promise<Awaited<ReturnType<ScannerAdapter['submit']>>> {
    const { adapter, registryUrl } = this.#parts;
    const authorization = await credential(scheme);
    if (!isReadable(authorization)) throw new ScanFault('credential', TEXTS.badCredential);
    const scan = {
      registry: { url: registryUrl, authorization },
      artifact: { repository, digest, mime_type: mediaType },
      enabled_capabilities: [{ type: 'vulnerability', produces_mime_types: [produces] }],
    } as const;
    return adapter.submit(scan, this.#closing.signal);
  }

  /** Asks until there is a report, or none will come. */
  async #poll(id: string, type: string, end: number): Promise<Polled> {
    const { adapter, clock, wait = pause } = this.#parts;
    const { signal } = this.#closing;
    let faults = 0;
    let afterMs = this.#pauses.after(1);
    for (let asked = 2; ; asked++) {
      if (clock.steady() + afterMs > end) throw new ScanFault('deadline', TEXTS.noReportInTime);
      await wait(afterMs, signal);
      const answer = await adapter.report(id, type, signal);
      if (answer.kind === 'report' || answer.kind === 'unknown') return answer;
      afterMs = this.#pauses.after(asked);
      if (answer.kind === 'pending') {
        faults = 0;
        afterMs = answer.afterMs ?? afterMs;
      } else if (++faults > MAX_FAULTS[answer.kind]) throw answer.fault;
    }
  }
}

/** Adapters take two words, and of a name and a password what stands between the first two colons. */
function isReadable(credential: string): boolean {
  if (!CREDENTIAL.test(credential)) return false;
  const [scheme, value = ''] = credential.split(' ');
  if (scheme === 'Bearer') return true;
  return Buffer.from(value, 'base64').toString('utf8').split(':').length === 2;
}

function failed(error: unknown): ScanOutcome {
  if (!(error instanceof ScanFault)) {
    return { kind: 'error', code: 'failed', reason: (error as Error).message };
  }
  return { kind: 'error', code: error.code, reason: error.message };
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => signal.throwIfAborted());
}
