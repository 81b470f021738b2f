import type { Verb } from '../access/rules.ts';
import type { RequestKind } from './request-record.ts';

/** What stands in a path behind the name of a repository, and which right to it rules are asked for. */
export const CONTENT_ROUTES = {
  manifests: { kind: 'manifest', verb: 'pull' },
  blobs: { kind: 'blob', verb: 'pull' },
  tags: { kind: 'tags', verb: 'list' },
  referrers: { kind: 'referrers', verb: 'pull' },
} as const satisfies Readonly<Record<string, { kind: RequestKind; verb: Verb }>>;
