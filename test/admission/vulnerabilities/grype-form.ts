/**
 * An adapter for Grype, github.com/ant1freeze/harbor-scanner-grype, which goes back to Trivy's: its metadata
 * and reports are captured. One finding a match, advisories of GitHub by their own name and link alone, a
 * layer that is `null`, and no word about its database.
 */
import type { AdapterForm } from './adapter-form.ts';
import { capturedForm } from './captured-form.ts';
import { TRIVY } from './trivy-form.ts';

export const GRYPE: AdapterForm = { ...TRIVY, ...capturedForm('grype'), name: 'Grype' };
