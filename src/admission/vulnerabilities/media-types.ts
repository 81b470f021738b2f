/** Byte for byte as adapters compare them: one space after the semicolon. */
export const METADATA = 'application/vnd.scanner.adapter.metadata+json; version=1.0';
export const SCAN_REQUEST = 'application/vnd.scanner.adapter.scan.request+json; version=1.0';
export const SCAN_RESPONSE = 'application/vnd.scanner.adapter.scan.response+json; version=1.0';

export const IMAGES: ReadonlySet<string> = new Set([
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
]);

/** Those of a report, the one that is preferred first; the last is how the README of the API spells it. */
const REPORTS: readonly string[] = [
  'application/vnd.security.vulnerability.report',
  'application/vnd.security.vulnerability.report+json',
  'application/vnd.scanner.adapter.vuln.report.harbor+json',
  'application/vnd.scanner.adaptevuln.report.harbor+json',
];
const NEUTRAL: ReadonlySet<string> = new Set(['', 'application/json']);

/** What the name of a type may look like in an adapter's own spelling: it goes into a header. */
const HARMLESS = /^[\w./+-]+(?: ?; ?version=\d\.\d)?$/;

/** Of the types that an adapter announces the one to ask for, in its own spelling: it compares bytes. */
export function reportTypeOf(announced: readonly string[]): string | undefined {
  for (const name of REPORTS) {
    const found = announced.find((type) => nameOf(type) === name && HARMLESS.test(type));
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Whether a `Content-Type` may be that of such a report. */
export function isReportType(type: string): boolean {
  const name = nameOf(type);
  return REPORTS.includes(name) || NEUTRAL.has(name);
}

/** Without its parameters. */
export function nameOf(type: string): string {
  return (type.split(';')[0] ?? '').trim().toLowerCase();
}
