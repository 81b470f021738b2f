import type { SyncConfig } from '../../src/config/sync-schema.ts';
import type { SyncRule } from '../../src/config/sync-rule-schema.ts';
import type { TagSelection } from '../../src/config/tag-selection-schema.ts';
import { HOUR } from '../helpers/clock.ts';
import { UPSTREAM } from '../helpers/scene.ts';

export type RuleOptions = Partial<Omit<SyncRule, 'tags'>> & {
  readonly tags?: Partial<TagSelection>;
};

/** A rule with the defaults of the configuration, without referrers unless a test is about them. */
export function rule(image: string, { tags, ...rest }: RuleOptions = {}): SyncRule {
  return {
    path: 'sync.rules[0]',
    image: `${UPSTREAM}/${image}`,
    tags: { names: [], globs: [], regexes: [], exclude: [], ...tags },
    digests: [],
    platforms: 'all',
    referrers: false,
    priority: 0,
    freshMs: 24 * HOUR,
    removed: 'keep',
    ...rest,
  };
}

/** Rules under the paths that they would have in the configuration. */
export function syncConfig(
  rules: readonly SyncRule[],
  options: Partial<SyncConfig> = {},
): SyncConfig {
  return {
    rules: rules.map((each, position) => ({ ...each, path: `sync.rules[${position}]` })),
    schedule: '0 * * * *',
    timezone: 'UTC',
    windows: [],
    jitterMs: 0,
    concurrency: 2,
    releaseShare: 1,
    ...options,
  };
}
