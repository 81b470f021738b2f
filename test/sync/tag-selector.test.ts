import { readFileSync } from 'node:fs';
import test, { type ExecutionContext } from 'ava';
import * as fc from 'fast-check';
import { parseGlob } from '../../src/config/glob.ts';
import type { TagSelection } from '../../src/config/tag-selection-schema.ts';
import { parseTag, type Tag } from '../../src/oci/reference.ts';
import { TagSelector } from '../../sync/tag-selector.ts';

const NOTHING: TagSelection = { names: [], globs: [], regexes: [], exclude: [] };
type Repository = 'node' | 'postgres' | 'alpine' | 'kube-proxy' | 'app';

function readTags(repository: Repository): Tag[] {
  const url = new URL(`../corpus/tags/${repository}.json`, import.meta.url);
  return (JSON.parse(readFileSync(url, 'utf8')) as string[]).map(parseTag);
}

function selectionOf(parts: Partial<TagSelection>): TagSelector {
  return new TagSelector({ ...NOTHING, ...parts });
}

const selects = test.macro({
  exec: (
    t: ExecutionContext,
    repository: Repository,
    parts: Partial<TagSelection>,
    expected: readonly string[],
  ) => {
    const { selected, needsCreated } = selectionOf(parts).select(readTags(repository));
    t.deepEqual<readonly string[], readonly string[]>(selected, expected);
    t.deepEqual(needsCreated, []);
  },
  title: (_, repository, parts) => `${repository}: ${JSON.stringify(parts)}`,
});

function newest(count: number, by: 'semver' | 'created' = 'semver') {
  return { count, by };
}

