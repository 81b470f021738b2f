import type { IncomingHttpHeaders } from 'node:http';

/** A mirror's answer from a copy that its own upstream did not confirm. */
export interface ParentCopy {
  /** Since it was last confirmed. */
  readonly ageMs: number;
  /** In the mirror's own words. */
  readonly warning: string;
}

/** RFC 9211, as this mirror writes it itself. */
const STALE = /(?:^|,)\s*entrepot\s*;\s*hit\s*;\s*detail=stale\s*(?:$|,)/;
/** The spec's one form of a warning. */
const WARNING = /^299 - "((?:[^"\\]|\\.)*)"/;

/**
 * What the upstream says of its answer when it is such a mirror and could not ask; `undefined` when
 * the answer is the registry's own, or one that the mirror holds to be fresh.
 */
export function parentCopy(headers: IncomingHttpHeaders): ParentCopy | undefined {
  const status = headers['cache-status'];
  if (typeof status !== 'string' || !STALE.test(status)) return undefined;
  const text = WARNING.exec(headers['warning'] ?? '')?.[1] ?? 'its copy is not confirmed';
  const seconds = /^\d{1,12}$/.exec(headers.age ?? '')?.[0];
  return { ageMs: Number(seconds ?? 0) * 1000, warning: text.replaceAll(/\\(.)/g, '$1') };
}
