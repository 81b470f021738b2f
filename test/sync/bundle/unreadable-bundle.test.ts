/** What a mirror makes, a site reads: names, numbers and state files that stand in the way of that. */
import { mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import type { Digest } from '../../../src/oci/digest.ts';
import { encodeInventory } from '../../../sync/bundle/inventory-file.ts';
import { SigningKey } from '../../../sync/bundle/signing-key.ts';
import { buildImage } from '../../helpers/image.ts';
import { get } from '../../helpers/client.ts';
import { createTempFolder } from '../../helpers/mirror.ts';
import { bring, bundleOf, startAirGapped } from './brought-bundle.ts';
import { Connected } from './connected.ts';

const DAMAGED =
  'what is known of bundles is damaged: older ones are taken, and the next one lets go of what others brought';
const APP = buildImage({ seed: 'app', layers: [3_000] });
const SITE = '6b7e0000-0000-4000-8000-000000000001';

test('a file with a name that no bundle can have is told before anything is fetched', async (t) => {
  const connected = await Connected.start(t);
  for (const name of ['ä.txt', 'a b', '.hidden', 'a'.repeat(91)]) {
    connected.write(name, 'x');
    const { code, stderr } = await connected.create('app:v1', '--with', name, '--out', 'b.tar');
    t.is(code, 64);
    t.regex(stderr, /: a file in a bundle has a name of at most 90 letters, .*: rename it\n$/);
  }
  t.deepEqual(connected.registry.conversation(), []);
});

test('an inventory with a number far above all that was made here uses up no numbers', async (t) => {
  const connected = await Connected.start(t);
  connected.registry.addImage('library/app', 'v1', APP);
  const series = connected.mirror.server.store.id!;
  const inventory = async (number: number): Promise<string> => {
    const parts = {
      site: SITE,
      applied: new Map([[series, number]]),
      complete: new Set<Digest>(),
      partial: new Map(),
      blobs: new Set<Digest>(),
      images: [],
    };
    connected.write('site', await encodeInventory(parts, SigningKey.generate()));
    return 'site';
  };
  const make = async (number: number) =>
    connected.create(
      'library/app:v1',
      '--for',
      await inventory(number),
      '--out',
      'b.tar',
      '--json',
    );
  for (const number of [Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER - 1, 1_000_001]) {
    const { code, stdout } = await make(number);
    t.is(code, 1);
    t.true(stdout.includes(`says that bundle ${number} of this mirror is in force`), stdout);
  }
  const { code, stdout } = await make(1_000_000);
  t.is(code, 0, stdout);
  t.like(JSON.parse(stdout), { number: 1_000_001 });
});

test('what stands in the place of files of the site is told, and does no more harm', async (t) => {
  const storePath = await createTempFolder(t);
  const first = await startAirGapped(t, { storePath });
  await first.stop();
  const state = join(storePath, 'bundles.json');
  const folder = join(storePath, 'bundles');
  const bundle = bundleOf([{ image: APP, repository: 'org/app', tag: 'v1' }], {
    files: { list: Buffer.from('one') },
  });
  const part = await bundle.part(1);
  const obstacles = [
    [state, () => mkdirSync(state), 507, /^the disk does not take it \(EISDIR: /],
    [folder, () => writeFileSync(folder, ''), 422, /bundles is no folder: move what stands there/],
    [folder, () => symlinkSync('/', folder), 422, /bundles is no folder: move what stands there/],
  ] as const;
  for (const [path, obstruct, wanted, message] of obstacles) {
    rmSync(path, { recursive: true, force: true });
    obstruct();
    const site = await startAirGapped(t, { storePath });
    const { status, body } = await bring(site, part);
    t.is(status, wanted);
    t.regex(String(body['error']), message);
    rmSync(path, { recursive: true });
    t.is((await bring(site, part)).status, 200);
    await site.stop();
  }
});

test('a state file that makes no sense is as good as none, is told, and is put beside', async (t) => {
  const storePath = await createTempFolder(t);
  const { digest } = APP.manifest;
  const open = { id: digest, series: SITE, number: 1, images: 1 };
  for (const document of [
    { open: [{ ...open, parts: 1e12, received: [] }] },
    { open: [{ ...open, parts: 2, received: [3] }] },
    { applied: [{ id: digest, number: '7' }] },
  ]) {
    const path = join(storePath, 'bundles.json');
    const text = JSON.stringify({ version: 1, ...document });
    writeFileSync(path, text);
    const site = await startAirGapped(t, { storePath });
    t.is(readFileSync(`${path}.damaged`, 'utf8'), text);
    await site.logged(DAMAGED);
    const { status, body } = await get(`${site.server.adminUrl}/api/v1/bundles`);
    t.deepEqual([status, JSON.parse(String(body))], [200, { awaited: [], applied: [] }]);
    await site.stop();
  }
});