test(selects, 'node', { semver: '>=20 <23' }, [
  '20.10.0',
  '20.17.0',
  '20.18.0',
  '20.18.1',
  '20.9.0',
  '21.7.3',
  '22.10.0',
  '22.11.0',
  '22.9.0',
]);
test(selects, 'node', { newest: newest(3) }, ['22.11.0', '23.2.0', '23.3.0']);
test(
  selects,
  'node',
  {
    names: ['lts'],
    regexes: ['^(?<version>\\d+\\.\\d+\\.\\d+)-alpine$'],
    semver: '>=20 <23',
    newest: newest(3),
  },
  ['22.10.0-alpine', '22.11.0-alpine', '22.9.0-alpine', 'lts'],
);
test(selects, 'node', { globs: ['22.*-alpine'], newest: newest(2) }, [
  '22.11.0-alpine',
  '22.12.0-rc.1-alpine',
]);
test(selects, 'node', { globs: ['22-*'], exclude: ['*-bullseye*'] }, [
  '22-alpine',
  '22-alpine3.19',
  '22-alpine3.20',
  '22-bookworm',
  '22-bookworm-slim',
  '22-slim',
]);
test(selects, 'node', { globs: ['{lts,current}*'], exclude: ['*-*'] }, ['current', 'lts']);
test(selects, 'node', { globs: ['2[02]', '2?.1*.0'] }, [
  '20',
  '20.10.0',
  '20.17.0',
  '20.18.0',
  '22',
  '22.10.0',
  '22.11.0',
]);
test(selects, 'node', { semver: '>=23.0.0-0 <23.1' }, ['23.0.0-rc.1']);
test(selects, 'postgres', { newest: newest(3) }, ['9.6.24', '9.6.24-alpine']);
test(selects, 'postgres', { regexes: ['^(?<version>\\d+\\.\\d+)$'], newest: newest(3) }, [
  '17.0',
  '17.1',
  '17.2',
]);
test(selects, 'postgres', { regexes: ['^(?<version>1[67]\\.\\d+)-alpine$'], semver: '>=16.5' }, [
  '16.5-alpine',
  '16.6-alpine',
  '17.0-alpine',
  '17.1-alpine',
  '17.2-alpine',
]);
test(selects, 'postgres', { regexes: ['^(?<version>\\d+(?:beta|rc)\\d+)$'], newest: newest(2) }, [
  '17rc1',
  '18beta1',
]);
test(
  selects,
  'postgres',
  { regexes: ['^(?<version>\\d+)$', '^(?<version>\\d+)-bookworm$'], semver: '>=16' },
  ['16', '16-bookworm', '17', '17-bookworm'],
);
test(selects, 'alpine', { semver: '3.x', newest: newest(4) }, [
  '3.20.4',
  '3.21.0',
  '3.21.1',
  '3.21.2',
]);
test(selects, 'alpine', { regexes: ['^(?<version>\\d+\\.\\d+)$'], newest: newest(3) }, [
  '3.19',
  '3.20',
  '3.21',
]);
test(selects, 'alpine', { regexes: ['^(?<version>20\\d{6})$'], newest: newest(3) }, [
  '20260115',
  '20260201',
  '20260215',
]);
test(selects, 'alpine', { globs: ['3.21*'] }, ['3.21', '3.21.0', '3.21.0_rc1', '3.21.1', '3.21.2']);
test(selects, 'alpine', { names: ['edge'], semver: '>=3.20', newest: newest(2) }, [
  '3.21.1',
  '3.21.2',
  'edge',
]);
test(selects, 'kube-proxy', { semver: '>=1.31' }, [
  'v1.31.0',
  'v1.31.1',
  'v1.31.2',
  'v1.31.3',
  'v1.31.4',
  'v1.32.0',
  'v1.32.1',
]);
test(selects, 'kube-proxy', { newest: newest(3) }, ['v1.31.4', 'v1.32.0', 'v1.32.1']);
test(selects, 'kube-proxy', { globs: ['v1.33.*'], newest: newest(3) }, [
  'v1.33.0-alpha.10',
  'v1.33.0-alpha.2',
  'v1.33.0-beta.0',
]);
test(selects, 'kube-proxy', { semver: '>=1.33.0-alpha.2' }, [
  'v1.33.0-alpha.10',
  'v1.33.0-alpha.2',
  'v1.33.0-beta.0',
]);
test(selects, 'kube-proxy', { semver: '~1.30.6 || 1.29.12' }, [
  'v1.29.12',
  'v1.30.6',
  'v1.30.7',
  'v1.30.8',
]);
test(selects, 'kube-proxy', { globs: ['v1.32.*'], exclude: ['*-alpha*', '*-beta*'] }, [
  'v1.32.0',
  'v1.32.0-rc.0',
  'v1.32.0-rc.1',
  'v1.32.0-rc.2',
  'v1.32.1',
]);
test(selects, 'kube-proxy', { globs: ['sha256*', '*.sig'] }, []);
test(selects, 'app', { semver: '>=1.4 <2' }, [
  '1.4.0',
  '1.4.1',
  '1.5.0',
  '1.5.0_build.10',
  '1.5.0_build.9',
  '1.5.1_20260901',
  '1.6.0_build.1',
  'v1.5.0',
]);
test(selects, 'app', { semver: '>=1.4 <3', newest: newest(6) }, [
  '1.5.0_build.10',
  '1.5.0_build.9',
  '1.5.1_20260901',
  '1.6.0_build.1',
  '2.0.0',
  '2.0.0_1',
]);
test(selects, 'app', { globs: ['1.*', '2.0*', '3.*'], newest: newest(20) }, [
  '1.4.0',
  '1.4.1',
  '1.5.0',
  '1.5.0_build.10',
  '1.5.0_build.9',
  '1.5.1_20260901',
  '1.6.0-rc.1',
  '1.6.0-rc.10',
  '1.6.0-rc.2',
  '1.6.0_build.1',
  '2.0.0',
  '2.0.0-beta1',
  '2.0.0-k3s1',
  '2.0.0_1',
  '3.0.0a2',
  '3.0.0rc1',
]);
test(selects, 'app', { globs: ['2026.*'], newest: newest(2) }, ['2026.11.15', '2026.11.22']);
test(selects, 'app', { regexes: ['^nightly-(?<version>\\d+)$'], newest: newest(2) }, [
  'nightly-20261127',
  'nightly-20261128',
]);
test(selects, 'app', { regexes: ['^1\\.5'] }, [
  '1.5.0',
  '1.5.0_build.10',
  '1.5.0_build.9',
  '1.5.1_20260901',
]);
test(selects, 'app', { exclude: ['sha-*', '*[0-9a-f][0-9a-f][0-9a-f][0-9a-f]*', '2026*'] }, [
  '01.02.03',
  '1.0.0-alpha..1',
  '1.2.3-',
  '1.4.0',
  '1.4.1',
  '1.5.0',
  '1.5.0_build.10',
  '1.5.0_build.9',
  '1.6.0-rc.1',
  '1.6.0-rc.10',
  '1.6.0-rc.2',
  '1.6.0_build.1',
  '2',
  '2.0.0',
  '2.0.0-beta1',
  '2.0.0-k3s1',
  '2.0.0_1',
  '2.1',
  '2.1.0.4',
  '3.0.0a2',
  '3.0.0rc1',
  'V9.9.9',
  'develop',
  'feature_login',
  'latest',
  'main',
  'nightly',
  'release-2.4',
  'renovate-major',
  'v1.5.0',
]);
test(selects, 'app', { semver: '*' }, [
  '01.02.03',
  '1.4.0',
  '1.4.1',
  '1.5.0',
  '1.5.0_build.10',
  '1.5.0_build.9',
  '1.5.1_20260901',
  '1.6.0_build.1',
  '2.0.0',
  '2.0.0_1',
  '2026.09.01',
  '2026.09.08',
  '2026.09.15',
  '2026.09.22',
  '2026.10.01',
  '2026.10.08',
  '2026.10.15',
  '2026.10.22',
  '2026.11.01',
  '2026.11.08',
  '2026.11.15',
  '2026.11.22',
  'v1.5.0',
]);

