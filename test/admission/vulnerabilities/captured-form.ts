import { readFileSync } from 'node:fs';
import type { ScanSubject } from '../../../src/admission/vulnerabilities/report.ts';
import type { AdapterForm } from './adapter-form.ts';

/** What an adapter answered, byte for byte about the image of the scene; fixtures/scanners tells how it was asked. */
export function capturedForm(
  name: string,
): Pick<AdapterForm, 'metadata' | 'report' | 'cleanReport'> {
  return {
    metadata: JSON.parse(fixture(`${name}-adapter-metadata`)) as object,
    report: (subject) => about(fixture(`${name}-adapter`), subject),
    cleanReport: (subject) => about(fixture(`${name}-adapter-clean`), subject),
  };
}

function about(report: string, { repository, digest }: ScanSubject): string {
  const { artifact } = JSON.parse(report) as { readonly artifact: ScanSubject };
  return report
    .replace(`"repository":"${artifact.repository}"`, `"repository":"${repository}"`)
    .replace(`"digest":"${artifact.digest}"`, `"digest":"${digest}"`);
}

function fixture(name: string): string {
  return readFileSync(new URL(`../fixtures/scanners/${name}.json`, import.meta.url), 'utf8');
}
