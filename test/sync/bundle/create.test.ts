import { readdirSync, readFileSync } from 'node:fs';
import test from 'ava';
import { buildImage } from '../../helpers/image.ts';
import { UPSTREAM } from '../../helpers/scene.ts';
import { Connected } from './connected.ts';
import { readBundlePart } from './read-bundle.ts';

const REPOSITORY = 'library/app';
const APP = `${UPSTREAM}/${REPOSITORY}`;

test('bundle create writes one file, which its reader proves; made again it has the same bytes', async (t) => {
  const site = await Connected.start(t);
  const image = buildImage({ seed: 'one', layers: [1000, 2000] });
  site.registry.addImage(REPOSITORY, 'v1', image, { name: 'one' });
  const made = await site.create(`${REPOSITORY}:v1`, '--out', 'full.tar');
  const { id } = site.key.public;
  t.deepEqual(made, {
    code: 0,
    stdout: [
      `bundle   1 of series ${site.mirror.server.store.id}`,
      'carries  1 image with 1 tag, 4 blobs of 3.99 KiB',
      `key      ${id}`,
      `part     ${site.path('full.tar')} (13.5 KiB)`,
      '',
    ].join('\n'),
    stderr: '',
  });
  const { manifest, keyId, paths } = await readBundlePart(site.path('full.tar'));
  t.is(keyId, id);
  t.like(manifest, {
    number: 1,
    images: [{ name: APP, tag: 'v1', digest: image.manifest.digest }],
  });
  const blobs = [image.manifest, ...image.blobs].map(
    ({ digest }) => `blobs/${digest.replace(':', '/')}`,
  );
  t.deepEqual(paths, ['oci-layout', 'index.json', ...blobs.toSorted()]);
  const before = readFileSync(site.path('full.tar'));
  t.is((await site.create(`${REPOSITORY}:v1`, '--out', 'again.tar', '--json')).code, 0);
  t.deepEqual(readFileSync(site.path('again.tar')), before);
  t.deepEqual(readdirSync(site.folder).toSorted(), [
    'again.tar',
    'entrepot.yaml',
    'full.tar',
    'maker.key',
  ]);
});
