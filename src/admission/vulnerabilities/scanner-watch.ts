import type { Log } from '../../observe/log.ts';
import type { Metrics } from '../../observe/metrics.ts';
import type { Digest } from '../../oci/digest.ts';
import type { Catalog } from '../../store/catalog/catalog.ts';
import type { Clock } from '../../time/clock.ts';
import { isRecord } from './bounded-json.ts';
import type { KeptScan } from './kept-scan.ts';
import { planRejudging, type Rejudging } from './rejudging.ts';
import type { ScannerMetadata } from './scanner-metadata.ts';
import type { Scans } from './scans.ts';

export interface ScannerWatchParts {
  readonly scans: Pick<Scans, 'metadata'>;
  readonly kept: Pick<Catalog['scans'], 'digests' | 'findScanner' | 'recordScanner'>;
  /** Judges one image anew where that is due. */
  readonly renew: (digest: Digest) => Promise<'go-on' | 'stop'>;
  readonly maxAgeMs: number;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Pick<Metrics, 'admission'>;
}

interface SeenDatabase {
  readonly version: string;
  readonly seenAt: number;
}

/** The scanner as it last told of itself. Milliseconds since 1970. */
interface Heard {
  readonly version: 1;
  readonly metadata: ScannerMetadata;
  /** When this database was first seen. */
  readonly seenAt: number;
  /** Those before it, the oldest first. */
  readonly earlier?: readonly SeenDatabase[];
  /** When it was last seen. */
  readonly heardAt: number;
}

/** While images are pulled and while none are. */
const LOOK_MS = { pulled: 30_000, idle: 60_000 };
/** How far the moment that is written down may lie behind. */
const WRITE_MS = 10 * 60_000;
/** Databases that are remembered: of a scan by one that came before them the oldest counts. */
const MAX_EARLIER = 32;
/** Judged anew at a time: one that is stuck leaves the others. */
const AT_ONCE = 4;
/** All that is kept is gone through so often within the longest age, for scanners that tell no date. */
const ROUNDS = 8;

/**
 * Which database the scanner has, and since when: looked at once a minute, and each half a minute while
 * images are pulled. Another one has all that is kept judged anew, in one round after the other.
 */
export class ScannerWatch {
  readonly #parts: ScannerWatchParts;
  #heard: Heard | undefined;
  #loading: Promise<void> | undefined;
  #hearing: Promise<void> | undefined;
  #round: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** By the steady clock. */
  #lookedAt = -Infinity;
  #writtenAt = -Infinity;
  #roundAt = -Infinity;
  #roundOf: string | undefined;
  #isSilent = false;
  #isStopped = false;

  constructor(parts: ScannerWatchParts) {
    this.#parts = parts;
  }

  start(): void {
    this.#timer = setInterval(() => void this.hear(), LOOK_MS.idle).unref();
    void this.hear();
  }

