import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import test from 'ava';
import { buildImage } from '../../helpers/image.ts';
import { until } from '../../helpers/until.ts';
import { Connected } from './connected.ts';
import { APP, REPOSITORY } from './draft-world.ts';
import { readBundlePart } from './read-bundle.ts';

const MAIN = join(import.meta.dirname, '..', '..', '..', 'src', 'entrepot.js');

test('where the disk takes no more in the middle, nothing is left, and that is said', async (t) => {
  const site = await Connected.start(t);
  site.registry.addImage(REPOSITORY, 'v1', buildImage({ seed: 'one', layers: [500_000] }));
  await site.drafts.draft({ images: [`${APP}:v1`] });
  await site.create(`${APP}:v1`, '--out', 'whole.tar');
  const command = `ulimit -f 200; exec "$0" "$@"`;
  const args = ['bundle', 'create', `${APP}:v1`, '--key', 'maker.key', '--out', 'full.tar'];
  const child = spawn('bash', ['-c', command, process.execPath, MAIN, ...args], {
    cwd: site.folder,
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, NODE_DISABLE_COMPILE_CACHE: '1' },
  });
  const told = text(child.stderr);
  t.deepEqual(await once(child, 'exit'), [1, null]);
  t.is(
    await told,
    `entrepot: the disk of ${site.folder} is full: nothing is left of the bundle there; make room, or name another place\n`,
  );
  t.deepEqual(readdirSync(site.folder).toSorted(), ['entrepot.yaml', 'maker.key', 'whole.tar']);
});

test('a kill in the middle leaves whole parts in a drop folder, and the next one completes them', async (t) => {
  const site = await Connected.start(t);
  const image = buildImage({ seed: 'one', layers: Array.from({ length: 40 }, () => 9000) });
  site.registry.addImage(REPOSITORY, 'v1', image);
  await mkdir(site.path('drop'));
  await mkdir(site.path('all'));
  await site.create(`${APP}:v1`, '--to', 'all', '--split', '24KiB');
  const wanted = readdirSync(site.path('all'));
  const drop = site.path('drop');
  const isPlaced = async (): Promise<boolean> =>
    readdirSync(drop).some((name) => name.endsWith('.tar'));
  const args = ['bundle', 'create', `${APP}:v1`, '--key', 'maker.key', '--to', 'drop'];
  const child = spawn(process.execPath, [MAIN, ...args, '--split', '24KiB'], {
    cwd: site.folder,
    stdio: 'ignore',
  });
  const ended = once(child, 'exit');
  await until('a part is placed', isPlaced);
  child.kill('SIGKILL');
  t.deepEqual(await ended, [null, 'SIGKILL']);
  const placed = readdirSync(drop).filter((name) => name.endsWith('.tar'));
  t.true(placed.length > 0 && placed.length < wanted.length);
  for (const name of placed) await readBundlePart(join(drop, name));
  t.is((await site.create(`${APP}:v1`, '--to', 'drop', '--split', '24KiB')).code, 0);
  t.deepEqual(readdirSync(drop), wanted);
  for (const name of wanted) {
    t.deepEqual(readFileSync(join(drop, name)), readFileSync(join(site.path('all'), name)));
  }
});
