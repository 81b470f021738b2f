import type { Digest } from '../../oci/digest.ts';
import { isRecord, listOf, textOf } from './bounded-json.ts';
import { ScanFault } from './scan-fault.ts';
import { isAbove, parseSeverity, worstOf, type Severity } from './severity.ts';
import { TEXTS } from './texts.ts';

/** What a scan is about. */
export interface ScanSubject {
  /** As the scanner pulls it from this mirror. */
  readonly repository: string;
  /** Of an image manifest, not of an index. */
  readonly digest: Digest;
}

export interface Finding {
  readonly id: string;
  /** Under which other scheme it is known, where the report tells: a CVE by its GHSA, or the other way. */
  readonly aliases: readonly string[];
  readonly package: string;
  readonly version: string;
  /** In which version of the package it is mended; `undefined`: in none. */
  readonly fixVersion: string | undefined;
  readonly severity: Severity;
}

export interface VulnerabilityReport extends ScanSubject {
  /** Milliseconds since 1970, by the scanner's clock. */
  readonly generatedAt: number;
  /** Its name and version. */
  readonly scanner: string;
  readonly findings: readonly Finding[];
}

/** A report with more is refused. */
export const MAX_FINDINGS = 10_000;
const MAX_ID = 256;
const MAX_TEXT = 1_024;
const MAX_LINKS = 100;
const ID = /^[\x21-\x7e]+$/;
const CVE_LINK = /^https?:\/\/nvd\.nist\.gov\/vuln\/detail\/(CVE-\d{4}-\d{4,})$/i;
const GHSA_LINK = /^https?:\/\/github\.com\/advisories\/(GHSA(?:-[a-z0-9]{4}){3})$/i;

/**
 * A report as Harbor's API has it, of at most 10,000 findings. One about another digest or repository, or
 * that does not say what it is about, is refused. A list of findings that is left out is an empty one: so
 * adapters write a clean image. What the report says of the whole image may not be worse than its worst
 * finding: then the list is cut. Throws {@link ScanFault}.
 */
export function parseReport(
  document: Readonly<Record<string, unknown>>,
  subject: ScanSubject,
): VulnerabilityReport {
  const { generatedAt, scanner } = readHead(document, subject);
  const { vulnerabilities = null } = document;
  const isList = vulnerabilities === null || Array.isArray(vulnerabilities);
  if (!isList || 'sbom' in document) throw new ScanFault('malformed', TEXTS.noFindings);
  const listed = listOf(vulnerabilities);
  if (listed.length > MAX_FINDINGS) {
    throw new ScanFault('too-large', TEXTS.tooManyFindings({ most: MAX_FINDINGS }));
  }
  const findings = listed.map(parseFinding);
  const told = parseSeverity(document['severity']);
  if (isAbove(told, worstOf(findings.map(({ severity }) => severity)))) {
    throw new ScanFault('malformed', TEXTS.worseThanListed({ severity: told }));
  }
  return { ...subject, generatedAt, scanner, findings };
}

function readHead(
  { artifact, scanner, generated_at: generated }: Readonly<Record<string, unknown>>,
  { repository, digest }: ScanSubject,
): Pick<VulnerabilityReport, 'generatedAt' | 'scanner'> {
  const about = isRecord(artifact) ? artifact : {};
  if (about['digest'] !== digest) throw new ScanFault('other-subject', TEXTS.otherDigest);
  if (about['repository'] !== repository) {
    throw new ScanFault('other-subject', TEXTS.otherRepository);
  }
  const generatedAt = Date.parse(textOf(generated, 64) ?? '');
  if (Number.isNaN(generatedAt) || !isRecord(scanner)) {
    throw new ScanFault('malformed', TEXTS.noOrigin);
  }
  return { generatedAt, scanner: describeScanner(scanner) };
}

/** `Trivy 0.69.1`: what people read of it. */
export function describeScanner({ name, version }: Readonly<Record<string, unknown>>): string {
  const words = [name, version].map((word) => tidy(textOf(word, MAX_ID) ?? ''));
  return words.join(' ').trim();
}

/** A finding in the form of such a report. Throws {@link ScanFault}. */
export function parseFinding(entry: unknown): Finding {
  const item = isRecord(entry) ? entry : {};
  const id = textOf(item['id'], MAX_ID);
  const name = textOf(item['package'] ?? '', MAX_TEXT);
  const version = textOf(item['version'] ?? '', MAX_TEXT);
  if (id === undefined || !ID.test(id) || name === undefined || version === undefined) {
    throw new ScanFault('malformed', TEXTS.badFinding);
  }
  return {
    id,
    aliases: aliasesOf(id, item['links']),
    package: tidy(name),
    version: tidy(version),
    fixVersion: fixOf(item),
    severity: parseSeverity(item['severity']),
  };
}

/** Anchore's adapter has a name of its own for it. A fix that cannot be read is one. */
function fixOf(item: Readonly<Record<string, unknown>>): string | undefined {
  const fix = item['fix_version'] || item['fixed_version'];
  if (fix === undefined || fix === null || fix === '') return undefined;
  return typeof fix === 'string' ? tidy(fix.slice(0, MAX_TEXT)) : '?';
}

/**
 * By the links to the two databases, and only where they name one alone: a list of references also names
 * other vulnerabilities, and an exception for those is none for this one.
 */
function aliasesOf(id: string, links: unknown): readonly string[] {
  const pattern = /^GHSA-/i.test(id) ? CVE_LINK : /^CVE-/i.test(id) ? GHSA_LINK : undefined;
  if (!pattern) return [];
  const found = listOf(links)
    .slice(0, MAX_LINKS)
    .flatMap((link) => pattern.exec(textOf(link, MAX_TEXT) ?? '')?.[1] ?? []);
  const names = new Map(found.map((name) => [name.toUpperCase(), name]));
  return names.size === 1 ? [...names.values()] : [];
}

/** Without what would end a line or move a cursor where people read it. */
export function tidy(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, '?');
}
