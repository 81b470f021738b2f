import type { Verb } from '../access/rules.ts';
import type { RequestKind } from './request-record.ts';

/** What stands in a path behind the name of a repository, and which right to it rules are asked for. */
export const CONTENT_ROUTES = {
  manifests: { kind: 'manifest', verb: 'pull' },
  blobs: { kind: 'blob', verb: 'pull' },
  tags: { kind: 'tags', verb: 'list' },
  referrers: { kind: 'referrers', verb: 'pull' },
} as const satisfies Readonly<Record<string, { kind: RequestKind; verb: Verb }>>;

export type Content = keyof typeof CONTENT_ROUTES;

/**
 * `/v2/…`, or `/<upstream>/v2/…` as clients ask that put a mirror's path in front. A name may
 * contain the keywords, so it reaches up to the last one.
 */
const CONTENT =
  /^(?:\/(?!v2\/)([^/]+))?\/v2\/(.+)\/(manifests|blobs|tags(?=\/list$)|referrers)\/([^/]+)$/;

/** The parts of a path as the client spelled them; `undefined` for what asks for no content. */
export function parseContentPath(path: string) {
  const [, prefix, name = '', what, reference = ''] = CONTENT.exec(path) ?? [];
  if (what === undefined) return undefined;
  return { prefix, name, what: what as Content, reference };
}
