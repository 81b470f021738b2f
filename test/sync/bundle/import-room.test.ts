/** Small stores, files that something touched, and bundles that are given up. */
import { readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import type { Digest } from '../../../src/oci/digest.ts';
import { cutEntries } from '../../../sync/bundle/intake.ts';
import { get } from '../../helpers/client.ts';
import { buildImage, type Stored } from '../../helpers/image.ts';
import type { TestMirror } from '../../helpers/mirror.ts';
import { bring, bundleOf, pull, REGISTRY, startAirGapped } from './brought-bundle.ts';

const BIG = buildImage({ seed: 'big', layers: [1_500_000, 1_500_000] });
const APP = buildImage({ seed: 'app', layers: [30_000, 5_000] });
const TOOL = buildImage({ seed: 'tool', layers: [2_000] });

function findFile({ storePath }: TestMirror, { digest }: Stored): string {
  const files = readdirSync(storePath, { recursive: true, withFileTypes: true });
  const [, hex = ''] = digest.split(':');
  const found = files.find((file) => file.isFile() && file.name === hex);
  return join(found!.parentPath, found!.name);
}

test('pieces that are here take no room a second time', async (t) => {
  const store = { maxBytes: 3_600_000, minFreeBytes: 0, maxBlobShare: 1 };
  const site = await startAirGapped(t, { store });
  const image = { image: BIG, repository: 'org/big', tag: 'v1' };
  const bundle = bundleOf([image], { partBytes: 700_000 });
  for (const part of await bundle.all()) {
    const { status, body } = await bring(site, part);
    t.is(status, 200, JSON.stringify(body));
  }
  t.deepEqual((await pull(site, 'org/big', 'v1')).body, BIG.manifest.bytes);
});

test('a bad copy of a part that is here undoes no piece of it', async (t) => {
  const site = await startAirGapped(t);
  const bundle = bundleOf([{ image: APP, repository: 'org/app', tag: 'v1' }], {
    partBytes: 20_000,
  });
  t.true(cutEntries(bundle.manifest).size > 0);
  for (const part of await bundle.all()) {
    const { status, body } = await bring(site, part);
    t.is(status, 200, JSON.stringify(body));
    // All but the head and the trailer.
    const [start, end] = [part.length - 8_000, part.length - 5_000];
    const bad = Buffer.from(part).fill(1, start, end);
    if ((body['awaited'] as []).length > 0) t.is((await bring(site, bad)).status, 422);
  }
  t.deepEqual((await pull(site, 'org/app', 'v1')).body, APP.manifest.bytes);
});

test('a blob that is larger than the store keeps one refuses the first part already', async (t) => {
  const store = { maxBytes: 4_000_000, minFreeBytes: 0, maxBlobShare: 0.25 };
  const site = await startAirGapped(t, { store });
  const image = { image: BIG, repository: 'org/big', tag: 'v1' };
  const { status, body } = await bring(
    site,
    await bundleOf([image], { partBytes: 700_000 }).part(1),
  );
  t.is(status, 507);
  t.regex(String(body['error']), /^there is no room for 1500000 bytes of this bundle /);
  const { body: report } = await get(`${site.server.adminUrl}/api/v1/bundles`);
  t.deepEqual(JSON.parse(String(report)), { awaited: [], applied: [] });
});

test('what was changed on the disk counts as missing: it is taken anew, and not built on', async (t) => {
  const site = await startAirGapped(t);
  const image = { image: APP, repository: 'org/app', tag: 'v1' };
  const full = await bundleOf([image]).part(1);
  t.is((await bring(site, full)).status, 200);
  const layer = APP.layer(0);
  const damages = [
    (path: string) => writeFileSync(path, readFileSync(path).fill(0, 100, 200)),
    (path: string) => truncateSync(path, 100),
  ];
  for (const damage of damages) {
    damage(findFile(site, layer));
    const held = bundleOf([{ ...image, tag: 'v2' }], { held: [layer], manifest: { number: 2 } });
    const refused = await bring(site, await held.part(1));
    t.is(refused.status, 409);
    t.regex(String(refused.body['error']), /^this site lacks 1 blobs .*/);
    t.true(String(refused.body['error']).includes(layer.digest));
    t.not((await pull(site, 'org/app', 'v2')).status, 200);
    const { status, body } = await bring(site, full);
    t.is(status, 200);
    t.like(body['report'], { blobs: 1 });
    const url = `${site.url}/v2/org/app/blobs/${layer.digest}?ns=${REGISTRY}`;
    t.deepEqual((await get(url)).body, layer.bytes);
  }
});

test('what a refused bundle builds on may be evicted; one that a newer one overtakes is awaited no more', async (t) => {
  const site = await startAirGapped(t);
  const isKept = ({ digest }: Stored): boolean => site.server.store.blobs.isBusy(digest as Digest);
  const app = { image: APP, repository: 'org/app', tag: 'v1' };
  const tool = { image: TOOL, repository: 'org/tool', tag: 'v1' };
  t.is((await bring(site, await bundleOf([app]).part(1))).status, 200);
  const lacking = bundleOf([{ ...app, tag: 'v2' }, tool], {
    held: [APP.layer(0), TOOL.layer(0)],
    manifest: { number: 2 },
  });
  t.is((await bring(site, await lacking.part(1))).status, 409);
  t.false(isKept(APP.layer(0)));
  const overtaken = bundleOf([app, tool], { partBytes: 20_000, manifest: { number: 3 } });
  t.is((await bring(site, await overtaken.part(1))).status, 200);
  t.true(isKept(APP.layer(0)));
  const newer = bundleOf([tool], { manifest: { number: 4 } });
  t.is((await bring(site, await newer.part(1))).status, 200);
  const { body } = await get(`${site.server.adminUrl}/api/v1/bundles`);
  t.like(JSON.parse(String(body)), { awaited: [] });
  t.false(isKept(APP.layer(0)));
});
