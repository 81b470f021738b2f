import { setTimeout as sleep } from 'node:timers/promises';
import PQueue from 'p-queue';
import { Backoff } from '../../time/backoff.ts';
import type { Clock } from '../../time/clock.ts';
import { IMAGES, isReportType, nameOf } from './media-types.ts';
import { parseReport, parseSbomReport, type SbomReport, type ScanSubject } from './report.ts';
import { ScanFault } from './scan-fault.ts';
import type { ScanOutcome } from './scan-outcome.ts';
import type { AdapterScan, ReportAnswer, ScannerAdapter } from './scanner-adapter.ts';
import type { ScannerMetadata } from './scanner-metadata.ts';
import { TEXTS } from './texts.ts';

export interface WantedScan extends ScanSubject {
  /** Of the manifest; of what is no image, that of its config, which no adapter reads. */
  readonly mediaType: string;
  readonly tag?: string | undefined;
  /**
   * The scanner's login to this mirror: `Bearer …`, or `Basic …` of a name and a password without a colon.
   * Asked for when the scan begins, so that its life begins then.
   */
  readonly credential: () => Promise<string>;
  /** An SBOM is wanted besides, where the adapter makes one. */
  readonly withSbom?: boolean | undefined;
  /** Nobody waits for it: whatever somebody waits for goes first. */
  readonly isBackground?: boolean | undefined;
}

export interface ScansParts {
  readonly adapter: Pick<ScannerAdapter, 'metadata' | 'submit' | 'report'>;
  /** Where the adapter pulls from this mirror. */
  readonly registryUrl: string;
  readonly clock: Clock;
  /** So many at a time; two unless given, which is more than most adapters work on. */
  readonly atOnce?: number | undefined;
  /** For one scan from its turn on; ten minutes unless given: Trivy's adapter gives up after five. */
  readonly scanMs?: number | undefined;
  /** A scanner whose database is older is not asked; any counts unless given. */
  readonly maxDatabaseAgeMs?: number | undefined;
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

const AT_ONCE = 2;
const SCAN_MS = 10 * 60_000;
/** Beyond the running ones. A database update has a thousand images judged anew. */
const MAX_WAITING = { wanted: 2_000, background: 2_000 };
/** What an adapter told about itself counts for so long. */
const METADATA_MS = 30_000;
/** Where the adapter does not say when to ask again: Harbor asks after 2 s first, then each 5 s. */
const PAUSES = { firstMs: 1_000, factor: 1.5, maxMs: 5_000 };
/**
 * So many requests for a report in a row may go wrong: an adapter that restarts is not given up, and
 * Anchore's says that a scan failed that it has not begun yet.
 */
const MAX_FAULTS = { silent: 3, failed: 1 };
/** A report is asked for anew once. */
const MAX_SUBMISSIONS = 2;
const CREDENTIAL = /^(?:Bearer [\w.~+/-]+=*|Basic [A-Za-z0-9+/]+=*)$/;

/**
 * The scans that one adapter is asked for: one of a digest at a time, whoever wants it, and so many at
 * once, of which one place is kept for those that somebody waits for. What waits is bounded (2,000, and as
 * many in the background); each has a deadline. A scan that has begun goes on when nobody waits for it any
 * more.
 */
export class Scans {
  readonly #parts: ScansParts;
  readonly #pauses: Backoff;
  readonly #queue: PQueue;
  /** Where scans that nobody waits for wait until they may stand in the queue. */
  readonly #background: PQueue;
  readonly #closing = new AbortController();
  readonly #running = new Map<string, Running>();
  #metadata: { readonly value: Promise<ScannerMetadata>; readonly until: number } | undefined;

