import type { AdmissionRuleReport } from '../../src/api/admission-api.ts';

const MAX_LINES = 8;
const LINE = /^[\x20-\x7e]{1,300}$/;

/**
 * What the rules of the mirror that makes a bundle found of an image, for people at the site: by whom it is signed,
 * and what else was asked. A site judges anew; nothing is admitted by it. 8 lines of 300 characters at most.
 */
export function adviseOn(rules: readonly AdmissionRuleReport[]): readonly string[] | undefined {
  const lines = new Set<string>();
  for (const { outcome, conditions } of rules) {
    if (outcome !== 'admitted') continue;
    for (const { asks, signatures = [] } of conditions) {
      const by = signatures.find(({ counts }) => counts);
      const whom =
        by?.key ?? (by?.issuer === undefined ? by?.identity : `${by.identity} of ${by.issuer}`);
      lines.add(whom === undefined ? asks : `${asks} ${whom}`);
    }
  }
  const sound = [...lines].filter((line) => LINE.test(line)).slice(0, MAX_LINES);
  return sound.length === 0 ? undefined : sound;
}

/** Whether another mirror may have written it. */
export function isAdvice(advice: unknown): boolean {
  if (advice === undefined) return true;
  if (!Array.isArray(advice) || advice.length === 0 || advice.length > MAX_LINES) return false;
  return advice.every((line) => typeof line === 'string' && LINE.test(line));
}
