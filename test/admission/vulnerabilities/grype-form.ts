/**
 * An adapter for Grype. Written by hand from the source of github.com/ant1freeze/harbor-scanner-grype,
 * which goes back to Trivy's: the report as `pkg/harbor/model.go` marshals what `pkg/scan/transformer.go`
 * makes of Grype's own, one finding a match, advisories of GitHub by their own name, lists that are
 * `null`, a severity of the whole that is left out where there is no finding. The findings are those of a
 * Java image on Alpine; descriptions are shortened.
 */
import type { AdapterForm } from './adapter-form.ts';
import { TRIVY } from './trivy-form.ts';

const SCANNER = { name: 'Grype', vendor: 'Anchore', version: '0.117.0' };
const VECTOR = 'CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H';

const FINDINGS = [
  {
    id: 'GHSA-jfh8-c2jp-5v3q',
    package: 'log4j-core',
    version: '2.14.1',
    fix_version: '2.15.0',
    severity: 'Critical',
    description: 'Remote code injection in Log4j',
    links: [
      'https://github.com/advisories/GHSA-jfh8-c2jp-5v3q',
      'https://nvd.nist.gov/vuln/detail/CVE-2021-44228',
      'https://logging.apache.org/log4j/2.x/security.html',
    ],
    layer: null,
    preferred_cvss: { score_v3: 10, vector_v2: VECTOR, vector_v3: VECTOR },
  },
  {
    id: 'CVE-2023-42366',
    package: 'busybox',
    version: '1.36.1-r2',
    fix_version: '1.36.1-r6',
    severity: 'Medium',
    description: 'A heap-buffer-overflow was discovered in BusyBox v.1.36.1.',
    links: ['http://www.openwall.com/lists/oss-security/2023/11/28/1'],
    layer: null,
    preferred_cvss: {
      score_v3: 5.5,
      vector_v2: 'CVSS:3.1/AV:L/AC:L/PR:N/UI:R/S:U/C:N/I:N/A:H',
      vector_v3: 'CVSS:3.1/AV:L/AC:L/PR:N/UI:R/S:U/C:N/I:N/A:H',
    },
  },
  {
    id: 'CVE-2023-42366',
    package: 'ssl_client',
    version: '1.36.1-r2',
    fix_version: '1.36.1-r6',
    severity: 'Medium',
    description: 'A heap-buffer-overflow was discovered in BusyBox v.1.36.1.',
    links: null,
    layer: null,
  },
];

export const GRYPE: AdapterForm = {
  ...TRIVY,
  name: 'Grype',
  metadata: {
    ...TRIVY.metadata,
    scanner: SCANNER,
    properties: {
      'env.SCANNER_GRYPE_OFFLINE_SCAN': 'true',
      'grype.version': '0.117.0',
      'harbor.scanner-adapter/scanner-type': 'os-package-vulnerability',
      'harbor.scanner-adapter/vulnerability-database-updated-at': '2029-12-31T06:30:41Z',
    },
  },
  report: (subject) => ({
    generated_at: '2030-01-01T00:00:05.123456789+02:00',
    artifact: subject,
    scanner: SCANNER,
    severity: 'Critical',
    vulnerabilities: FINDINGS,
  }),
  cleanReport: (subject) => ({
    generated_at: '2030-01-01T00:00:05.123456789+02:00',
    artifact: subject,
    scanner: SCANNER,
  }),
};
