import test from 'ava';
import * as fc from 'fast-check';
import {
  attachedSubject,
  cosignTags,
  fallbackSubject,
  fallbackTag,
  isAttachedTag,
} from '../../src/oci/cosign.ts';
import { digestOf, parseDigest } from '../../src/oci/digest.ts';
import { parseTag } from '../../src/oci/reference.ts';

const digest = fc
  .tuple(fc.uint8Array(), fc.constantFrom('sha256', 'sha512'))
  .map(([bytes, algorithm]) => digestOf(bytes, algorithm));
const SHORT = parseDigest(`sha256:${'a'.repeat(64)}`);
const LONG = parseDigest(`sha512:${'0123456789abcdef'.repeat(8)}`);

test('the fallback tag is the digest with a dash, cut to what a tag may be', (t) => {
  t.is<string, string>(fallbackTag(SHORT), `sha256-${'a'.repeat(64)}`);
  t.is<string, string>(fallbackTag(LONG), `sha512-${'0123456789abcdef'.repeat(4)}`);
  fc.assert(fc.property(digest, (subject) => parseTag(fallbackTag(subject)) !== ''));
});

test("cosign's tags are the digest with a dash and a suffix, and none for a digest too long for a tag", (t) => {
  const stem = `sha256-${'a'.repeat(64)}`;
  t.deepEqual<string[], string[]>(cosignTags(SHORT), [
    `${stem}.sig`,
    `${stem}.att`,
    `${stem}.sbom`,
  ]);
  t.deepEqual(cosignTags(LONG), []);
});

test('a tag that is named after a sha256 digest tells its subject', (t) => {
  for (const tag of [fallbackTag(SHORT), ...cosignTags(SHORT)]) t.is(attachedSubject(tag), SHORT);
  t.is(fallbackSubject(fallbackTag(SHORT)), SHORT);
  for (const tag of cosignTags(SHORT)) t.is(fallbackSubject(tag), undefined);
  const others = [
    'v1',
    `sha256-${'a'.repeat(63)}`,
    `sha256-${'A'.repeat(64)}`,
    `${fallbackTag(SHORT)}.other`,
  ];
  for (const tag of [fallbackTag(LONG), ...others.map(parseTag)]) {
    t.is(attachedSubject(tag), undefined);
    t.is(fallbackSubject(tag), undefined);
  }
});

test('every tag that is named after a digest belongs to an image, and others do not', (t) => {
  fc.assert(
    fc.property(digest, (subject) =>
      [fallbackTag(subject), ...cosignTags(subject), `${fallbackTag(subject)}.tree`].every(
        isAttachedTag,
      ),
    ),
  );
  for (const tag of ['v1', 'sha256-abc', `v${fallbackTag(SHORT)}`, '1.2.sig'])
    t.false(isAttachedTag(tag));
});
