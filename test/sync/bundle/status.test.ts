/** Whether a site that lives on bundles could be cut off, as `sync status` and the metrics say it. */
import { rmSync } from 'node:fs';
import test from 'ava';
import type { SyncStatus } from '../../../src/api/sync-api.ts';
import { get } from '../../helpers/client.ts';
import { clockOf } from '../../helpers/clock.ts';
import { buildImage, buildIndex } from '../../helpers/image.ts';
import { blobPath, type TestMirror } from '../../helpers/mirror.ts';
import { rule, syncConfig } from '../rules.ts';
import { bring, bundleOf, COURIER, REGISTRY, startAirGapped, trusted } from './brought-bundle.ts';
import { Connected } from './connected.ts';
import { SERIES } from './made-bundle.ts';

const RULE = `bundle ${SERIES}`;
const OTHER_SERIES = SERIES.replace('5', '6');
const BUNDLES = { trust: { courier: trusted(COURIER) } };
const APP = buildImage({ seed: 'app', layers: [9000] });
const ARM = buildImage({ seed: 'arm', layers: [4000] });
const TOOL = buildImage({ seed: 'tool', layers: [2000] });
const INDEX = buildIndex([
  { image: APP, platform: { os: 'linux', architecture: 'amd64' } },
  { image: ARM, platform: { os: 'linux', architecture: 'arm64' } },
]);
/** One platform of it. */
const PART = { manifest: INDEX.manifest, blobs: [APP.manifest, ...APP.blobs] };
const BUNDLE = bundleOf([
  { image: PART, repository: 'org/app', tag: 'v1' },
  { image: TOOL, repository: 'org/tool', tag: 'v1' },
]);

async function statusOf({ mirror }: Connected): Promise<SyncStatus> {
  const { body } = await get(`${mirror.server.adminUrl}/api/v1/sync`);
  return JSON.parse(String(body)) as SyncStatus;
}

async function valueOf({ server }: TestMirror, metric: string): Promise<string | undefined> {
  const { body } = await get(`${server.adminUrl}/metrics`);
  const line = String(body)
    .split('\n')
    .find((each) => each.startsWith(`${metric} `));
  return line?.slice(metric.length + 1);
}

test('what bundles brought is ready or partial, and decides how sync status ends', async (t) => {
  const site = await Connected.start(t, { bundles: BUNDLES, offline: true });
  t.deepEqual(await site.run('sync', 'status'), {
    code: 1,
    stdout: 'no rules: write under "sync" what the site must hold\n',
    stderr: '',
  });
  t.is((await bring(site.mirror, await BUNDLE.part(1))).status, 200);
  const ready = await statusOf(site);
  t.like(ready, { rules: 0, counts: { ready: 2, partial: 0, stale: 0, unresolved: 0 } });
  t.deepEqual(
    ready.images.map(({ image, tag, digest, rule: of, platforms, state }) => [
      `${image}:${tag}`,
      digest,
      of,
      platforms,
      state,
    ]),
    [
      [`${REGISTRY}/org/app:v1`, INDEX.manifest.digest, RULE, ['linux/amd64'], 'ready'],
      [`${REGISTRY}/org/tool:v1`, TOOL.manifest.digest, RULE, 'all', 'ready'],
    ],
  );
  t.deepEqual(await site.run('sync', 'status'), {
    code: 0,
    stdout: [
      `IMAGE                 TAG  STATE  MISSING  AGE       ${'RULE'.padEnd(RULE.length)}  WHY`,
      `hub.example/org/app   v1   ready           just now  ${RULE}`,
      `hub.example/org/tool  v1   ready           just now  ${RULE}`,
      '',
      '2 ready, 0 partial, 0 stale',
      '',
    ].join('\n'),
    stderr: '',
  });
  t.is(await valueOf(site.mirror, 'entrepot_sync_images{state="ready"}'), '2');
  rmSync(blobPath(site.mirror.storePath, APP.layer(0).digest));
  const partial = await site.run('sync', 'status');
  t.is(partial.code, 1);
  t.regex(partial.stdout, /org\/app +v1 +partial +8\.79 KiB .*\n.*org\/tool +v1 +ready/);
  // All of it comes again, and the image that the series has released is no longer owed.
  const next = bundleOf([{ image: PART, repository: 'org/app', tag: 'v1' }], {
    manifest: { number: 2, released: [`${REGISTRY}/org/tool:v1`] },
  });
  t.is((await bring(site.mirror, await next.part(1))).status, 200);
  t.deepEqual((await statusOf(site)).counts, { ready: 1, partial: 0, stale: 0, unresolved: 0 });
  await site.mirror.stop();
  t.is((await site.run('sync', 'status')).code, 0);
});

test('what a rule selects too is listed once, as the rule wants it', async (t) => {
  const site = await Connected.start(t, {
    bundles: BUNDLES,
    sync: syncConfig([rule('org/tool', { tags: { names: ['v1'] } })]),
  });
  site.registry.addImage('org/tool', 'v1', TOOL);
  t.is((await bring(site.mirror, await BUNDLE.part(1))).status, 200);
  t.is((await site.run('sync', 'run')).code, 0);
  const { images } = await statusOf(site);
  t.deepEqual(
    images.map(({ image, rule: of }) => `${image} ${of}`),
    [`${REGISTRY}/org/tool sync.rules[0]`, `${REGISTRY}/org/app ${RULE}`],
  );
});

test('when a bundle was last put in force is told after a restart too, and nothing where none was', async (t) => {
  const metric = 'entrepot_bundle_applied_timestamp_seconds';
  const before = await startAirGapped(t, { clock: clockOf(() => 2_000_000) });
  t.is(await valueOf(before, metric), undefined);
  for (const bundle of [BUNDLE, bundleOf([], { manifest: { series: OTHER_SERIES } })]) {
    t.is((await bring(before, await bundle.part(1))).status, 200);
  }
  t.is(await valueOf(before, metric), '2000');
  await before.stop();
  const after = await startAirGapped(t, { storePath: before.storePath });
  t.is(await valueOf(after, metric), '2000');
});
