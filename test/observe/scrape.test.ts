import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { pino } from 'pino';
import test from 'ava';
import { Metrics } from '../../src/observe/metrics.ts';
import { startServer } from '../../src/server.ts';
import { get } from '../helpers/client.ts';
import { Clock, MINUTE } from '../helpers/clock.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildImage } from '../helpers/image.ts';
import { createConfig, createTempFolder, startMirror } from '../helpers/mirror.ts';
import { Scrape } from '../helpers/scrape.ts';
import { startScene, UPSTREAM } from '../helpers/scene.ts';

const COUNTED = /_(?:total|bucket|sum|count)$/;

test('1,000 repositories add no series to those of the first', async (t) => {
  const registry = await FakeRegistry.start(t);
  const mirror = await startMirror(t, {
    upstreams: { [UPSTREAM]: { url: registry.url } },
    store: { durability: 'rename' },
  });
  const pull = async (number: number): Promise<void> => {
    const image = buildImage({ seed: number, layers: [10] });
    const name = `team-${number}/app`;
    registry.addImage(name, `v${number}`, image);
    const path = `${mirror.url}/v2/${name}`;
    t.is((await get(`${path}/manifests/v${number}`)).status, 200);
    if (number % 100 === 0) t.is((await get(`${path}/manifests/none`)).status, 404);
    if (number % 10 > 0) return;
    t.is((await get(`${path}/blobs/${image.layer(0).digest}`)).status, 200);
  };
  await pull(0);
  await mirror.idle();
  const first = await Scrape.of(mirror.server.adminUrl);
  for (let number = 1; number < 1000; number += 37) {
    const some = Array.from({ length: Math.min(37, 1000 - number) }, (_, n) => number + n);
    await Promise.all(some.map(pull));
  }
  await mirror.idle();
  const last = await Scrape.of(mirror.server.adminUrl);
  t.deepEqual(last.series, first.series);
  t.is(last.sum('cache_requests_total'), 1110);
  t.is(last.sum('downloads_total', { result: 'kept' }), 100);
  t.notRegex(last.text, /team-|sha256|127\.0\.0\.1/);
});

test('every counter is there with 0 at the first scrape, for each upstream', async (t) => {
  const rules = [{ images: [`${UPSTREAM}/**`], mode: 'audit' as const }];
  const admission = { trust: { keys: {} }, rules };
  const { mirror } = await startScene(t, { admission });
  const { samples } = await Scrape.of(mirror.server.adminUrl);
  const counted = samples.filter(
    ({ name }) => COUNTED.test(name) && !/^(?:process|nodejs)_/.test(name),
  );
  t.deepEqual(
    counted.filter(({ value }) => value !== 0),
    [],
  );
  const names = new Set(counted.map(({ name }) => name.replace(/_(?:bucket|sum|count)$/, '')));
  const declared = new Metrics().registry.getMetricsAsArray() as unknown as { name: string }[];
  t.deepEqual(
    declared
      .filter(({ constructor }) => constructor.name !== 'Gauge')
      .map(({ name }) => name.replace('entrepot_', ''))
      .filter((name) => !names.has(name)),
    [],
  );
  t.true(samples.length < 500);
});

test('no counter goes back while pulls, faults and removals go on', async (t) => {
  const { mirror, registry, manifest, blob, image, clock } = await startScene(t);
  let before = new Map<string, number>();
  const look = async (): Promise<void> => {
    const { samples } = await Scrape.of(mirror.server.adminUrl);
    const now = new Map(
      samples
        .filter(({ name }) => COUNTED.test(name) && !name.startsWith('nodejs_'))
        .map(({ name, labels, value }) => [name + JSON.stringify(labels), value]),
    );
    for (const [name, value] of before) t.true((now.get(name) ?? -1) >= value, name);
    before = now;
  };
  await look();
  await manifest('latest');
  await blob(image.layer(0));
  await look();
  registry.status('latest', 503, { times: Infinity });
  clock.advance(MINUTE);
  await manifest('latest');
  await look();
  registry.heal();
  const collected = await get(`${mirror.server.adminUrl}/api/v1/gc`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ bytes: 2 ** 40 }),
  });
  t.is(collected.status, 200);
  await manifest('latest');
  await blob(image.layer(1));
  await mirror.idle();
  await look();
});

