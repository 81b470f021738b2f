import { readdirSync, watch } from 'node:fs';
import { mkdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { parseDigest } from '../../../src/oci/digest.ts';
import { buildImage } from '../../helpers/image.ts';
import { Connected } from './connected.ts';
import { APP, REPOSITORY } from './draft-world.ts';
import { readBundlePart } from './read-bundle.ts';

/** What lies in the folder of the commands beside what each test begins with. */
function leftIn(site: Connected, folder = ''): string[] {
  const own = ['entrepot.yaml', 'maker.key', 'drop', 'public.pub', 'damaged', 'with'];
  return readdirSync(site.path(folder)).filter((name) => !own.includes(name));
}

test('what is wrong with the command line is told before anything is asked, and says what to do', async (t) => {
  const site = await Connected.start(t);
  site.write('public.pub', site.key.public.format());
  site.write('damaged', 'no inventory');
  await mkdir(site.path('with'));
  await symlink('/dev/null', site.path('device'));
  const image = `${APP}:v1`;
  const out = ['--out', 'full.tar'];
  for (const [args, told] of [
    [[image], 'say where the bundle goes'],
    [[image, ...out, '--to', 'drop'], 'say where the bundle goes'],
    [[image, '--to', 'drop'], `there is no folder ${site.path('drop')}: make it`],
    [[image, '--out', 'none/full.tar'], `there is no folder ${site.path('none')}: make it`],
    [[image, '--out', 'device'], `${site.path('device')} is neither a file nor a folder`],
    [[image, ...out, '--for', 'none'], `the inventory ${site.path('none')} cannot be read`],
    [[image, ...out, '--for', 'damaged'], `${site.path('damaged')}: this is no inventory`],
    [[image, ...out, '--lock', 'none'], `the lock ${site.path('none')} cannot be read`],
    [[image, ...out, '--with', 'with'], `${site.path('with')} is no file`],
    [[image, ...out, '--with', 'none'], `the file ${site.path('none')} cannot be read`],
    [
      [image, ...out, '--with', 'maker.key', 'with/../with/../../maker.key'],
      'have one name: a bundle carries files by their names',
    ],
    [[image, ...out, '--split', 'much'], 'write a size such as'],
    [[image, ...out, '--key', 'none'], `the key ${site.path('none')} cannot be read`],
    [[image, ...out, '--key', 'public.pub'], `${site.path('public.pub')}: this is a public key`],
    [['library/*', ...out], 'is not one image'],
    [[...out], 'this site has no rules of sync'],
  ] as const) {
    if (args.some((word) => word.endsWith('../maker.key'))) {
      await writeFile(join(site.folder, '..', 'maker.key'), '');
    }
    const { code, stdout, stderr } = await site.create(...args);
    t.deepEqual([code, stdout], [64, ''], args.join(' '));
    t.true(stderr.includes(told), `${args.join(' ')}: ${stderr}`);
  }
  t.deepEqual(site.registry.conversation(), []);
  t.deepEqual(leftIn(site), ['device']);
});

test('an image that cannot be fetched is told, and nothing is written', async (t) => {
  const site = await Connected.start(t);
  const { code, stdout, stderr } = await site.create(`${APP}:v1`, '--out', 'full.tar');
  t.deepEqual([code, stderr], [1, '']);
  t.is(
    stdout,
    [
      'no bundle was made:',
      'IMAGE                       REASON',
      `${APP}:v1  the upstream has no such tag`,
      '',
    ].join('\n'),
  );
  t.deepEqual(leftIn(site), []);
});

/** Breaks a byte of a held blob; where nobody is to notice, the server takes the file for what it wrote. */
async function damage(
  { mirror }: Connected,
  digest: string,
  { at, isNoticed }: { at: number; isNoticed: boolean },
): Promise<void> {
  const { blobs, catalog } = mirror.server.store;
  const known = parseDigest(digest);
  const path = blobs.folders.blobPath(known);
  const bytes = await readFile(path);
  bytes[at]! ^= 1;
  await writeFile(path, bytes);
  if (!isNoticed) await catalog.updateBlob(known, { changedAt: (await stat(path)).ctimeMs });
}

const PLACES = [
  ['--out', 'full.tar'],
  ['--out', 'some.tar', '--split', '64KiB'],
  ['--out', 'some.tar', '--split', '64KiB', '--parity'],
  ['--to', 'drop', '--split', '64KiB'],
];

for (const isNoticed of [true, false]) {
  const who = isNoticed ? 'the server finds damaged' : 'the command alone finds damaged';
  test(`a blob that ${who} is not carried, whole or cut, and nothing is left`, async (t) => {
    const site = await Connected.start(t);
    const image = buildImage({ seed: 'one', layers: [200_000] });
    const { digest } = image.layer(0);
    site.registry.addImage(REPOSITORY, 'v1', image);
    await mkdir(site.path('drop'));
    await site.drafts.draft({ images: [`${APP}:v1`] });
    for (const where of PLACES) {
      await damage(site, digest, { at: 150_000, isNoticed });
      const { code, stderr } = await site.create(`${APP}:v1`, ...where);
      t.is(code, 1);
      t.true(stderr.includes(digest) && stderr.includes('nothing is written'), stderr);
      t.deepEqual(leftIn(site), []);
      if (isNoticed) await site.drafts.draft({ images: [`${APP}:v1`] });
      else await damage(site, digest, { at: 150_000, isNoticed });
    }
    // Whoever takes parts away has none with a piece of it.
    for (const name of leftIn(site, 'drop')) {
      const { paths } = await readBundlePart(site.path(join('drop', name)));
      t.false(
        paths.some((path) => path.startsWith('slices/')),
        name,
      );
    }
  });
}

/** Resolves when a part is being written. */
async function begun(folder: string): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const watcher = watch(folder, (_, name) => {
    if (name?.endsWith('.tmp')) resolve();
  });
  await promise;
  watcher.close();
}

test('a signal while an image is fetched, or a bundle written, leaves nothing', async (t) => {
  const site = await Connected.start(t);
  const image = buildImage({ seed: 'one', layers: [2_000_000] });
  site.registry.addImage(REPOSITORY, 'v1', image);
  const gate = site.registry.hold(image.layer(0), { after: 100 });
  const fetching = site.create(`${APP}:v1`, '--out', 'full.tar');
  await gate.arrived();
  site.signals.emit('SIGINT', 'SIGINT');
  t.like(await fetching, { code: 130, stdout: '' });
  t.deepEqual(leftIn(site), []);
  gate.open();
  await site.mirror.idle();
  await site.drafts.draft({ images: [`${APP}:v1`] });
  const seen = begun(site.folder);
  const writing = site.create(`${APP}:v1`, '--out', 'full.tar', '--split', '32KiB');
  await Promise.race([seen, writing]);
  site.signals.emit('SIGTERM', 'SIGTERM');
  t.like(await writing, { code: 130, stdout: '' });
  t.deepEqual(leftIn(site), []);
});