  constructor(parts: ScansParts) {
    const { atOnce = AT_ONCE, pauseMs: firstMs = PAUSES.firstMs } = parts;
    this.#pauses = new Backoff({ ...PAUSES, firstMs });
    this.#parts = parts;
    this.#queue = new PQueue({ concurrency: atOnce });
    this.#background = new PQueue({ concurrency: Math.max(1, atOnce - 1) });
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
    let begun: Promise<void> | undefined;
    const begin = async (): Promise<void> => {
      begun ??= this.#queue.add(async () => resolve(await this.#outcome(wanted)));
      await begun;
    };
    const promote = (): void => void begin();
    this.#running.set(digest, { outcome, promote });
    if (isBackground) void this.#background.add(begin);
    else promote();
    return outcome.finally(() => this.#running.delete(digest));
  }

  /** What runs or waits ends at once. */
  async close(): Promise<void> {
    this.#closing.abort(new ScanFault('closing', TEXTS.closing));
    await this.#background.onIdle();
    await this.#queue.onIdle();
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
    const metadata = await this.metadata();
    const { vulnerability, database, scanner } = metadata;
    // Of an adapter that does nothing it was set up for, no image is unscannable.
    if (!vulnerability?.consumes.some((type) => IMAGES.has(type))) {
      throw new ScanFault('incapable', TEXTS.noReports({ scanner }));
    }
    if (!vulnerability.consumes.includes(nameOf(wanted.mediaType))) {
      return {
        kind: 'unscannable',
        reason: TEXTS.notConsumed({ scanner, type: wanted.mediaType }),
      };
    }
    this.#checkAge(metadata);
    const type = vulnerability.produces;
    for (let submission = 1; submission <= MAX_SUBMISSIONS; submission++) {
      const answer = await this.#submit(wanted, metadata);
      if (answer.kind === 'incapable') return { kind: 'unscannable', reason: answer.reason };
      const polled = await this.#poll(answer.id, { type }, end);
      if (polled.kind === 'unknown') continue;
      if (!isReportType('vulnerability', polled.type)) {
        throw new ScanFault('wrong-type', TEXTS.wrongType);
      }
      const report = parseReport(polled.document, subjectOf(wanted));
      const sbom = await this.#sbom(answer.id, wanted, metadata, end);
      return { kind: 'report', report, database, ...(sbom && { sbom }) };
    }
    return { kind: 'missing', reason: TEXTS.noReport({ scanner }) };
  }

  #checkAge({ database: { updatedAt } }: ScannerMetadata): void {
    const { clock, maxDatabaseAgeMs } = this.#parts;
    if (maxDatabaseAgeMs === undefined) return;
    if (updatedAt !== undefined && clock.wall() - updatedAt <= maxDatabaseAgeMs) return;
    const at = updatedAt === undefined ? undefined : new Date(updatedAt).toISOString();
    throw new ScanFault('old-database', TEXTS.oldDatabase({ at }));
  }

  async #submit(
    wanted: WantedScan,
    metadata: ScannerMetadata,
  ): Promise<Awaited<ReturnType<ScannerAdapter['submit']>>> {
    const { adapter, registryUrl } = this.#parts;
    const authorization = await wanted.credential();
    if (!isReadable(authorization)) throw new ScanFault('credential', TEXTS.badCredential);
    const { repository, digest, tag, mediaType } = wanted;
    const scan = {
      registry: { url: registryUrl, authorization },
      artifact: { repository, digest, ...(tag !== undefined && { tag }), mime_type: mediaType },
      enabled_capabilities: capabilitiesOf(wanted, metadata),
    };
    return adapter.submit(scan, this.#closing.signal);
  }

  /** Asks until there is a report, or none will come. */
  async #poll(
    id: string,
    types: { readonly type: string; readonly sbomType?: string },
    end: number,
  ): Promise<Polled> {
    const { adapter, clock, wait = pause } = this.#parts;
    const { signal } = this.#closing;
    let faults = 0;
    let afterMs = this.#pauses.after(1);
    for (let asked = 2; ; asked++) {
      if (clock.steady() + afterMs > end) throw new ScanFault('deadline', TEXTS.noReportInTime);
      await wait(afterMs, signal);
      const answer = await adapter.report(id, types, signal);
      if (answer.kind === 'report' || answer.kind === 'unknown') return answer;
      afterMs = this.#pauses.after(asked);
      if (answer.kind === 'pending') {
        faults = 0;
        afterMs = answer.afterMs ?? afterMs;
      } else if (++faults > MAX_FAULTS[answer.kind]) throw answer.fault;
    }
  }

  /** Without one the report counts all the same. */
  async #sbom(
    id: string,
    wanted: WantedScan,
    { sbom }: ScannerMetadata,
    end: number,
  ): Promise<SbomReport | undefined> {
    if (wanted.withSbom !== true || !sbom) return undefined;
    try {
      const types = { type: sbom.produces, sbomType: sbom.mediaType };
      const polled = await this.#poll(id, types, end);
      if (polled.kind === 'unknown' || !isReportType('sbom', polled.type)) return undefined;
      return parseSbomReport(polled.document, subjectOf(wanted));
    } catch (error) {
      this.#closing.signal.throwIfAborted();
      if (error instanceof ScanFault) return undefined;
      throw error;
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

/** Each names its reports: Trivy's adapter refuses those that do not. */
function capabilitiesOf(
  { withSbom }: WantedScan,
  { vulnerability, sbom }: ScannerMetadata,
): AdapterScan['enabled_capabilities'] {
  const types = vulnerability ? [vulnerability.produces] : [];
  const first = { type: 'vulnerability', produces_mime_types: types };
  if (withSbom !== true || !sbom) return [first];
  const parameters = { sbom_media_types: [sbom.mediaType] };
  return [first, { type: 'sbom', produces_mime_types: [sbom.produces], parameters }];
}

function subjectOf({ repository, digest }: WantedScan): ScanSubject {
  return { repository, digest };
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
