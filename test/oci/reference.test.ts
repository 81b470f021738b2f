import test from 'ava';
import * as fc from 'fast-check';
import { digestOf } from '../../src/oci/digest.ts';
import { RegistryError, type ErrorCode } from '../../src/oci/errors.ts';
import {
  formatTarget,
  isDigestReference,
  parseReference,
  parseRepository,
  isTargetName,
  parseTag,
  splitTarget,
} from '../../src/oci/reference.ts';

const component = fc.stringMatching(/^[a-z0-9]{1,8}((\.|_|__|-{1,3})[a-z0-9]{1,8}){0,3}$/);
const repository = fc
  .array(component, { minLength: 1, maxLength: 5 })
  .map((components) => components.join('/'))
  .filter((name) => name.length <= 255);
const tag = fc.stringMatching(/^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/);
const digest = fc
  .tuple(fc.uint8Array(), fc.constantFrom('sha256', 'sha512'))
  .map(([bytes, algorithm]) => digestOf(bytes, algorithm));

test('every name of the grammar is a repository', (t) => {
  fc.assert(fc.property(repository, (name) => parseRepository(name) === name));
  t.pass();
});

test('every tag and every digest is a reference, and each is told from the other', (t) => {
  fc.assert(
    fc.property(tag, (text) => {
      const reference = parseReference(text);
      return reference === text && parseTag(text) === text && !isDigestReference(reference);
    }),
  );
  fc.assert(
    fc.property(digest, (text) => {
      const reference = parseReference(text);
      return reference === text && isDigestReference(reference);
    }),
  );
  t.pass();
});

test('formatting a target and taking it apart again are inverse', (t) => {
  const upstream = fc.constantFrom('docker.io', 'ghcr.io', 'reg.example:5000', 'localhost');
  fc.assert(
    fc.property(upstream, repository, (name, path) => {
      const text = formatTarget({ upstream: name, repository: parseRepository(path) });
      const { upstream, repository } = splitTarget(text);
      return isTargetName(text) && upstream === name && repository === path;
    }),
  );
  t.pass();
});

function codeOf(work: () => unknown): ErrorCode | undefined {
  try {
    work();
    return undefined;
  } catch (error) {
    if (error instanceof RegistryError) return error.code;
    throw error;
  }
}

const okRepository = test.macro<[string]>({
  exec: (t, text: string) => t.is<string, string>(parseRepository(text), text),
  title: (_, text) => `a repository: ${text.slice(0, 40)}, ${text.length} characters`,
});

for (const text of [
  'a',
  '0',
  'library/nginx',
  'a/b/c/d/e/f/g',
  'a.b',
  'a_b',
  'a__b',
  'a-b',
  'a--b',
  'a---------b',
  'manifests/blobs/tags/list',
  'v2/v2',
  'a'.repeat(255),
  `${'a/'.repeat(127)}a`,
]) {
  test(okRepository, text);
}

const badRepository = test.macro<[string]>({
  exec: (t, text: string) =>
    t.is(
      codeOf(() => parseRepository(text)),
      'NAME_INVALID',
    ),
  title: (_, text) =>
    `no repository: ${JSON.stringify(text).slice(0, 40)}, ${text.length} characters`,
});

for (const text of [
  '',
  '/',
  '/a',
  'a/',
  'a//b',
  'A',
  'aB',
  'a b',
  ' a',
  'a\n',
  'a\0',
  '.a',
  'a.',
  'a..b',
  '-a',
  'a-',
  '_a',
  'a_',
  'a___b',
  'a._b',
  'a.-b',
  'a_-b',
  'a:b',
  'a@b',
  'é',
  'ａ',
  '..',
  '../a',
  'a/../b',
  'a/.',
  'a%2fb',
  'a'.repeat(256),
  'a-'.repeat(200_000),
]) {
  test(badRepository, text);
}

const okTag = test.macro<[string]>({
  exec: (t, text: string) => t.is<string, string>(parseTag(text), text),
  title: (_, text) => `a tag: ${text.slice(0, 40)}, ${text.length} characters`,
});

for (const text of [
  'a',
  '_',
  '1',
  'v1.2.3-rc.1_x',
  'latest',
  'A'.repeat(128),
  '__',
  'a..b',
  'a.',
]) {
  test(okTag, text);
}

const badTag = test.macro<[string]>({
  exec: (t, text: string) => {
    t.is(
      codeOf(() => parseTag(text)),
      'TAG_INVALID',
    );
    t.truthy(codeOf(() => parseReference(text)));
  },
  title: (_, text) => `no tag: ${JSON.stringify(text).slice(0, 40)}, ${text.length} characters`,
});

for (const text of [
  '',
  '.',
  '..',
  '.a',
  '-a',
  'a/b',
  'a b',
  'a\n',
  'a:b',
  'a+b',
  'é',
  'A'.repeat(129),
]) {
  test(badTag, text);
}

test('whatever has a colon in the place of a reference is a digest, right or wrong', (t) => {
  for (const text of [':', 'a:b', 'latest:', 'sha256:x', `sha256:${'A'.repeat(64)}`]) {
    t.is(
      codeOf(() => parseReference(text)),
      'DIGEST_INVALID',
      text,
    );
  }
});

test('any text is a name of its kind or the error of its kind, in short time and few words', (t) => {
  fc.assert(
    fc.property(fc.string({ maxLength: 2000 }), (text) => {
      for (const [parse, code] of [
        [parseRepository, 'NAME_INVALID'],
        [parseTag, 'TAG_INVALID'],
      ] as const) {
        try {
          if (parse(text) !== text) return false;
        } catch (error) {
          if (!(error instanceof RegistryError) || error.code !== code) return false;
        }
      }
      return true;
    }),
  );
  t.pass();
});