// Two steps by creation

const BUILT = ['22-slim', '22-alpine', '22-bookworm', '22-bullseye'].map(parseTag);

function times(...built: readonly [string, number][]): Map<Tag, number> {
  return new Map(built.map(([tag, at]) => [parseTag(tag), at]));
}

test('newest by creation first asks for the times of what matches, and then takes the latest', (t) => {
  const selection = selectionOf({
    names: ['lts'],
    globs: ['22-*'],
    exclude: ['*-slim', '22-alpine?*', '22-b*-*'],
    newest: newest(2, 'created'),
  });
  const tags = readTags('node');
  t.deepEqual<object, object>(selection.select(tags), {
    selected: ['lts'],
    needsCreated: ['22-alpine', '22-bookworm', '22-bullseye'],
  });
  const createdAt = times(
    ['22-alpine', 10],
    ['22-bookworm', 30],
    ['22-bullseye', 20],
    ['22-slim', 40],
  );
  t.deepEqual<object, object>(selection.select(tags, createdAt), {
    selected: ['22-bookworm', '22-bullseye', 'lts'],
    needsCreated: [],
  });
});

test('no time is asked for where all that match are taken anyway', (t) => {
  const selection = selectionOf({ newest: newest(4, 'created') });
  t.deepEqual<object, object>(selection.select(BUILT), {
    selected: ['22-alpine', '22-bookworm', '22-bullseye', '22-slim'],
    needsCreated: [],
  });
});

test('of equal times the longer tag counts as newer, and a tag without a time as the oldest', (t) => {
  const createdAt = times(['1', 5], ['1.27', 5], ['1.27.3', 5], ['0.9', -5]);
  const tags = ['1', '1.27', '1.27.3', '0.9', 'a-tag-without-a-time'].map(parseTag);
  const take = (count: number) =>
    selectionOf({ newest: newest(count, 'created') }).select(tags, createdAt).selected;
  t.deepEqual<readonly string[], string[]>(take(1), ['1.27.3']);
  t.deepEqual<readonly string[], string[]>(take(2), ['1.27', '1.27.3']);
  t.deepEqual<readonly string[], string[]>(take(4), ['0.9', '1', '1.27', '1.27.3']);
});

// What a rule says without the list

test('a rule that only names tags needs no list', (t) => {
  t.false(selectionOf({ names: ['lts'] }).needsList);
  t.false(selectionOf({ names: ['lts'], exclude: ['*-rc*'] }).needsList);
  for (const parts of [{ globs: ['*'] }, { regexes: ['.'] }, { semver: '*' }, { exclude: ['x'] }]) {
    t.true(selectionOf(parts).needsList);
    t.true(selectionOf({ ...parts, names: ['lts'] }).needsList || 'exclude' in parts);
  }
  t.true(selectionOf({ newest: newest(1) }).needsList);
});

