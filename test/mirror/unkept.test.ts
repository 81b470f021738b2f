import test from 'ava';
import { parseManifest } from '../../src/oci/manifest.ts';
import { digestOf } from '../../src/oci/digest.ts';
import { parseRepository, parseTag, type Target } from '../../src/oci/reference.ts';
import { Unkept } from '../../src/mirror/unkept.ts';
import { Clock, HOUR } from '../helpers/clock.ts';
import { buildImage, type Image } from '../helpers/image.ts';

const MIB = 2 ** 20;

function targetOf(name: string): Target {
  return { upstream: 'hub.example', repository: parseRepository(name) };
}

const APP = targetOf('library/app');

function bodyOf({ manifest }: Image, padding = 0) {
  const bytes = Buffer.concat([manifest.bytes, Buffer.alloc(padding, ' ')]);
  return { digest: digestOf(bytes), bytes, manifest: parseManifest(bytes) };
}

test('what it has is of one repository, and for an hour', (t) => {
  const clock = new Clock();
  const unkept = new Unkept({ clock });
  const image = buildImage({ seed: 'unkept', layers: [10] });
  const body = bodyOf(image);
  unkept.addManifest(APP, body);
  unkept.addTag(APP, parseTag('v1'), body.digest);
  const lists = ({ digest }: { digest: string }): boolean => digest === image.layer(0).digest;
  t.is(unkept.manifest(APP, body.digest), body.bytes);
  t.deepEqual([...unkept.holders(APP, lists)], [body.digest]);
  t.is(unkept.tagged(APP, parseTag('v1')), body.digest);
  const other = targetOf('library/other');
  t.is(unkept.manifest(other, body.digest), undefined);
  t.deepEqual([...unkept.holders(other, lists)], []);
  clock.advance(HOUR);
  t.is(unkept.manifest(APP, body.digest), undefined);
  t.deepEqual([...unkept.holders(APP, lists)], []);
  t.is(unkept.tagged(APP, parseTag('v1')), undefined);
  t.is(unkept.successors(body.digest), undefined);
});

test('what is held now is told by the store alone', (t) => {
  const unkept = new Unkept({ clock: new Clock() });
  const body = bodyOf(buildImage({ seed: 'unkept', layers: [10] }));
  unkept.addManifest(APP, body);
  unkept.addTag(APP, parseTag('v1'), body.digest);
  unkept.forgetManifest(APP, body.digest);
  t.is(unkept.manifest(APP, body.digest), undefined);
  t.is(unkept.tagged(APP, parseTag('v1')), undefined);
});

test('it has limits of count and of bytes: what was not used longest goes', (t) => {
  const unkept = new Unkept({ clock: new Clock() });
  const image = buildImage({ seed: 'unkept', layers: [10] });
  const many = Array.from({ length: 1_001 }, (_, padding) => bodyOf(image, padding));
  for (const each of many) unkept.addManifest(APP, each);
  const kept = many.filter(({ digest }) => unkept.manifest(APP, digest));
  t.true(kept.length <= 1_000 && kept.length > 990);
  t.deepEqual(kept, many.slice(-kept.length));
  const large = Array.from({ length: 12 }, (_, n) => bodyOf(image, 3 * MIB + n));
  for (const each of large) unkept.addManifest(APP, each);
  t.is(large.filter(({ digest }) => unkept.manifest(APP, digest)).length, 10);
  const blobs = Array.from({ length: 40 }, (_, n) => Buffer.alloc(MIB, n));
  for (const each of blobs) unkept.addBlob(digestOf(each), each);
  t.is(blobs.filter((each) => unkept.blob(digestOf(each))).length, 31);
});
