import { rm, truncate } from 'node:fs/promises';
import test from 'ava';
import { parseDigest } from '../../src/oci/digest.ts';
import { get } from '../helpers/client.ts';
import { HOUR } from '../helpers/clock.ts';
import { buildImage, type Image } from '../helpers/image.ts';
import { blobPath, startMirror } from '../helpers/mirror.ts';
import { UPSTREAM } from '../helpers/scene.ts';
import { rule, syncConfig } from './rules.ts';
import { Site, START } from './site.ts';

const REPOSITORY = 'library/app';
const APP = `${UPSTREAM}/${REPOSITORY}`;

async function startReady(t: Parameters<typeof Site.start>[0]) {
  const site = await Site.start(t, {
    rules: [rule(REPOSITORY, { tags: { names: ['v1'] }, freshMs: 24 * HOUR })],
  });
  const image = buildImage({ seed: 'app', layers: [1000, 2000] });
  site.registry.addImage(REPOSITORY, 'v1', image);
  t.true((await site.run()).isOk);
  site.registry.clear();
  return { site, image, ready: describe(image) };
}

function describe(image: Image) {
  return {
    image: APP,
    tag: 'v1',
    digest: image.manifest.digest,
    rule: 'sync.rules[0]',
    platforms: 'all' as const,
    state: 'ready',
    bytes: 3000 + image.config.size + image.manifest.size,
    missingBytes: 0,
    missing: [] as { digest: string; size: number }[],
    checkedAt: START,
  };
}

const metric = async (site: Site, name: string): Promise<string[]> =>
  (await site.engine.metrics.registry.metrics())
    .split('\n')
    .filter((line) => line.startsWith(name));

test('ready, and with a blob file removed partial, which is named and mended', async (t) => {
  const { site, image, ready } = await startReady(t);
  t.deepEqual(await site.sync.explain(`${APP}:v1`), ready);
  t.deepEqual(await site.sync.explain(`${APP}@${image.manifest.digest}`), ready);
  t.is(await site.sync.explain(`${APP}:v2`), undefined);

  const { digest, size } = image.layer(1);
  await rm(blobPath(site.storePath, digest));
  const partial = {
    ...ready,
    state: 'partial',
    bytes: ready.bytes - size,
    missingBytes: size,
    missing: [{ digest, size }],
    reason: 'one file is missing',
  };
  const { counts, images } = await site.sync.status();
  t.deepEqual(counts, { ready: 0, partial: 1, stale: 0, unresolved: 0 });
  t.deepEqual(images, [partial]);
  t.deepEqual(await site.sync.explain(`${APP}:v1`), partial);
  t.deepEqual(site.asked(), []);

  const report = await site.run();
  t.deepEqual([report.isOk, report.bytes], [true, size]);
  t.deepEqual(await site.sync.explain(`${APP}:v1`), ready);
});

test('a blob of which all but a byte is here is missing, and the next run brings that byte', async (t) => {
  const { site, image, ready } = await startReady(t);
  const { digest, size, bytes } = image.layer(1);
  await rm(blobPath(site.storePath, digest));
  const ingest = await site.engine.store.blobs.ingest(parseDigest(digest), UPSTREAM);
  await ingest.spread(size);
  await ingest.write(bytes.subarray(0, 999), 0);
  await ingest.write(bytes.subarray(1000), 1000);
  await ingest.abort({ keep: true });
  t.like(await site.sync.explain(`${APP}:v1`), {
    state: 'partial',
    missingBytes: size,
    missing: [{ digest, size }],
  });
  t.true((await site.run()).isOk);
  t.is(site.registry.bytesSent, 1);
  t.deepEqual(await site.sync.explain(`${APP}:v1`), ready);
});

