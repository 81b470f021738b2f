import { readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { CreateReport } from '../../../src/cli/bundle-created.ts';
import { countParts } from '../../../sync/bundle/content.ts';
import { rebuildPart } from '../../../sync/bundle/parity.ts';
import { buildImage, digestOf } from '../../helpers/image.ts';
import { Connected } from './connected.ts';
import { APP, REPOSITORY } from './draft-world.ts';
import { readBundlePart } from './read-bundle.ts';
import { inventoryOf } from './site-of.ts';

/** With an image of three layers, the second of which is larger than a part of 64 KiB. */
async function start(t: ExecutionContext) {
  const site = await Connected.start(t);
  const image = buildImage({ seed: 'one', layers: [1000, 150_000, 2000] });
  site.registry.addImage(REPOSITORY, 'v1', image);
  const create = async (...args: string[]): Promise<CreateReport> => {
    const { code, stdout, stderr } = await site.create(`${APP}:v1`, '--json', ...args);
    if (code !== 0) throw new Error(stderr);
    return JSON.parse(stdout) as CreateReport;
  };
  return { site, image, create };
}

const SPLIT = ['--split', '64KiB'];

test('in parts of a size no part is larger, a blob is cut, and each part is proven alone', async (t) => {
  const { site, image, create } = await start(t);
  const { parts } = await create('--out', 'big.tar', ...SPLIT);
  const names = parts.map(({ path }) => path.slice(site.folder.length + 1));
  t.deepEqual(names, ['big.part001.tar', 'big.part002.tar', 'big.part003.tar']);
  const ids = new Set<string>();
  for (const { path, size } of parts) {
    t.true(size <= 65_536);
    t.is(statSync(path).size, size);
    const { id, manifest } = await readBundlePart(path);
    t.is(countParts(manifest), 3);
    ids.add(id);
  }
  t.is(ids.size, 1);
  const paths = await Promise.all(
    parts.map(async ({ path }) => (await readBundlePart(path)).paths),
  );
  const cut = paths.flat().filter((path) => path.startsWith('slices/'));
  t.true(cut.length >= 3);
  t.false(paths.flat().includes(`blobs/${image.layer(1).digest.replace(':', '/')}`));
  const before = parts.map(({ path }) => digestOf(readFileSync(path)));
  const again = await create('--out', 'again', ...SPLIT);
  t.deepEqual(
    again.parts.map(({ path }) => digestOf(readFileSync(path))),
    before,
  );
});

test('with parity any lost part is made anew from the others', async (t) => {
  const { site, create } = await start(t);
  const { parts } = await create('--out', 'big.tar', ...SPLIT, '--parity');
  t.true(parts.every(({ size }) => size <= 65_536));
  const parity = parts.at(-1)!;
  t.deepEqual([parity.part, parity.path], [0, site.path('big.parity.tar')]);
  const { manifest } = await readBundlePart(parity.path);
  const lost = parts[1]!;
  const rest = parts.filter(({ part }) => part !== 0 && part !== lost.part);
  const files = new Map(rest.map(({ part, path }) => [part, path]));
  const chunks = [];
  for await (const chunk of rebuildPart({ manifest, part: 2, files, parity: parity.path })) {
    chunks.push(chunk);
  }
  t.deepEqual(Buffer.concat(chunks), readFileSync(lost.path));
});

test('in a folder a bundle is named after its series and number, and so it is in a drop folder', async (t) => {
  const { site, create } = await start(t);
  await mkdir(site.path('disk'));
  await mkdir(site.path('drop'));
  const series = site.mirror.server.store.id!.slice(0, 8);
  const one = await create('--out', 'disk');
  t.deepEqual(
    one.parts.map(({ path }) => path),
    [site.path(join('disk', `bundle-${series}-1.tar`))],
  );
  const some = await create('--to', 'drop', ...SPLIT);
  t.deepEqual(readdirSync(site.path('drop')).toSorted(), [
    `bundle-${series}-1.part001.tar`,
    `bundle-${series}-1.part002.tar`,
    `bundle-${series}-1.part003.tar`,
  ]);
  t.is(some.parts.length, 3);
});

test('files go along by their names, and with them alone a bundle is made too', async (t) => {
  const { site, create } = await start(t);
  site.write('trusted_root.json', '{"root":true}');
  site.write('empty', '');
  const made = await create('--out', 'one.tar', '--with', 'trusted_root.json', 'empty');
  t.deepEqual(made.files, ['empty', 'trusted_root.json']);
  const { manifest, paths } = await readBundlePart(made.parts[0]!.path);
  t.deepEqual(
    manifest.files.map(({ name, size, digest }) => [name, size, digest]),
    [
      ['empty', 0, digestOf('')],
      ['trusted_root.json', 13, digestOf('{"root":true}')],
    ],
  );
  t.deepEqual(paths.slice(0, 4), [
    'oci-layout',
    'index.json',
    'with/empty',
    'with/trusted_root.json',
  ]);
});

test('what the site has all of is not written, unless files go along; it is said how much that is', async (t) => {
  const { site, image } = await start(t);
  await site.create(`${APP}:v1`, '--out', 'full.tar');
  rmSync(site.path('full.tar'));
  const held = await inventoryOf([{ name: APP, tag: 'v1', image }]);
  site.write('site.inventory', held);
  const forSite = [`${APP}:v1`, '--for', 'site.inventory', '--out', 'next.tar'];
  const nothing = await site.create(...forSite);
  t.deepEqual(nothing, {
    code: 0,
    stdout:
      'the site has all of it already (1 image whole, 5 blobs of 151 KiB): no bundle is written\n',
    stderr: '',
  });
  t.false(readdirSync(site.folder).includes('next.tar'));
  site.write('policy.json', '{}');
  const files = await site.create(...forSite, '--with', 'policy.json', '--json');
  t.like(JSON.parse(files.stdout), { number: 2, images: 0, blobs: 0, files: ['policy.json'] });
});

test('the command makes a bundle from the store alone where no server runs', async (t) => {
  const { site, create } = await start(t);
  const { parts } = await create('--out', 'served.tar');
  await site.mirror.stop();
  const alone = await create('--out', 'alone.tar');
  t.deepEqual(readFileSync(alone.parts[0]!.path), readFileSync(parts[0]!.path));
});
