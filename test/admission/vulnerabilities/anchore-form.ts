/**
 * Anchore's own adapter, before Anchore Enterprise, which finds with Grype. Written by hand from the source
 * of github.com/anchore/harbor-scanner-adapter: `pkg/http/api/v1/handler.go` compares content types byte
 * for byte, knows the older type of report alone, says nothing of a type in its capabilities, and sends a
 * body with "not ready yet"; its answer to a scan has no content type, since that is set too late.
 * `pkg/model/harbor/model.go` calls the version of a fix `fixed_version`, and knows `Negligible` and `None`.
 * Left out: it takes no bearer token to pull with (`GetUsernamePassword` in `pkg/adapter/anchore/adapter.go`)
 * and would answer 500 when asked for the report.
 */
import type { AdapterForm } from './adapter-form.ts';

const REPORT = 'application/vnd.scanner.adapter.vuln.report.harbor+json; version=1.0';
const SCANNER = { name: 'Anchore', vendor: 'Anchore Inc.', version: '1.0.0' };

export const ANCHORE: AdapterForm = {
  name: 'Anchore',
  reportType: REPORT,
  wrongTypeStatus: 400,
  scanResponseType: 'text/plain; charset=utf-8',
  metadata: {
    scanner: SCANNER,
    capabilities: [
      {
        consumes_mime_types: [
          'application/vnd.oci.image.manifest.v1+json',
          'application/vnd.docker.distribution.manifest.v2+json',
        ],
        produces_mime_types: [REPORT, 'application/vnd.scanner.adapter.vuln.report.raw+json'],
      },
    ],
    properties: {
      'harbor.scanner-adapter/scanner-type': 'os-package-vulnerability',
      'harbor.scanner-adapter/vulnerability-database-updated-at': '2029-12-30T23:10:00Z',
    },
  },
  report: (subject) =>
    JSON.stringify({
      generated_at: '2030-01-01T00:00:05.123456789Z',
      artifact: { ...subject, tag: '' },
      scanner: SCANNER,
      severity: 'High',
      vulnerabilities: [
        {
          id: 'CVE-2022-1271',
          severity: 'High',
          package: 'gzip',
          version: '1.10-0ubuntu4',
          description: 'Description unavailable.',
          links: ['http://people.ubuntu.com/~ubuntu-security/cve/CVE-2022-1271'],
          fixed_version: '1.10-0ubuntu4.1',
        },
        {
          id: 'CVE-2016-2781',
          severity: 'Negligible',
          package: 'coreutils',
          version: '8.30-3ubuntu2',
          description: 'unavailable. see link',
          links: ['http://people.ubuntu.com/~ubuntu-security/cve/CVE-2016-2781'],
        },
      ],
    }),
  cleanReport: (subject) =>
    JSON.stringify({
      generated_at: '2030-01-01T00:00:05.123456789Z',
      artifact: { ...subject, tag: '' },
      scanner: SCANNER,
      severity: 'None',
      vulnerabilities: [],
    }),
  refusal: ({ headers }) => {
    if (
      headers['content-type'] !== 'application/vnd.scanner.adapter.scan.request+json; version=1.0'
    ) {
      return { status: 400, message: `invalid content type: ${headers['content-type']}` };
    }
    if (headers['accept'] !== 'application/vnd.scanner.adapter.scan.response+json; version=1.0') {
      return { status: 400, message: 'unsupported media type' };
    }
    return undefined;
  },
  pending: (path) => ({
    location: path,
    'content-type': 'application/vnd.scanner.adapter.error+json; version=1.0',
  }),
};