test('half a file, and a manifest without its file, are partial and mended', async (t) => {
  const { site, image, ready } = await startReady(t);
  await truncate(blobPath(site.storePath, image.layer(0).digest), 400);
  t.like(await site.sync.explain(`${APP}:v1`), {
    state: 'partial',
    missing: [{ digest: image.layer(0).digest, size: 1000 }],
  });
  t.true((await site.run()).isOk);
  t.deepEqual(await site.sync.explain(`${APP}:v1`), ready);

  const { digest, size } = image.manifest;
  await rm(blobPath(site.storePath, digest));
  t.like(await site.sync.explain(`${APP}:v1`), { state: 'partial', missing: [{ digest, size }] });
  t.true((await site.run()).isOk);
  t.deepEqual(await site.sync.explain(`${APP}:v1`), ready);
});

test('stale once the upstream has not confirmed it for longer than the rule allows', async (t) => {
  const { site, ready } = await startReady(t);
  await site.registry.refuse();
  await site.timer.advance(24 * HOUR);
  t.deepEqual(await site.sync.explain(`${APP}:v1`), ready);
  await site.timer.advance(1);
  t.false((await site.run()).isOk);
  const reason = 'not confirmed by the upstream for longer than its rule allows';
  t.deepEqual(await site.sync.explain(`${APP}:v1`), { ...ready, state: 'stale', reason });
  t.deepEqual((await site.sync.status()).counts, { ready: 0, partial: 0, stale: 1, unresolved: 0 });
  await site.registry.accept();
  t.true((await site.run()).isOk);
  const { checkedAt, state } = (await site.sync.explain(`${APP}:v1`)) ?? {};
  t.deepEqual([checkedAt, state], [site.timer.now(), 'ready']);
});

test('a tag that moved and could not be followed is partial, and what it meant is said', async (t) => {
  const { site, image } = await startReady(t);
  const next = buildImage({ seed: 'next', layers: [1000, 2000] });
  site.registry.addImage(REPOSITORY, 'v1', next);
  site.registry.status(next.layer(0), 404, { times: Infinity });
  t.false((await site.run()).isOk);
  const status = await site.sync.status();
  t.deepEqual(
    status.images.map(({ digest, state, reason }) => ({ digest, state, reason })),
    [
      { digest: next.manifest.digest, state: 'partial', reason: 'one file is missing' },
      {
        digest: image.manifest.digest,
        state: 'ready',
        reason: 'kept: its tag means another image upstream',
      },
    ],
  );
});

test('what no run has resolved is not ready', async (t) => {
  const site = await Site.start(t, {
    rules: [rule(REPOSITORY, { tags: { names: ['v1'] } })],
  });
  const reason = 'no run has resolved it yet';
  t.deepEqual(await site.sync.status(), {
    rules: 1,
    counts: { ready: 0, partial: 0, stale: 0, unresolved: 1 },
    images: [],
    unresolved: [{ rule: 'sync.rules[0]', image: APP, reason }],
    run: {},
  });
  site.registry.addImage(REPOSITORY, 'v2', buildImage({ seed: 1, layers: [10] }));
  await site.run();
  t.deepEqual((await site.sync.status()).unresolved, [
    { rule: 'sync.rules[0]', image: `${APP}:v1`, reason: 'the upstream has no such tag' },
  ]);
});

test('metrics tell how it stands and how the last run went', async (t) => {
  const { site, image } = await startReady(t);
  await site.sync.status();
  t.deepEqual(await metric(site, 'entrepot_sync_'), [
    'entrepot_sync_images{state="ready"} 1',
    'entrepot_sync_images{state="partial"} 0',
    'entrepot_sync_images{state="stale"} 0',
    'entrepot_sync_images{state="unresolved"} 0',
    'entrepot_sync_kept_images{why="moved"} 0',
    'entrepot_sync_kept_images{why="deleted"} 0',
    'entrepot_sync_missing_bytes 0',
    'entrepot_sync_runs_total{result="ok"} 1',
    'entrepot_sync_runs_total{result="failed"} 0',
    'entrepot_sync_runs_total{result="aborted"} 0',
    `entrepot_sync_last_success_timestamp_seconds ${START / 1000}`,
    'entrepot_sync_last_run_successful 1',
    `entrepot_sync_last_run_timestamp_seconds ${START / 1000}`,
    `entrepot_sync_last_run_bytes ${3000 + image.config.size}`,
    'entrepot_sync_last_run_duration_seconds 0',
    'entrepot_sync_failures_total 0',
  ]);
  site.registry.status('v1', 403, { times: 2 });
  await site.run();
  t.deepEqual(await metric(site, 'entrepot_sync_failures_total'), [
    'entrepot_sync_failures_total 1',
  ]);
});

