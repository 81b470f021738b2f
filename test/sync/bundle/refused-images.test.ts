/** Bundles that a trusted key signed and whose images are none, and what is left to do after a refusal. */
import { existsSync, readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { runStoreCommand } from '../../cli/run-store-command.ts';
import { buildImage, descriptorOf, MEDIA_TYPES, store, type Stored } from '../../helpers/image.ts';
import { createTempFolder } from '../../helpers/mirror.ts';
import { bring, bundleOf, COURIER, pull, startAirGapped } from './brought-bundle.ts';
import { MadeBundle, SERIES } from './made-bundle.ts';

const APP = buildImage({ seed: 'app', layers: [30_000, 5_000] });

function indexOf(manifest: Stored): Stored {
  const document = { schemaVersion: 2, manifests: [descriptorOf(manifest)] };
  return store(JSON.stringify(document), MEDIA_TYPES.index);
}

test('what is refused when all of it is here is put in force by the next import, once the cause is away', async (t) => {
  const site = await startAirGapped(t);
  const [lacking, ...others] = APP.blobs;
  const image = { manifest: APP.manifest, blobs: others };
  const bundle = bundleOf([{ image, repository: 'org/app', tag: 'v1' }], { partBytes: 15_000 });
  t.true(bundle.parts > 1);
  const folder = await createTempFolder(t);
  for (const [at, bytes] of (await bundle.all()).entries()) {
    await writeFile(join(folder, `${at}.tar`), bytes);
  }
  const admin = new URL(site.server.adminUrl).host;
  const parts = { readStoreId: async () => undefined };
  const run = async (...args: readonly string[]) =>
    runStoreCommand(t, ['bundle', ...args], { admin, parts });
  const refused = await run('import', folder);
  t.is(refused.code, 1);
  t.regex(refused.stderr, /lacks 1 blobs that the bundle builds on/);
  t.regex((await run('status')).stdout, / parts here, awaited: \d+\n$/);
  const rest = new MadeBundle({
    key: COURIER,
    blobs: [lacking!.bytes],
    manifest: { series: SERIES.replace('5a', '6b') },
  });
  t.is((await bring(site, await rest.part(1))).status, 200);
  const { code, stdout, stderr } = await run('import', folder);
  t.is(code, 0, stderr);
  t.regex(stdout, /is in force: 1 image/);
  t.deepEqual((await pull(site, 'org/app', 'v1')).body, APP.manifest.bytes);
});

test('an image that no registry would take is named, and nothing of its bundle is in force', async (t) => {
  const site = await startAirGapped(t);
  const [one, two, three, four] = [1, 2, 3, 4].reduce<Stored[]>(
    (all) => [...all, indexOf(all.at(-1) ?? APP.manifest)],
    [],
  );
  const deep = [APP.manifest, ...APP.blobs, one!, two!, three!, four!];
  const padding = ' '.repeat(4 * 2 ** 20);
  const refusals = [
    [store('none', MEDIA_TYPES.manifest), [], /^sha256:\w+ is no manifest that can be kept \(/],
    [store(`{}${padding}`, MEDIA_TYPES.manifest), [], /has more than 4194304 bytes/],
    [indexOf(four!), deep, /^its indexes list indexes more than 4 deep: /],
  ] as const;
  for (const [manifest, blobs, message] of refusals) {
    const image = { manifest, blobs };
    const bundle = bundleOf([{ image, repository: 'org/app', tag: 'v1' }]);
    const { status, body } = await bring(site, await bundle.part(1));
    t.is(status, 422, JSON.stringify(body));
    t.regex(String(body['error']), message);
    t.like(body, { detail: { code: 'format' } });
    t.not((await pull(site, 'org/app', 'v1')).status, 200);
  }
  const image = { manifest: four!, blobs: deep.slice(0, -1) };
  const bundle = bundleOf([{ image, repository: 'org/app', tag: 'v1' }]);
  t.is((await bring(site, await bundle.part(1))).status, 200);
});

test('a file that is put in place takes no other one away', async (t) => {
  const site = await startAirGapped(t);
  const files = { list: Buffer.from('one'), 'list.new': Buffer.from('other') };
  t.is((await bring(site, await bundleOf([], { files }).part(1))).status, 200);
  const next = bundleOf([], { files: { list: Buffer.from('two') }, manifest: { number: 2 } });
  t.is((await bring(site, await next.part(1))).status, 200);
  const path = join(site.storePath, 'bundles', 'list');
  t.is(readFileSync(path, 'utf8'), 'two');
  t.true(existsSync(`${path}.new`));
  t.false(existsSync(join(site.storePath, 'bundles', '.list.new')));
});
