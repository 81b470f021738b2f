import type { Log } from '../../observe/log.ts';
import type { Metrics } from '../../observe/metrics.ts';
import type { Digest } from '../../oci/digest.ts';
import { formatTarget, splitTarget, type Target } from '../../oci/reference.ts';
import type { Catalog } from '../../store/catalog/catalog.ts';
import type { Clock } from '../../time/clock.ts';
import { ExpiringMap } from '../../time/expiring-map.ts';
import { asKeptScan, type KeptScan } from './kept-scan.ts';
import type { PassScheme } from './scanner-metadata.ts';
import { ScannerWatch } from './scanner-watch.ts';
import type { ScanOutcome } from './scan-outcome.ts';
import type { Scans } from './scans.ts';

export interface ScannerParts {
  readonly scans: Pick<Scans, 'metadata' | 'scan' | 'close'>;
  readonly kept: Catalog['scans'];
  /** A header `Authorization` with which the scanner fetches the image, and nothing else. */
  readonly issue: (target: Target, digest: Digest, scheme: PassScheme) => Promise<string>;
  /** What the scanner calls a repository of this mirror. */
  readonly nameOf: (target: Target) => string;
  /** Whether the image is held, so that it is worth a look that nobody waits for. */
  readonly isHeld: (target: Target, digest: Digest) => Promise<boolean>;
  /** How long a scan serves that another database has overtaken, or a scanner that is silent. */
  readonly maxAgeMs: number;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Pick<Metrics, 'admission'>;
}

/** An image that is judged. */
export interface Scanned {
  readonly target: Target;
  readonly digest: Digest;
  readonly mediaType: string;
}

/** What is known of an image. `none`: nothing is kept that counts, and nobody may be asked. */
export type Known = KeptScan | Exclude<ScanOutcome, { readonly kind: 'report' }> | 'none';

/** Of the scans that were lately asked for. */
const MEMORY = { max: 10_000, maxBytes: 64 * 2 ** 20 };
const MEMORY_MS = 3_600_000;
/** A longer one is not kept, and asked for again after a restart: 10,000 findings take a third of it. */
const MAX_KEPT_BYTES = 8 * 2 ** 20;
/** The scanner itself is at fault, so that the next image would fare no better. */
const OF_SCANNER: ReadonlySet<string> = new Set([
  'unreachable',
  'timeout',
  'closing',
  'credential',
  'incapable',
  'unauthorized',
  'redirected',
]);

/**
 * What a scanner says of images: asked once, and kept with the image. When its database has changed all are
 * judged anew in the background, a few at a time and also after a restart; what was said before serves
 * meanwhile, for as long as `maxAgeMs` at most. As long it serves while the scanner cannot say which
 * database it has.
 */
export class Scanner {
  readonly #parts: ScannerParts;
  readonly #watch: ScannerWatch;
  readonly #known: ExpiringMap<Digest, KeptScan>;

  constructor(parts: ScannerParts) {
    this.#parts = parts;
    const renew = async (digest: Digest) => this.#renew(digest);
    this.#watch = new ScannerWatch({ ...parts, renew });
    this.#known = new ExpiringMap({ ...MEMORY, clock: parts.clock });
  }

  /** Begins to look after the database, whoever pulls. */
  start(): void {
    this.#watch.start();
  }

  /** Never rejects. `isHeld`: only what is kept counts. */
  async about(image: Scanned, { isHeld }: { readonly isHeld: boolean }): Promise<Known> {
    const kept = await this.#find(image.digest);
    if (kept && (await this.#watch.serves(kept, { isHeld }))) return kept;
    if (isHeld) return 'none';
    await this.#watch.hear();
    return this.#scan(image, { isBackground: false });
  }

  /** Whether it looks into what is of this type, as it last said. Never rejects; with `isHeld` nobody is asked. */
  async consumes(mediaType: string, how: { readonly isHeld: boolean }): Promise<boolean> {
    const metadata = await this.#watch.metadata(how);
    return metadata?.vulnerability?.consumes.includes(mediaType) ?? false;
  }

  /** What runs ends at once. */
  async close(): Promise<void> {
    this.#watch.stop();
    await this.#parts.scans.close();
    await this.#watch.closed();
  }

  async #find(digest: Digest): Promise<KeptScan | undefined> {
    const known = this.#known.get(digest);
    if (known) return known;
    const kept = asKeptScan(await this.#parts.kept.find(digest));
    if (kept) this.#remember(digest, kept, JSON.stringify(kept).length);
    return kept;
  }

  #remember(digest: Digest, scan: KeptScan, bytes: number): void {
    this.#known.set(digest, scan, MEMORY_MS, bytes);
  }

  async #scan(
    { target, digest, mediaType }: Scanned,
    { isBackground }: { readonly isBackground: boolean },
  ): Promise<Exclude<Known, 'none'>> {
    const { scans, issue, nameOf, clock, metrics } = this.#parts;
    const outcome = await scans.scan({
      repository: nameOf(target),
      digest,
      mediaType,
      credential: async (scheme) => issue(target, digest, scheme),
      isBackground,
    });
    metrics.admission.scans.inc({ outcome: outcome.kind });
    if (outcome.kind !== 'report') return outcome;
    const { database, report } = outcome;
    const { findings } = report;
    const of = formatTarget(target);
    const scan: KeptScan = { version: 1, of, mediaType, at: clock.wall(), database, findings };
    await this.#keep(digest, scan);
    return scan;
  }

  /** A disk that takes no more costs another scan. */
  async #keep(digest: Digest, scan: KeptScan): Promise<void> {
    const { kept, log } = this.#parts;
    const bytes = JSON.stringify(scan).length;
    this.#remember(digest, scan, bytes);
    if (bytes > MAX_KEPT_BYTES) return;
    await kept
      .record(digest, scan)
      .catch((err: unknown) => log.warn({ digest, err }, 'a scan is not kept'));
  }

  /** Says when the scanner is at fault, and no other image need be tried. */
  async #renew(digest: Digest): Promise<'go-on' | 'stop'> {
    const kept = asKeptScan(await this.#parts.kept.find(digest));
    if (!kept || !this.#watch.isDue(kept)) return 'go-on';
    const { of, mediaType } = kept;
    const target = splitTarget(of);
    if (!(await this.#parts.isHeld(target, digest))) return 'go-on';
    const known = await this.#scan({ target, digest, mediaType }, { isBackground: true });
    return 'code' in known && OF_SCANNER.has(known.code) ? 'stop' : 'go-on';
  }
}