test('the first scrape of a process tells how sync stands, before anyone asked and offline', async (t) => {
  const { site } = await startReady(t);
  const { registry, storePath } = site;
  registry.status('v1', 403, { times: 2 });
  t.false((await site.run()).isOk);
  await site.close();
  for (const offline of [false, true]) {
    const mirror = await startMirror(t, {
      storePath,
      upstreams: { [UPSTREAM]: { url: registry.url } },
      sync: syncConfig([rule(REPOSITORY, { tags: { names: ['v1'] }, freshMs: 24 * HOUR })], {
        schedule: '0 0 30 2 *',
      }),
      offline,
      clock: site.timer,
    });
    const { body } = await get(`${mirror.server.adminUrl}/metrics`);
    const lines = body.toString().split('\n');
    t.deepEqual(
      lines.filter((line) => line.startsWith('entrepot_sync_')),
      [
        'entrepot_sync_images{state="ready"} 1',
        'entrepot_sync_images{state="partial"} 0',
        'entrepot_sync_images{state="stale"} 0',
        'entrepot_sync_images{state="unresolved"} 0',
        'entrepot_sync_kept_images{why="moved"} 0',
        'entrepot_sync_kept_images{why="deleted"} 0',
        'entrepot_sync_missing_bytes 0',
        'entrepot_sync_runs_total{result="ok"} 0',
        'entrepot_sync_runs_total{result="failed"} 0',
        'entrepot_sync_runs_total{result="aborted"} 0',
        `entrepot_sync_last_success_timestamp_seconds ${START / 1000}`,
        'entrepot_sync_last_run_successful 0',
        `entrepot_sync_last_run_timestamp_seconds ${START / 1000}`,
        'entrepot_sync_last_run_bytes 0',
        'entrepot_sync_last_run_duration_seconds 0',
        'entrepot_sync_failures_total 0',
      ],
    );
    await mirror.stop();
  }
});

test('what never gets too old is not stale in the next process either', async (t) => {
  const rules = [rule(REPOSITORY, { tags: { names: ['v1'] }, freshMs: Infinity })];
  const site = await Site.start(t, { rules });
  const { registry, storePath, timer } = site;
  registry.addImage(REPOSITORY, 'v1', buildImage({ seed: 1, layers: [10] }));
  await site.run();
  await site.close();
  await timer.advance(1000 * 24 * HOUR);
  const next = await Site.start(t, { rules, registry, storePath, timer });
  t.deepEqual((await next.sync.status()).counts, { ready: 1, partial: 0, stale: 0, unresolved: 0 });
});

test('with all its files and without its tag an image is partial, and the tag is what it lacks', async (t) => {
  const site = await Site.start(t, {
    rules: [
      rule(REPOSITORY, { tags: { names: ['v1'] }, priority: 1 }),
      rule(REPOSITORY, { tags: { names: ['v2'] } }),
    ],
    concurrency: 1,
  });
  const { registry } = site;
  const first = buildImage({ seed: 'first', layers: [10] });
  const image = buildImage({ seed: 'app', layers: [1000, 2000] });
  registry.addImage(REPOSITORY, 'v1', first);
  registry.addImage(REPOSITORY, 'v2', image);
  await site.manifest(REPOSITORY, image.manifest.digest);
  for (const { digest } of image.blobs) await site.blob(REPOSITORY, digest);
  const gate = registry.hold(first.layer(0));
  site.sync.run();
  await gate.arrived();
  t.deepEqual(await site.sync.explain(`${APP}:v2`), {
    ...describe(image),
    rule: 'sync.rules[1]',
    tag: 'v2',
    state: 'partial',
    lacksTag: true,
    reason: 'its files are here, its tag is not recorded yet',
  });
  gate.open();
  t.true((await site.ended()).isOk);
  const ready = { ...describe(image), rule: 'sync.rules[1]', tag: 'v2' };
  t.deepEqual(await site.sync.explain(`${APP}:v2`), ready);
});