  stop(): void {
    this.#isStopped = true;
    clearInterval(this.#timer);
  }

  /** Resolves when nothing runs any more. */
  async closed(): Promise<void> {
    await this.#hearing;
    await this.#round;
  }

  /** Whether a scan still counts; nobody waits for the scanner where it does. */
  async serves(scan: KeptScan, { isHeld }: { readonly isHeld: boolean }): Promise<boolean> {
    await this.#load();
    const { clock } = this.#parts;
    const isLate = clock.steady() - this.#lookedAt >= LOOK_MS.pulled;
    if (isLate && !isHeld) void this.hear();
    if (this.#counts(scan)) return true;
    if (isHeld) return false;
    await this.hear();
    return this.#counts(scan);
  }

  /** What the scanner last told of itself. */
  async metadata({ isHeld }: { readonly isHeld: boolean }): Promise<ScannerMetadata | undefined> {
    await this.#load();
    if (!this.#heard && !isHeld) await this.hear();
    return this.#heard?.metadata;
  }

  /** Whether another database has overtaken it, or will be taken to have. */
  isDue(scan: KeptScan): boolean {
    return this.#plan(scan)?.kind === 'due';
  }

  #counts(scan: KeptScan): boolean {
    const plan = this.#plan(scan);
    if (!plan || !this.#heard) return false;
    const { maxAgeMs, clock } = this.#parts;
    const now = clock.wall();
    const { heardAt } = this.#heard;
    // The clock was set back since: nobody knows how long ago it was.
    if (now < heardAt) return false;
    return now < (plan.validUntil ?? Infinity) && now < heardAt + maxAgeMs;
  }

  #plan(before: KeptScan): Rejudging | undefined {
    if (!this.#heard) return undefined;
    const { maxAgeMs, clock } = this.#parts;
    const overtakenAt = overtakenAtOf(before, this.#heard);
    const { metadata: scanner } = this.#heard;
    return planRejudging({ before, scanner, overtakenAt, maxAgeMs, now: clock.wall() });
  }

  /** Asks the scanner what it has now. Never rejects: while it is silent, what it said before counts. */
  async hear(): Promise<void> {
    if (this.#isStopped) return;
    this.#hearing ??= this.#hear().finally(() => (this.#hearing = undefined));
    await this.#hearing;
  }

  async #hear(): Promise<void> {
    const { scans, clock, log } = this.#parts;
    await this.#load();
    this.#lookedAt = clock.steady();
    try {
      await this.#take(await scans.metadata());
      if (this.#isSilent) log.info({}, 'the scanner answers again');
      this.#isSilent = false;
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      if (!this.#isSilent && !this.#isStopped) {
        log.warn({ reason }, 'the scanner does not say what it knows');
      }
      this.#isSilent = true;
    }
  }

  async #take(metadata: ScannerMetadata): Promise<void> {
    const { clock, metrics, maxAgeMs } = this.#parts;
    const now = clock.wall();
    const before = this.#heard;
    const { version, updatedAt } = metadata.database;
    const isSame = before?.metadata.database.version === version;
    const seenAt = isSame ? Math.min(before.seenAt, now) : now;
    const earlier = isSame ? before.earlier : earlierThan(before);
    this.#heard = { version: 1, metadata, seenAt, heardAt: now, ...(earlier && { earlier }) };
    if (updatedAt === undefined) metrics.admission.scannerDatabase.remove();
    else metrics.admission.scannerDatabase.set(updatedAt / 1000);
    const isLate = clock.steady() - this.#writtenAt >= WRITE_MS;
    if (!isSame || isLate) await this.#write();
    const isRoundDue = clock.steady() - this.#roundAt >= maxAgeMs / ROUNDS;
    if (!this.#round && (this.#roundOf !== version || isRoundDue)) {
      this.#round = this.#go(version).finally(() => (this.#round = undefined));
    }
  }

  async #go(version: string): Promise<void> {
    const { kept, renew, clock, log } = this.#parts;
    try {
      const round = { left: (await kept.digests()).values(), isEnded: false };
      const some = async (): Promise<void> => {
        for (const digest of round.left) {
          if (round.isEnded || this.#isStopped) return;
          if ((await renew(digest)) === 'stop') round.isEnded = true;
        }
      };
      await Promise.all(Array.from({ length: AT_ONCE }, some));
      if (round.isEnded || this.#isStopped) return;
      this.#roundOf = version;
      this.#roundAt = clock.steady();
    } catch (err) {
      log.error({ err }, 'images are not judged anew');
    }
  }

  async #load(): Promise<void> {
    this.#loading ??= this.#parts.kept.findScanner().then(
      (value) => {
        if (isRecord(value) && value['version'] === 1) this.#heard = value as unknown as Heard;
      },
      () => undefined,
    );
    await this.#loading;
  }

  async #write(): Promise<void> {
    const { kept, clock, log } = this.#parts;
    this.#writtenAt = clock.steady();
    await kept
      .recordScanner(this.#heard!)
      .catch((err: unknown) => log.warn({ err }, 'what the scanner knows is not kept'));
  }
}

/** When the database that came after the one of a scan was first seen. */
function overtakenAtOf({ database }: KeptScan, { metadata, seenAt, earlier = [] }: Heard): number {
  const all = [...earlier, { version: metadata.database.version, seenAt }];
  const place = all.findIndex(({ version }) => version === database.version);
  return (all[place + 1] ?? all.at(-1)!).seenAt;
}

function earlierThan(before: Heard | undefined): readonly SeenDatabase[] | undefined {
  if (!before) return undefined;
  const { metadata, seenAt, earlier = [] } = before;
  return [...earlier, { version: metadata.database.version, seenAt }].slice(-MAX_EARLIER);
}
