import type { Attachments, Reach } from '../mirror/mirror.ts';
import type { Digest } from '../oci/digest.ts';
import { formatTarget, type Target } from '../oci/reference.ts';
import type { Clock } from '../time/clock.ts';
import { ExpiringMap } from '../time/expiring-map.ts';
import type { Attestations, Attested } from './attestations.ts';
import type { Condition, Examined, How } from './condition.ts';
import { reportJudgement } from './judgement-report.ts';
import { lineageOf } from './lineage.ts';
import type { SbomScans } from './sbom-scans.ts';
import { TEXTS } from './texts.ts';
import type { Verdict } from './verdict.ts';
import { isScanAttestation, readAttestedScan } from './vulnerabilities/attested-scan.ts';
import {
  judgeFindings,
  type Judgement,
  type VulnerabilityPolicy,
} from './vulnerabilities/judgement.ts';
import { readVex } from './vulnerabilities/read-vex.ts';
import type { Finding } from './vulnerabilities/report.ts';
import { scannedFormOf, type ScannedForm } from './vulnerabilities/scanned-form.ts';
import type { Known, Scanned, Scanner } from './vulnerabilities/scanner.ts';
import type { VexFiles } from './vulnerabilities/vex-files.ts';
import type { VexStatement } from './vulnerabilities/vex.ts';

type Choice = 'allow' | 'deny';

/** Of a rule, where the findings are not known. */
export interface Choices {
  readonly unscannable: Choice;
  readonly onError: Choice;
  readonly onMissing: Choice;
}

export interface FewVulnerabilitiesParts {
  readonly attachments: () => Attachments;
  /** Left out: attested scans alone count. */
  readonly scanner?: Scanner | undefined;
  /** Where there is a scanner. */
  readonly sboms?: SbomScans | undefined;
  readonly attestations: Attestations;
  readonly files: VexFiles;
  readonly policy: VulnerabilityPolicy;
  readonly choices: Choices;
  /** How old an attested scan may be. */
  readonly maxAgeMs: number;
  readonly clock: Clock;
}

interface Judged extends Scanned {
  /** `held`: nobody is asked. */
  readonly reach: Reach;
}

/** What is known of an image, or what the rule says where nothing is. */
type Findings = readonly Finding[] | Verdict;
interface Report {
  readonly findings: readonly Finding[];
}

const FORMS = { max: 10_000, ms: 3_600_000 };
const REFUSED_MS = 30_000;
const MAX_REFUSED = 10_000;
/** Clocks of authors may go before ours by so much. */
const TOLERANCE_MS = 5 * 60_000;
const ADMITTED = { is: 'admitted' } as const;
/** What passes by itself: whoever asks again may be answered. */
const PASSING: ReadonlySet<string> = new Set(['busy', 'closing']);

/**
 * An image has no finding above the line of a rule that counts. The scanner is believed first; where it has
 * no answer, the newest signed scan that is attached and not too old; then the rule says what is done. An
 * index has nothing of its own. Findings, policy and time are weighed anew at each pull; a refusal counts
 * for 30 s, then what is attached is asked for again.
 */
export class FewVulnerabilities implements Condition {
  readonly asks = 'vulnerabilities';
  readonly #parts: FewVulnerabilitiesParts;
  readonly #forms: ExpiringMap<Digest, ScannedForm>;
  readonly #refused: ExpiringMap<string, Verdict>;
  readonly #running = new Map<string, Promise<Verdict>>();

  constructor(parts: FewVulnerabilitiesParts) {
    const { clock } = parts;
    this.#parts = parts;
    this.#forms = new ExpiringMap({ max: FORMS.max, clock });
    this.#refused = new ExpiringMap({ max: MAX_REFUSED, clock });
  }

  async judge(target: Target, digest: Digest, how: How): Promise<Verdict> {
    const reach: Reach = how.reach ?? 'upstream';
    const form = await this.#formOf(target, digest, reach);
    if (!form) return refusal('absent', TEXTS.absent);
    if (form.is === 'index') return ADMITTED;
    const image = { target, digest, mediaType: form.mediaType, reach };
    if (reach === 'held') return this.#judge(image);
    const key = keyOf(image);
    const known = this.#refused.get(key) ?? this.#running.get(key);
    if (known) return known;
    const running = this.#judge(image).finally(() => this.#running.delete(key));
    this.#running.set(key, running);
    return running;
  }

  async examine(target: Target, digest: Digest, how: How): Promise<Examined> {
    const reach: Reach = how.reach ?? 'upstream';
    const form = await this.#formOf(target, digest, reach);
    if (form?.is !== 'content') return {};
    const image = { target, digest, mediaType: form.mediaType, reach };
    const found = await this.#weigh(image);
    this.#settle(image, found);
    return 'is' in found ? {} : reportJudgement(found);
  }