test('the first scrape of the next process shows the same gauges, with one count of images', async (t) => {
  const { mirror, registry, manifest, blob, image } = await startScene(t, {
    leftovers: {},
    store: { pins: [`${UPSTREAM}/library/app:latest`] },
  });
  await manifest('latest');
  await blob(image.layer(0));
  await mirror.idle();
  const verifying = await get(`${mirror.server.adminUrl}/api/v1/verify`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{}',
  });
  t.is(verifying.status, 202);
  await mirror.logged('verified all that is held');
  const gauges = async (adminUrl: string): Promise<object> => {
    const scrape = await Scrape.of(adminUrl);
    const names = [
      'store_blobs',
      'store_images',
      'store_limit_bytes',
      'store_min_free_bytes',
      'ready',
      'verify_last_end_timestamp_seconds',
    ];
    return {
      ...Object.fromEntries(names.map((name) => [name, scrape.sum(name)])),
      used: scrape.sum('store_bytes', { state: 'used' }),
      pins: scrape.sum('store_pins', { origin: 'config' }),
      state: scrape.samples.filter(({ name, value }) => name === 'store_state' && value === 1),
      free: scrape.sum('store_free_bytes') > 0,
    };
  };
  const before = await gauges(mirror.server.adminUrl);
  t.like(before, {
    store_blobs: 2,
    store_images: 1,
    used: image.manifest.size + 1000,
    pins: 1,
    ready: 1,
  });
  await mirror.stop();
  const next = await startMirror(t, {
    storePath: mirror.storePath,
    upstreams: { [UPSTREAM]: { url: registry.url } },
    store: { pins: [`${UPSTREAM}/library/app:latest`] },
    clock: new Clock(),
  });
  const { catalog, blobs, store } = next.server;
  await store.care.settled;
  const reads = { manifests: 0, blobs: 0, disk: 0 };
  const manifests = catalog.manifests.bind(catalog);
  const listBlobs = catalog.listBlobs.bind(catalog);
  const freeBytes = blobs.folders.freeBytes.bind(blobs.folders);
  catalog.manifests = () => {
    reads.manifests += 1;
    return manifests();
  };
  catalog.listBlobs = (prefix) => {
    reads.blobs += 1;
    return listBlobs(prefix);
  };
  blobs.folders.freeBytes = async () => {
    reads.disk += 1;
    return freeBytes();
  };
  t.deepEqual(await gauges(next.server.adminUrl), before);
  for (let n = 0; n < 9; n += 1) t.deepEqual(await gauges(next.server.adminUrl), before);
  t.deepEqual(reads, { manifests: 1, blobs: 0, disk: 10 });
});

test('metrics.listen has metrics and probes for whoever asks, and nothing else', async (t) => {
  const registry = await FakeRegistry.start(t);
  const config = createConfig(await createTempFolder(t), {
    upstreams: { [UPSTREAM]: { url: registry.url } },
  });
  const server = await startServer(
    { ...config, metrics: { listen: { host: '127.0.0.1', port: 0 } } },
    { log: pino({ level: 'silent' }) },
  );
  t.teardown(async () => server.close());
  const url = server.metricsUrl ?? '';
  const headers = { Host: 'mirror.example:9101' };
  for (const path of ['/metrics', '/healthz', '/readyz']) {
    t.is((await get(url + path, { headers })).status, 200, path);
    t.is((await get(url + path, { method: 'HEAD' })).status, 200, path);
    t.is((await get(url + path, { method: 'POST' })).status, 405, path);
  }
  for (const path of ['/', '/v2/', '/api/v1/status', '/api/v1/pins']) {
    t.is((await get(url + path)).status, 404, path);
  }
  const scrape = await Scrape.of(url);
  t.is(scrape.sum('ready'), 1);
  t.is(scrape.sum('build_info', { node: process.version }), 1);
  t.is(scrape.sum('config_last_reload_successful'), 1);
  for (const name of [
    'process_open_fds',
    'nodejs_heap_size_used_bytes',
    'nodejs_eventloop_lag_p99_seconds',
  ]) {
    t.true(scrape.sum(name) >= 0, name);
  }
  t.is(registry.connections, 0);
});

test('what is measured of the process does not keep it alive', async (t) => {
  const file = new URL('../../src/observe/metrics.ts', import.meta.url).href;
  const code = `const { Metrics } = await import('${file}');
    const metrics = new Metrics();
    metrics.addProcess({ version: '1', node: process.version });
    await metrics.expose();`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', code], { stdio: 'inherit' });
  t.deepEqual(await once(child, 'exit'), [0, null]);
});
