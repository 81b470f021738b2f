/**
 * Trivy's adapter, github.com/goharbor/harbor-scanner-trivy (before it aquasecurity/harbor-scanner-trivy): its
 * metadata and reports are captured. Refusals are written by hand from `pkg/http/api/v1/handler.go`. It
 * leaves out (`omitempty`) findings and severity where nothing is found, and sends no `Refresh-After`. Its
 * one link is the primary one.
 */
import type { AdapterForm } from './adapter-form.ts';
import { capturedForm } from './captured-form.ts';

export const TRIVY: AdapterForm = {
  ...capturedForm('trivy'),
  name: 'Trivy',
  reportType: 'application/vnd.security.vulnerability.report; version=1.1',
  wrongTypeStatus: 415,
  scanResponseType: 'application/vnd.scanner.adapter.scan.response+json; version=1.0',
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
