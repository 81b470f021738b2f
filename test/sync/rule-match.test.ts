import test from 'ava';
import type { SyncRule } from '../../src/config/sync-rule-schema.ts';
import { splitTarget } from '../../src/oci/reference.ts';
import { matchesRepository } from '../../sync/tag-selector.ts';

function ruleFor(image: string): SyncRule {
  return {
    path: 'sync.rules[0]',
    image,
    tags: { names: ['latest'], globs: [], regexes: [], exclude: [] },
    digests: [],
    platforms: 'all',
    referrers: true,
    priority: 0,
    freshMs: 0,
    removed: 'keep',
  };
}

for (const [image, covered, others] of [
  ['ghcr.io/org/app', ['ghcr.io/org/app'], ['ghcr.io/org/app2', 'docker.io/org/app']],
  ['ghcr.io/org/*', ['ghcr.io/org/app'], ['ghcr.io/org/team/app', 'ghcr.io/other/app']],
  ['ghcr.io/org/**', ['ghcr.io/org/app', 'ghcr.io/org/team/app'], ['ghcr.io/other/app']],
  // As the configuration reads it: one character that is none of these.
  ['ghcr.io/org/[!a]pp', ['ghcr.io/org/bpp'], ['ghcr.io/org/app']],
  ['reg.example:5000/{a,b}', ['reg.example:5000/a', 'reg.example:5000/b'], ['reg.example:5000/c']],
] as const) {
  test(`a rule for ${image} covers what its pattern means, and nothing beside it`, (t) => {
    const rule = ruleFor(image);
    const isCovered = (name: string): boolean => matchesRepository(rule, splitTarget(name));
    t.deepEqual([...covered, ...others].filter(isCovered), [...covered]);
  });
}
