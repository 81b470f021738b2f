interface FoundText {
  readonly id: string;
  readonly severity: string;
  /** Nothing where a scanner does not tell. */
  readonly package: string;
  readonly version: string;
  readonly fixVersion: string | undefined;
}

/** What people read of scans, findings and statements about them. */
export const TEXTS = {
  answered: ({ status, said }: { status: number; said: string }) =>
    `the scanner answered ${status}${said === '' ? '' : `: ${said}`}`,
  badCredential:
    'the login for the scanner must be "Bearer" or "Basic" and a value, with no colon in the password',
  badFinding: 'a finding of the report has no identifier, or a text that is too long',
  closing: 'the mirror is being stopped',
  noEndWithin: ({ host, ms }: { host: string; ms: number }) =>
    `no whole answer from ${host} within ${ms} ms`,
  noFindings: 'the report has no list of findings',
  noJson: 'the answer of the scanner is no JSON object',
  noMetadata: 'the scanner does not say what it is and what it can do',
  noOrigin: 'the report does not say who made it and when',
  noReport: ({ scanner }: { scanner: string }) =>
    `${scanner} has no report of it, also after a second scan`,
  noReportInTime: 'the scanner had no report in time',
  noReports: ({ scanner }: { scanner: string }) =>
    `${scanner} scans no images, or makes no report that can be read here`,
  noScan: 'it is no scan by Trivy or Grype, and none in the form of in-toto',
  noScanId: 'the scanner gave no identifier for the scan',
  notConsumed: ({ scanner, type }: { scanner: string; type: string }) =>
    `${scanner} does not scan what is ${type}`,
  otherDigest: 'the report is not about this digest',
  otherRepository: 'the report is not about this repository',
  redirected: ({ status, to }: { status: number; to: string }) =>
    `the scanner answered ${status} and leads to ${to}, which is not followed`,
  tooManyBytes: ({ most }: { most: number }) => `the answer has more than ${most} bytes`,
  tooManyFindings: ({ most }: { most: number }) => `the report has more than ${most} findings`,
  tooManyScans: ({ most }: { most: number }) => `${most} scans wait already`,
  tooMuch: ({ of, most }: { of: 'depth' | 'items'; most: number }) =>
    of === 'depth'
      ? `the answer is nested in more than ${most} levels`
      : `the answer has more than ${most} items`,
  worseThanListed: ({ severity }: { severity: string }) =>
    `the report calls the image ${severity} and lists nothing as bad as that`,
  wrongType: 'the answer of the scanner is no report by its content type',
  vexFile: ({ path, reason }: { path: string; reason: string }) => `${path}: ${reason}`,
  noVex: 'it is neither OpenVEX nor CycloneDX',
  tooMuchVex: ({ most }: { most: number }) =>
    `the document has more than ${most} statements, products and packages`,
  above: ({ count, line, told }: { count: number; line: string; told: string }) =>
    `${count} ${count === 1 ? 'vulnerability' : 'vulnerabilities'} above ${line}: ${told}`,
  more: ({ told, count }: { told: string; count: number }) => `${told} and ${count} more`,
  finding: ({ id, severity, package: name, version, fixVersion }: FoundText) => {
    const what = `${name} ${version}`.trim();
    const fix = fixVersion === undefined ? '' : `fixed in ${fixVersion}`;
    return `${id} (${[severity, what, fix].filter((part) => part !== '').join(', ')})`;
  },
  ended: ({ what, owner, at }: { what: string; owner: string; at: string }) =>
    `the exception of ${owner} for ${what} ended on ${at}`,
} as const;