  async #judge(image: Judged): Promise<Verdict> {
    return this.#settle(image, await this.#weigh(image));
  }

  /** A refusal is remembered where somebody was asked; what is found later takes its place. */
  #settle(image: Judged, found: Judgement | Verdict): Verdict {
    const verdict = verdictOf(found);
    if (image.reach === 'held') return verdict;
    if (verdict.is === 'refused') this.#refused.set(keyOf(image), verdict, REFUSED_MS);
    else this.#refused.delete(keyOf(image));
    return verdict;
  }

  /** Whatever costs least is tried first. */
  async #weigh(image: Judged): Promise<Judgement | Verdict> {
    const findings = await this.#findings(image);
    if ('is' in findings) return findings;
    const now = this.#parts.clock.wall();
    const { policy } = this.#parts;
    const weigh = (statements: readonly VexStatement[], digests: readonly Digest[]) =>
      judgeFindings({ findings, policy, statements, digests, now });
    const plain = weigh([], [image.digest]);
    if (plain.kind === 'admitted') return plain;
    const lineage = await this.#lineageOf(image);
    const name = formatTarget(image.target);
    const own = this.#parts.files.about({ name, digests: lineage });
    let judgement = weigh(own, lineage);
    for (const reach of reachesOf(image)) {
      if (judgement.kind === 'admitted') return judgement;
      const attested = await this.#attested(image, lineage, reach);
      const said = attested.flatMap(({ statement }) => {
        const reading = readVex(statement.predicate, { name, digests: lineage });
        return reading.kind === 'statements' ? reading.statements : [];
      });
      judgement = weigh([...own, ...said], lineage);
    }
    return judgement;
  }

  async #findings(image: Judged): Promise<Findings> {
    const { choices } = this.#parts;
    const known = await this.#scanned(image);
    if (known && isReport(known)) return known.findings;
    const attested = await this.#attestedScan(image);
    if (attested) return attested;
    if (known === 'none') return { is: 'unknown', reason: TEXTS.unscanned, isOffline: false };
    if (!known) return chosen(choices.onMissing, 'missing', TEXTS.noScanAttested);
    if (known.kind === 'error' && PASSING.has(known.code)) {
      return { is: 'unknown', reason: known.reason, isOffline: false };
    }
    const { kind, reason } = known;
    if (kind === 'unscannable')
      return chosen(choices.unscannable, kind, TEXTS.unscannable({ reason }));
    if (kind === 'missing') return chosen(choices.onMissing, kind, reason);
    return chosen(choices.onError, known.code, TEXTS.scannerFails({ reason }));
  }

  /**
   * Of a signed SBOM, where the scanner reads such, before the image itself. An upstream is asked for SBOMs only
   * where neither is known yet.
   */
  async #scanned(image: Judged): Promise<Known | Report | undefined> {
    const { scanner, sboms } = this.#parts;
    const isHeld = image.reach === 'held';
    if (!scanner || !(await sboms?.areRead({ isHeld }))) return scanner?.about(image, { isHeld });
    for (const reach of reachesOf(image)) {
      const findings = await sboms?.findings(image, { reach, isHeld });
      if (findings) return { findings };
      const own = await scanner.about(image, { isHeld: true });
      if (isReport(own)) return own;
    }
    return scanner.about(image, { isHeld });
  }

  /** The newest one that counts. */
  async #attestedScan(image: Judged): Promise<readonly Finding[] | undefined> {
    const { clock, maxAgeMs } = this.#parts;
    const now = clock.wall();
    for (const reach of reachesOf(image)) {
      const attested = await this.#attested(image, [image.digest], reach);
      const scans = attested
        .filter(({ statement }) => isScanAttestation(statement.predicateType))
        .map(({ statement }) => readAttestedScan(statement.predicate))
        .filter((scan) => scan.kind === 'report')
        .map((scan) => ({ ...scan, made: Math.min(scan.at, scan.databaseUpdatedAt ?? Infinity) }))
        .filter(({ at, made }) => at <= now + TOLERANCE_MS && now - made <= maxAgeMs);
      const [newest] = scans.toSorted((one, other) => other.made - one.made);
      if (newest) return newest.findings;
    }
    return undefined;
  }

  /** What cannot be had is as what is not there. */
  async #attested(
    { target }: Judged,
    lineage: readonly Digest[],
    reach: Reach,
  ): Promise<readonly Attested[]> {
    return this.#parts.attestations.of(target, lineage, reach).catch(() => []);
  }

  async #lineageOf({ target, digest }: Judged): Promise<readonly Digest[]> {
    return Array.fromAsync(lineageOf(this.#parts.attachments(), target, digest));
  }

  async #formOf(target: Target, digest: Digest, reach: Reach): Promise<ScannedForm | undefined> {
    const known = this.#forms.get(digest);
    if (known) return known;
    const bytes = await this.#parts.attachments().manifest(target, digest, reach);
    if (!bytes) return undefined;
    const form = scannedFormOf(bytes);
    this.#forms.set(digest, form, FORMS.ms);
    return form;
  }
}

function keyOf({ target, digest }: Scanned): string {
  return `${formatTarget(target)} ${digest}`;
}

function verdictOf(found: Judgement | Verdict): Verdict {
  if ('is' in found) return found;
  if (found.kind === 'refused') return refusal(found.code, found.reason);
  const { validUntil } = found;
  return validUntil === undefined ? ADMITTED : { ...ADMITTED, validUntil };
}

function isReport(known: Known | Report): known is Report {
  return known !== 'none' && 'findings' in known;
}

/** What is held is looked at first. */
function reachesOf({ reach }: Judged): readonly Reach[] {
  return reach === 'held' ? ['held'] : ['held', 'upstream'];
}

function chosen(choice: Choice, code: string, reason: string): Verdict {
  return choice === 'allow' ? ADMITTED : refusal(code, reason);
}

function refusal(code: string, reason: string): Verdict {
  return { is: 'refused', refusals: [{ code, reason }] };
}
