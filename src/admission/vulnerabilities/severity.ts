import { SEVERITIES } from '../../config/vulnerabilities-schema.ts';

/**
 * Of the scale of Harbor's scanner API. Harbor, Trivy and Grype all compare `unknown` as the least: what nobody
 * has rated yet is common, and mostly harmless.
 */
export type Severity = (typeof SEVERITIES)[number];

/** Beside the scale, of what has no finding. */
const NOTHING: ReadonlySet<string> = new Set(['', 'none']);

/**
 * A severity as adapters write it. No word is `unknown`; a word that is none of the scale is `critical`, as in
 * Harbor: whoever does not understand a scanner does not think the best of it.
 */
export function parseSeverity(word: unknown): Severity {
  if (word === undefined || word === null) return 'unknown';
  if (typeof word !== 'string') return 'critical';
  const text = word.trim().toLowerCase();
  if (NOTHING.has(text)) return 'unknown';
  return SEVERITIES.find((severity) => severity === text) ?? 'critical';
}

export function isAbove(severity: Severity, line: Severity): boolean {
  return SEVERITIES.indexOf(severity) > SEVERITIES.indexOf(line);
}

/** `unknown` of none. */
export function worstOf(severities: readonly Severity[]): Severity {
  return SEVERITIES.findLast((severity) => severities.includes(severity)) ?? 'unknown';
}