test('a named tag is wanted whether it is listed or not, matches or not, once', (t) => {
  const selection = selectionOf({ names: ['gone', '22', 'lts'], globs: ['22'], semver: '>=90' });
  t.deepEqual<object, object>(selection.select(readTags('node')).selected, ['22', 'gone', 'lts']);
  t.deepEqual<object, object>(selection.select([]).selected, ['22', 'gone', 'lts']);
});

// Bounded, whatever the pattern

test('patterns over which backtracking would never end, on 1,000 tags of full length', (t) => {
  const tail = (position: number) => String(position).padStart(4, '0');
  const tags = Array.from({ length: 1000 }, (_, position) =>
    parseTag(`${'a'.repeat(124)}${tail(position)}`),
  );
  const regexes = ['^(a|aa)+$', '(?<version>(?:a|aa)+)[b-z]', '^(?:.*a){20}_$'];
  const globs = [`${'*a'.repeat(30)}_`, `${'{a,aa}'.repeat(30)}_`, '*a*a*a*a*a*a*a*0007'];
  const { selected } = selectionOf({ regexes, globs, exclude: [`${'*a'.repeat(30)}*_`] }).select(
    tags,
  );
  t.deepEqual(selected, [tags[7]]);
});

// Properties

const LISTS = ['node', 'postgres', 'alpine', 'kube-proxy', 'app'] as const;
const ALL = [...new Set(LISTS.flatMap(readTags))];
const glob = fc.constantFrom(
  '*',
  '2*',
  'v1.3?.*',
  '*-alpine*',
  '*-rc*',
  '[0-9]*',
  '{3,16}*',
  '*_*',
);
const regex = fc.constantFrom(
  '^(?<version>\\d+\\.\\d+)$',
  '^(?<version>.+)-alpine$',
  '^v',
  '(?<version>\\d{8})',
);
const named = fc.constantFrom('latest', 'lts', '22-alpine', 'v1.30.1', 'no-such-tag');
const anySelection = fc
  .record(
    {
      names: fc.uniqueArray(named),
      globs: fc.array(glob, { maxLength: 3 }),
      regexes: fc.array(regex, { maxLength: 3 }),
      exclude: fc.array(glob, { maxLength: 2 }),
      semver: fc.constantFrom('*', '>=20 <23', '>=1.31.0-0', '3.x || 16.x'),
      newest: fc.record({
        count: fc.integer({ min: 1, max: 9 }),
        by: fc.constantFrom('semver', 'created'),
      }),
    },
    { requiredKeys: ['names', 'globs', 'regexes', 'exclude'] },
  )
  // The configuration refuses a name that is excluded.
  .map((parts) => ({
    ...parts,
    exclude: parts.exclude.filter(
      (text) => !parts.names.some((tag) => parseGlob(text).matches(tag)),
    ),
  })) as fc.Arbitrary<TagSelection>;
const someTags = fc.shuffledSubarray(ALL, { maxLength: 400 });
const built = fc
  .array(fc.tuple(fc.constantFrom(...ALL), fc.integer({ min: 0, max: 3 })))
  .map((all) => new Map(all));

test('what is selected does not depend on the order of the list, nor on tags that stand twice', (t) => {
  fc.assert(
    fc.property(anySelection, someTags, built, (parts, tags, createdAt) => {
      const selection = new TagSelector(parts);
      const other = [...tags, ...tags].toSorted();
      t.deepEqual(selection.select(tags), selection.select(other));
      t.deepEqual(selection.select(tags, createdAt), selection.select(other, createdAt));
    }),
    { numRuns: 60 },
  );
});

test('names are always selected, what is excluded never, and of the rest at most the newest', (t) => {
  fc.assert(
    fc.property(anySelection, someTags, built, (parts, tags, createdAt) => {
      const { selected, needsCreated } = new TagSelector(parts).select(tags, createdAt);
      t.deepEqual(needsCreated, []);
      t.deepEqual(
        parts.names.filter((tag) => !selected.includes(parseTag(tag))),
        [],
      );
      const excluded = parts.exclude.map(parseGlob);
      t.deepEqual(
        selected.filter((tag) => excluded.some((pattern) => pattern.matches(tag))),
        [],
      );
      const others = selected.filter((tag) => !parts.names.includes(tag));
      t.true(others.length <= (parts.newest?.count ?? tags.length));
      t.deepEqual(
        others.filter((tag) => !tags.includes(tag)),
        [],
      );
    }),
    { numRuns: 60 },
  );
});