test('offline, a tag that is ready is a hit without a warning, for as long as sync calls it so', async (t) => {
  const { site, image } = await startReady(t);
  site.registry.addImage(REPOSITORY, 'pulled', image);
  t.is((await site.manifest(REPOSITORY, 'pulled')).status, 200);
  const { registry, storePath, timer } = site;
  await site.close();
  registry.clear();
  // The tag's own copy is long too old, and a window in which it would be asked about is open.
  const tags = { ttlMs: 0, staleIfErrorMs: 1, staleWhileRevalidateMs: 48 * HOUR };
  const off = await Site.start(t, {
    registry,
    storePath,
    timer,
    offline: true,
    upstream: { tags },
  });
  const cacheOf = async (tag: string, method: 'GET' | 'HEAD') => {
    const { status, headers } = await off.manifest(REPOSITORY, tag, { method });
    return [status, headers['cache-status'], headers['warning'] !== undefined];
  };
  await timer.advance(HOUR);
  for (const method of ['GET', 'HEAD'] as const) {
    t.deepEqual(await cacheOf('v1', method), [200, 'entrepot; hit', false]);
  }
  // No rule selects it.
  t.is((await cacheOf('pulled', 'GET'))[0], 504);
  await rm(blobPath(storePath, image.layer(1).digest));
  t.is((await cacheOf('v1', 'GET'))[0], 504, 'partial');
  t.deepEqual(registry.conversation(), []);
});

test('offline, a tag that sync calls stale is marked so', async (t) => {
  const { site } = await startReady(t);
  const { registry, storePath, timer } = site;
  await site.close();
  const off = await Site.start(t, { registry, storePath, timer, offline: true });
  await timer.advance(25 * HOUR);
  const { headers } = await off.manifest(REPOSITORY, 'v1');
  t.is(headers['cache-status'], 'entrepot; hit; detail=stale');
  t.true(headers['warning']?.includes('this mirror is set offline'));
});

test("offline, cosign's tags that an image never had are 404 where sync looked for them", async (t) => {
  const [signed, plain] = ['signed', 'plain'].map((seed) => buildImage({ seed, layers: [10] }));
  const site = await Site.start(t, {
    rules: [
      rule(REPOSITORY, { tags: { names: ['v1'] }, referrers: true }),
      rule('library/bare', { tags: { names: ['v1'] }, referrers: false }),
    ],
  });
  site.registry.addImage(REPOSITORY, 'v1', signed!);
  site.registry.addImage('library/bare', 'v1', plain!);
  t.true((await site.run()).isOk);
  const { registry, storePath } = site;
  await site.close();
  registry.clear();
  const off = await Site.start(t, { registry, storePath, offline: true });
  const statusOf = async (repository: string, image: Image, suffix: string) => {
    const tag = `${image.manifest.digest.replace(':', '-')}${suffix}`;
    const head = await off.manifest(repository, tag, { method: 'HEAD' });
    return [(await off.manifest(repository, tag)).status, head.status];
  };
  for (const suffix of ['.sig', '.att', '.sbom', '']) {
    t.deepEqual(await statusOf(REPOSITORY, signed!, suffix), [404, 404], suffix);
    // Nobody looked, so nobody knows.
    t.deepEqual(await statusOf('library/bare', plain!, suffix), [504, 504], suffix);
    t.deepEqual(await statusOf(REPOSITORY, plain!, suffix), [504, 504], suffix);
  }
  t.deepEqual(registry.conversation(), []);
});
