import { matchesGlob } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import * as fc from 'fast-check';
import { parseGlob, parseGlobs, parseTagGlob } from '../../src/config/glob.ts';

const matches = test.macro({
  exec(t: ExecutionContext, glob: string, yes: readonly string[], no: readonly string[]) {
    const pattern = parseGlob(glob);
    t.deepEqual(
      [...yes, ...no].filter((text) => pattern.matches(text)),
      yes,
    );
  },
  title: (_, glob) => `the pattern ${glob}`,
});

test(matches, '*', ['a', '22-alpine', '.a', '_x'], ['a/b']);
test(matches, '22-*', ['22-alpine', '22-'], ['22', '122-alpine', '22.1-alpine']);
test(matches, '1.2?', ['1.25'], ['1.2', '1.2.5', '1x25', '1.2/']);
test(matches, '**', ['a', 'a/b', 'a/b/c'], []);
test(matches, 'org/**', ['org', 'org/a', 'org/a/b'], ['organ', 'other/org/a']);
test(matches, '**/app', ['app', 'org/app', 'a/b/app'], ['happ', 'org/happ', 'app/x']);
test(matches, 'org/**/app', ['org/app', 'org/a/app', 'org/a/b/app'], ['orgapp', 'org/aapp', 'app']);
test(matches, '{org/**,a}/x', ['org/x', 'org/b/x', 'a/x'], ['a/b/x', 'x']);
test(matches, '{**/b,c}', ['b', 'a/b', 'c'], ['ab', 'a/c']);
test(matches, 'team**', ['team', 'team-a', 'team-a/b'], ['a/team']);
test(
  matches,
  'ghcr.io/*',
  ['ghcr.io/a'],
  ['ghcr.io', 'ghcr.io/a/b', 'ghcr.io/a/b:v1', 'ghcrxio/a'],
);
test(
  matches,
  'ghcr.io/org/*:v1',
  ['ghcr.io/org/a:v1'],
  ['ghcr.io/org/a:v12', 'ghcr.io/org/a/b:v1'],
);
test(
  matches,
  'docker.io/**:1.*',
  ['docker.io/library/nginx:1.27', 'docker.io/a:1.'],
  ['docker.io/library/nginx:11', 'docker.io/library/nginx', 'ghcr.io/docker.io/a:1.2'],
);
test(
  matches,
  '*/org/app@sha256:*',
  ['ghcr.io/org/app@sha256:ab'],
  ['ghcr.io/org/app:v1', 'org/app@sha256:ab'],
);
test(
  matches,
  'reg.example:5000/a',
  ['reg.example:5000/a'],
  ['reg.example:5000/ab', 'regxexample:5000/a'],
);
test(matches, 'org/*', ['org/a'], ['org', 'org/a/b', 'org/a/']);
test(matches, 'v[0-9]*', ['v1', 'v1.2'], ['v', 'vx']);
test(matches, 'a[!b-d]', ['aa', 'ae'], ['ab', 'ad', 'a', 'a/']);
test(matches, 'a[^b-d]', ['aa', 'ae'], ['ab', 'a/']);
test(matches, 'a[.^-]', ['a.', 'a^', 'a-'], ['ax']);
test(matches, '{3,3.*}-{alpine,slim}', ['3-slim', '3.1-alpine'], ['3-', '31-slim', '3.1']);
test(matches, '{a,{b,c}x}', ['a', 'bx', 'cx'], ['b', 'ax']);
test(matches, 'sha256-a.sig', ['sha256-a.sig'], ['sha256-axsig']);

const IMMUTABLE: [glob: string, repository: string, tag: string, isMeant: boolean][] = [
  ['*:v[0-9]*', 'library/app', 'v1.2', true],
  ['*:v[0-9]*', 'a/b/c', 'v1', true],
  ['*:v[0-9]*', 'app', 'v', false],
  ['v[0-9]*', 'library/app', 'v1', true],
  ['library/*:1.*', 'library/app', '1.2', true],
  ['library/*:1.*', 'library/a/b', '1.2', false],
  ['library/**:1.*', 'library/a/b', '1.2', true],
];

test('a pattern of repository and tag has a glob on each side', (t) => {
  for (const [glob, repository, tag, isMeant] of IMMUTABLE) {
    t.is(parseTagGlob(glob)(repository, tag), isMeant, `${glob} ${repository}:${tag}`);
  }
});

test('of several patterns one has to match, and of none nothing does', (t) => {
  for (const [globs, yes] of [
    [
      ['library/*', 'org/**'],
      ['library/a', 'org/a/b'],
    ],
    [['**'], ['library/a', 'org/a/b', 'other']],
    [[], []],
  ]) {
    t.deepEqual(['library/a', 'org/a/b', 'other'].filter(parseGlobs(globs!)), yes!);
  }
});

test('what no name has, and what is left open, is refused', (t) => {
  for (const glob of [
    '',
    '[',
    'a b',
    '!a',
    '(a|b)',
    'a+',
    '\\*',
    '{a',
    'a}',
    'a,b',
    '[b-a]',
    'a'.repeat(256),
  ]) {
    t.throws(() => parseGlob(glob), { name: 'ConfigError' }, glob);
    t.throws(() => parseGlobs(['**', glob]), { name: 'ConfigError' }, glob);
    t.throws(() => parseTagGlob(`${glob}:v1`), { name: 'ConfigError' }, glob);
  }
});

test('simple patterns mean what they mean elsewhere', (t) => {
  const part = fc.constantFrom('a', 'b', '1', '.', '-', '_', '*', '?', '[ab]', '[^a]', '{a,b1}');
  const glob = fc.array(part, { minLength: 1, maxLength: 6 }).map((parts) => parts.join(''));
  const text = fc.string({ unit: fc.constantFrom('a', 'b', '1', '.', '-', '_'), minLength: 1 });
  fc.assert(
    fc.property(
      glob.filter((pattern) => !/\*\*|\.\.|^\.\*/.test(pattern)),
      text.filter((tag) => !tag.startsWith('.')),
      (pattern, tag) => {
        t.is(parseGlob(pattern).matches(tag), matchesGlob(tag, pattern), `${pattern} ${tag}`);
      },
    ),
    { numRuns: 2000 },
  );
});

test('the steps for one character grow with the length of a pattern and not faster', (t) => {
  const part = fc.constantFrom('a', '*', '**', '/**', '**/', '?', '[a-z]', '{a,b}', '{*a,a*}');
  const glob = fc
    .array(part, { minLength: 1, maxLength: 80 })
    .map((parts) => parts.join(''))
    .filter((text) => text.length <= 255);
  fc.assert(fc.property(glob, (text) => parseGlob(text).size <= 3 * text.length + 10));
  t.pass();
});
