/**
 * Trivy's adapter. Written by hand from its source, github.com/goharbor/harbor-scanner-trivy (before it
 * aquasecurity/harbor-scanner-trivy): answers and refusals as in `pkg/http/api/v1/handler.go` and
 * `pkg/http/api/base_handler.go`, the report as `pkg/harbor/model.go` marshals what
 * `pkg/scan/transformer.go` of commit 0c2cd75 makes of Trivy's own. Field by field, with what it leaves
 * out (`omitempty`): findings and severity where nothing is found, and no `Refresh-After`. Its one link is
 * the primary one. The findings are those of nginx 1.25 on Debian 12; descriptions are shortened.
 */
import type { AdapterForm } from './adapter-form.ts';

const OCI = 'application/vnd.oci.image.manifest.v1+json';
const DOCKER = 'application/vnd.docker.distribution.manifest.v2+json';
const REPORT = 'application/vnd.security.vulnerability.report; version=1.1';
const SBOM = 'application/vnd.security.sbom.report+json; version=1.0';
const SCANNER = { name: 'Trivy', vendor: 'Aqua Security', version: '0.68.2' };

const LAYER = {
  digest: 'sha256:302e3ee498053a7b5332ac79e8efebec16e900289fc1ecd1c754ce8fa047fcab',
  diff_id: 'sha256:9853575bc4f955c5892dd64187538a6cd02dba6968eba9201854876a7a257034',
};

const FINDINGS = [
  {
    id: 'CVE-2024-45491',
    package: 'libexpat1',
    version: '2.5.0-1',
    status: 'fixed',
    purl: 'pkg:deb/debian/libexpat1@2.5.0-1?arch=amd64&distro=debian-12.1',
    fix_version: '2.5.0-1+deb12u1',
    severity: 'Critical',
    description:
      'An issue was discovered in libexpat before 2.6.3. dtdCopy in xmlparse.c can have an integer overflow.',
    links: ['https://avd.aquasec.com/nvd/cve-2024-45491'],
    layer: LAYER,
    cwe_ids: ['CWE-190'],
    vendor_attributes: {
      CVSS: {
        nvd: { V3Vector: 'CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H', V3Score: 9.8 },
        redhat: { V3Vector: 'CVSS:3.1/AV:L/AC:H/PR:L/UI:R/S:U/C:L/I:L/A:L', V3Score: 4.3 },
      },
    },
  },
  {
    id: 'CVE-2023-44487',
    package: 'libnghttp2-14',
    version: '1.52.0-1',
    status: 'fixed',
    purl: 'pkg:deb/debian/libnghttp2-14@1.52.0-1?arch=amd64&distro=debian-12.1',
    fix_version: '1.52.0-1+deb12u1',
    severity: 'High',
    description: 'The HTTP/2 protocol allows a denial of service (server resource consumption).',
    links: ['https://avd.aquasec.com/nvd/cve-2023-44487'],
    layer: LAYER,
    cwe_ids: ['CWE-400'],
    vendor_attributes: {
      CVSS: { nvd: { V3Vector: 'CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H', V3Score: 7.5 } },
    },
  },
  {
    id: 'CVE-2011-3374',
    package: 'apt',
    version: '2.6.1',
    status: 'affected',
    purl: 'pkg:deb/debian/apt@2.6.1?arch=amd64&distro=debian-12.1',
    severity: 'Low',
    description:
      'It was found that apt-key in apt, all versions, do not correctly validate gpg keys with the master keyring.',
    links: ['https://avd.aquasec.com/nvd/cve-2011-3374'],
    layer: LAYER,
    cwe_ids: ['CWE-347'],
    vendor_attributes: {},
  },
  {
    id: 'TEMP-0841856-B18BAF',
    package: 'bash',
    version: '5.2.15-2+b2',
    status: 'affected',
    purl: 'pkg:deb/debian/bash@5.2.15-2%2Bb2?arch=amd64&distro=debian-12.1',
    severity: 'Unknown',
    description: '[Privilege escalation possible to other user than root]',
    links: ['https://security-tracker.debian.org/tracker/TEMP-0841856-B18BAF'],
    layer: LAYER,
    vendor_attributes: {},
  },
];

export const TRIVY: AdapterForm = {
  name: 'Trivy',
  reportType: REPORT,
  wrongTypeStatus: 415,
  scanResponseType: 'application/vnd.scanner.adapter.scan.response+json; version=1.0',
  metadata: {
    scanner: SCANNER,
    capabilities: [
      { type: 'vulnerability', consumes_mime_types: [OCI, DOCKER], produces_mime_types: [REPORT] },
      {
        type: 'sbom',
        consumes_mime_types: [OCI, DOCKER],
        produces_mime_types: [SBOM],
        additional_attributes: {
          sbom_media_types: ['application/spdx+json', 'application/vnd.cyclonedx+json'],
        },
      },
    ],
    properties: {
      'env.SCANNER_TRIVY_DEBUG_MODE': 'false',
      'env.SCANNER_TRIVY_IGNORE_UNFIXED': 'false',
      'env.SCANNER_TRIVY_OFFLINE_SCAN': 'true',
      'env.SCANNER_TRIVY_SEVERITY': 'UNKNOWN,LOW,MEDIUM,HIGH,CRITICAL',
      'env.SCANNER_TRIVY_TIMEOUT': '5m0s',
      'env.SCANNER_TRIVY_VULN_TYPE': 'os,library',
      'harbor.scanner-adapter/scanner-type': 'os-package-vulnerability',
      'harbor.scanner-adapter/vulnerability-database-next-update-at': '2029-12-31T12:16:33Z',
      'harbor.scanner-adapter/vulnerability-database-updated-at': '2029-12-31T06:16:33Z',
      'harbor.scanner-adapter/vulnerability-java-database-next-update-at': '2030-01-03T01:05:12Z',
      'org.label-schema.vcs': 'https://github.com/aquasecurity/harbor-scanner-trivy',
    },
  },
  report: (subject) => ({
    generated_at: '2030-01-01T00:00:05.49072885592Z',
    artifact: { ...subject, mime_type: OCI },
    scanner: SCANNER,
    severity: 'Critical',
    vulnerabilities: FINDINGS,
  }),
  cleanReport: (subject) => ({
    generated_at: '2030-01-01T00:00:05.49072885592Z',
    artifact: { ...subject, mime_type: OCI },
    scanner: SCANNER,
  }),
  refusal: ({ body: { registry, artifact, enabled_capabilities: capabilities = [] } }) => {
    for (const { type, produces_mime_types: types = [], parameters } of capabilities) {
      if (types.length === 0) {
        return { status: 400, message: '"enabled_capabilities.produces_mime_types" is missing"' };
      }
      if (type !== 'vulnerability' && type !== 'sbom') {
        return { status: 422, message: 'invalid scan type' };
      }
      if (type === 'sbom' && !parameters?.sbom_media_types?.length) {
        return { status: 422, message: 'missing SBOM media type' };
      }
    }
    if (!URL.canParse(registry?.url ?? '')) return { status: 422, message: 'invalid registry.url' };
    if (!artifact?.repository) return { status: 422, message: 'missing artifact.repository' };
    if (!artifact.digest) return { status: 422, message: 'missing artifact.digest' };
    return undefined;
  },
  pending: (path) => ({ location: path }),
};
