import { isRecord, listOf, textOf } from './bounded-json.ts';
import { MAX_FINDINGS, parseFinding, tidy, type Finding } from './report.ts';
import { ScanFault, type ScanFaultCode } from './scan-fault.ts';
import { parseSeverity, worstOf, type Severity } from './severity.ts';
import { TEXTS } from './texts.ts';

type Entry = Readonly<Record<string, unknown>>;

/** What somebody stated who scanned the image. */
export type AttestedScan =
  | {
      readonly kind: 'report';
      /** Milliseconds since 1970: when the scan had ended, by the clock of who stated it. */
      readonly at: number;
      /** Of the oldest database that was used; `undefined` where one is not told. */
      readonly databaseUpdatedAt: number | undefined;
      /** Its names and versions, for people. */
      readonly scanner: string;
      readonly findings: readonly Finding[];
    }
  | { readonly kind: 'refused'; readonly code: ScanFaultCode; readonly reason: string };

const TYPES: ReadonlySet<string> = new Set([
  'https://cosign.sigstore.dev/attestation/vuln/v1',
  'cosign.sigstore.dev/attestation/vuln/v1',
  'https://in-toto.io/attestation/vulns',
  'https://in-toto.io/attestation/vulns/v0.1',
  'https://in-toto.io/attestation/vulns/v0.2',
]);
const MAX_SCANNERS = 16;
const MAX_TEXT = 256;
/** The worst that a score of CVSS may be and still be called so. */
const SCORES: readonly (readonly [most: number, severity: Severity])[] = [
  [0, 'unknown'],
  [3.9, 'low'],
  [6.9, 'medium'],
  [8.9, 'high'],
];

/** Whether statements of this predicate type are scans. */
export function isScanAttestation(predicateType: string): boolean {
  return TYPES.has(predicateType);
}

/**
 * What a signed scan says, in the form of cosign, with the native report of Trivy or Grype, or that of
 * in-toto. Who hands it over has verified who signed it and of which image it is, and bounded its bytes;
 * 10,000 findings are read at most. The form of in-toto says nothing of fixes: each finding counts as
 * one that can be mended.
 */
export function readAttestedScan(predicate: unknown): AttestedScan {
  try {
    return readScan(isRecord(predicate) ? predicate : {});
  } catch (error) {
    if (!(error instanceof ScanFault)) throw error;
    return { kind: 'refused', code: error.code, reason: error.message };
  }
}

function readScan({ scanner, scanners, metadata }: Entry): AttestedScan {
  const all = (Array.isArray(scanners) ? listOf(scanners) : [scanner]).slice(0, MAX_SCANNERS);
  const at = momentOf(isRecord(metadata) ? metadata['scanFinishedOn'] : undefined);
  if (at === undefined || all.length === 0 || !all.every(isRecord)) {
    throw new ScanFault('malformed', TEXTS.noScan);
  }
  const entries = all.flatMap(({ result }) => entriesOf(result));
  if (entries.length > MAX_FINDINGS) {
    throw new ScanFault('too-large', TEXTS.tooManyFindings({ most: MAX_FINDINGS }));
  }
  const dates = all.map(({ db }) => (isRecord(db) ? momentOf(db['lastUpdate']) : undefined));
  const isDated = dates.every((date) => date !== undefined);
  return {
    kind: 'report',
    at,
    databaseUpdatedAt: isDated ? Math.min(...dates) : undefined,
    scanner: all.map(nameOf).join(', '),
    findings: entries.map(parseFinding),
  };
}

/** The findings of one scanner, each in the form of Harbor's reports. */
function entriesOf(result: unknown): readonly unknown[] {
  if (Array.isArray(result)) return result.map(ofInToto);
  if (isRecord(result) && Array.isArray(result['matches'])) return result['matches'].map(ofGrype);
  // Trivy leaves the list out where it knows nothing of what is in the image.
  if (isRecord(result) && (Array.isArray(result['Results']) || result['SchemaVersion'] === 2)) {
    return listOf(result['Results']).flatMap((each) => {
      const { Vulnerabilities: found = null } = isRecord(each) ? each : { Vulnerabilities: {} };
      if (found !== null && !Array.isArray(found)) throw new ScanFault('malformed', TEXTS.noScan);
      return listOf(found).map(ofTrivy);
    });
  }
  throw new ScanFault('malformed', TEXTS.noScan);
}

function ofTrivy(entry: unknown): unknown {
  if (!isRecord(entry)) return entry;
  return {
    id: entry['VulnerabilityID'],
    package: entry['PkgName'],
    version: entry['InstalledVersion'],
    fix_version: entry['FixedVersion'],
    severity: entry['Severity'],
    links: entry['References'],
  };
}

/** A CVE and its advisory are told apart from others by the addresses that Grype took them from. */
function ofGrype(match: unknown): unknown {
  const { vulnerability, artifact, relatedVulnerabilities } = isRecord(match) ? match : {};
  if (!isRecord(vulnerability) || !isRecord(artifact)) return match;
  const { fix } = vulnerability;
  const related = [vulnerability, ...listOf(relatedVulnerabilities)].filter(isRecord);
  return {
    id: vulnerability['id'],
    package: artifact['name'],
    version: artifact['version'],
    fix_version: isRecord(fix) ? listOf(fix['versions'])[0] : undefined,
    severity: vulnerability['severity'],
    links: related.map(({ dataSource }) => dataSource),
  };
}

/** Version 0.1 has it one level deeper in its fields, and not in its example. */
function ofInToto(entry: unknown): unknown {
  const inner = isRecord(entry) ? (entry['vulnerability'] ?? entry) : entry;
  if (!isRecord(inner)) return inner;
  const { id, severity } = inner;
  const ratings = Array.isArray(severity)
    ? listOf(severity).map((rating) =>
        isRecord(rating) ? severityOf(rating['score']) : 'critical',
      )
    : [parseSeverity(severity)];
  return { id, severity: worstOf(ratings), fix_version: '?' };
}

/** A score of CVSS, or a word of the scale. */
function severityOf(score: unknown): Severity {
  const number = typeof score === 'number' ? score : Number(textOf(score, MAX_TEXT) || 'no number');
  if (Number.isNaN(number)) return parseSeverity(score);
  if (number < 0) return 'critical';
  return SCORES.find(([most]) => number <= most)?.[1] ?? 'critical';
}

function nameOf({ uri, version }: Entry): string {
  return [uri, version]
    .map((word) => tidy(textOf(word, MAX_TEXT) ?? ''))
    .join(' ')
    .trim();
}

function momentOf(time: unknown): number | undefined {
  const at = Date.parse(textOf(time, MAX_TEXT) ?? '');
  return Number.isNaN(at) ? undefined : at;
}
