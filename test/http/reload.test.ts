import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import test, { type ExecutionContext } from 'ava';
import { ConfigError } from '../../src/config/problems.ts';
import { load } from '../config/config-folder.ts';
import { SLIPS } from '../config/slips.ts';
import { get, open } from '../helpers/client.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildImage, type Image } from '../helpers/image.ts';
import { startMirror, type MirrorOptions, type TestMirror } from '../helpers/mirror.ts';
import { Scrape } from '../helpers/scrape.ts';
import { until } from '../helpers/until.ts';

const HUB = 'docker.io';
const OTHER = 'ghcr.io';
const BROKEN = new ConfigError([
  'upstreems: is no key, write "upstreams"',
  'listen: is no address',
]);

interface World {
  readonly hub: FakeRegistry;
  readonly other: FakeRegistry;
  readonly image: Image;
  readonly mirror: TestMirror;
}

/** Two registries that have the same image; the mirror begins with the first one alone. */
async function start(t: ExecutionContext, options: Partial<MirrorOptions> = {}): Promise<World> {
  const [hub, other] = [await FakeRegistry.start(t), await FakeRegistry.start(t)];
  const image = buildImage({ seed: 'reload', layers: [200_000] });
  for (const registry of [hub, other]) registry.addImage('team/app', 'v1', image, { name: 'app' });
  const mirror = await startMirror(t, { upstreams: { [HUB]: { url: hub.url } }, ...options });
  return { hub, other, image, mirror };
}

function manifestAt({ mirror }: World, upstream: string): string {
  return `${mirror.url}/v2/team/app/manifests/v1?ns=${upstream}`;
}

async function gaugeOf({ mirror }: World, name: string): Promise<string | undefined> {
  const { body } = await get(`${mirror.server.adminUrl}/metrics`);
  return body
    .toString()
    .split('\n')
    .find((line) => line.startsWith(name) && !line.startsWith('#'));
}

test('an upstream that is added is asked, one that is removed is NAME_UNKNOWN', async (t) => {
  const world = await start(t);
  const { hub, other, mirror } = world;
  t.is((await get(manifestAt(world, OTHER))).status, 404);
  const both = { [HUB]: { url: hub.url }, [OTHER]: { url: other.url } };
  t.deepEqual(await mirror.reload({ upstreams: both }), {
    status: 200,
    body: { changed: ['upstreams.ghcr.io'], restart: [], warnings: [] },
  });
  t.is((await get(manifestAt(world, OTHER))).status, 200);
  const { body } = await mirror.reload({ upstreams: { [OTHER]: { url: other.url } } });
  t.deepEqual(body.changed, ['defaultUpstream', 'upstreams.docker.io']);
  const gone = await get(manifestAt(world, HUB));
  t.is(gone.status, 404);
  t.true(gone.body.toString().includes('NAME_UNKNOWN'));
  t.is((await get(`${mirror.url}/v2/team/app/manifests/v1`)).status, 200);
});

test('what changes for an upstream counts with the next request: its url, allow, tags', async (t) => {
  const world = await start(t);
  const { hub, other, mirror } = world;
  t.is((await get(manifestAt(world, HUB))).status, 200);
  hub.clear();
  await mirror.reload({ upstreams: { [HUB]: { url: other.url } } });
  t.is((await get(manifestAt(world, HUB))).status, 200);
  t.deepEqual(hub.conversation(), []);
  t.deepEqual(other.conversation(), ['HEAD /v2/team/app/manifests/v1']);
  await mirror.reload({ upstreams: { [HUB]: { url: other.url, allow: ['library/**'] } } });
  t.is((await get(manifestAt(world, HUB))).status, 403);
  await mirror.reload({ upstreams: { [HUB]: { url: other.url, tags: { ttlMs: 60_000 } } } });
  other.clear();
  t.is((await get(manifestAt(world, HUB))).status, 200);
  t.deepEqual(other.conversation(), []);
});

test('an upstream that stays as it was keeps its connections and what it knows', async (t) => {
  const world = await start(t);
  const { hub, other, mirror } = world;
  await get(manifestAt(world, HUB));
  // What follows a pull in the background has connections of its own.
  await mirror.idle();
  const { connections } = hub;
  const both = { [HUB]: { url: hub.url }, [OTHER]: { url: other.url } };
  await mirror.reload({ upstreams: both });
  await get(manifestAt(world, HUB));
  t.is(hub.connections, connections);
});

test('another login is used by the next request', async (t) => {
  const login = { username: 'ops', password: 'second' };
  const hub = await FakeRegistry.start(t, { auth: { kind: 'basic', ...login } });
  hub.addImage('team/app', 'v1', buildImage({ seed: 1, layers: [10] }));
  const upstream = { url: hub.url, credentials: { ...login, password: 'first' } };
  const mirror = await startMirror(t, { upstreams: { [HUB]: upstream } });
  const url = `${mirror.url}/v2/team/app/manifests/v1`;
  t.is((await get(url)).status, 403);
  await mirror.reload({ upstreams: { [HUB]: { ...upstream, credentials: login } } });
  t.is((await get(url)).status, 200);
});

test('each slip that people make is refused with all its problems, and changes nothing', async (t) => {
  const world = await start(t);
  const { mirror } = world;
  const told = async (): Promise<unknown> => {
    const { body } = await get(`${mirror.server.adminUrl}/api/v1/status`);
    const { uptimeSeconds: _, ...rest } = JSON.parse(body.toString()) as Record<string, unknown>;
    return rest;
  };
  t.is((await get(manifestAt(world, HUB))).status, 200);
  await mirror.idle();
  const before = await told();
  for (const [yaml] of SLIPS) {
    const error = t.throws(() => load(t, { yaml }), { instanceOf: ConfigError });
    const { status, body } = await mirror.reload(error);
    t.deepEqual([status, body.detail], [422, { problems: [...error.problems] }], yaml);
  }
  t.deepEqual(await told(), before);
  t.is((await get(manifestAt(world, HUB))).status, 200);
});

test('a broken file changes nothing, and every problem is told', async (t) => {
  const world = await start(t);
  const { mirror } = world;
  const { status, body } = await mirror.reload(BROKEN);
  t.is(status, 422);
  t.is(
    body.error,
    'upstreems: is no key, write "upstreams" (and 1 more); the configuration before stays in force',
  );
  t.deepEqual(body.detail, { problems: BROKEN.problems });
  t.is(
    await gaugeOf(world, 'entrepot_config_last_reload_successful'),
    'entrepot_config_last_reload_successful 0',
  );
  t.is((await get(manifestAt(world, HUB))).status, 200);
  await mirror.reload({ upstreams: { [HUB]: { url: world.hub.url } } });
  t.is(
    await gaugeOf(world, 'entrepot_config_last_reload_successful'),
    'entrepot_config_last_reload_successful 1',
  );
});

test('gauges of an upstream are those of its present configuration, and gone with it', async (t) => {
  const world = await start(t);
  const { hub, other, image, mirror } = world;
  hub.rateLimit({ limit: 100, remaining: 76 });
  const gauges = async (): Promise<string[]> => {
    const { text } = await Scrape.of(mirror.server.adminUrl);
    const all = text.matchAll(/^entrepot_(upstream_up|upstream_ratelimit_\w+)\{.*$/gm);
    return [...all].map(([line]) => line.replace('entrepot_upstream_', ''));
  };
  t.is((await get(manifestAt(world, HUB))).status, 200);
  t.deepEqual((await gauges()).slice(0, 2), [
    `up{upstream="${HUB}"} 1`,
    `ratelimit_limit{upstream="${HUB}"} 100`,
  ]);
  const layer = image.layer(0);
  const gate = hub.hold(layer, { after: 1000 });
  const running = await open(`${mirror.url}/v2/team/app/blobs/${layer.digest}`);
  await gate.arrived();
  await mirror.reload({ upstreams: { [HUB]: { url: other.url } } });
  t.deepEqual(await gauges(), []);
  // What ends with the former one says nothing of the present one.
  gate.open();
  t.deepEqual(await running.rest(), layer.bytes);
  t.deepEqual(await gauges(), []);
  t.is((await get(manifestAt(world, HUB))).status, 200);
  t.deepEqual(await gauges(), [`up{upstream="${HUB}"} 1`]);
  await mirror.reload({ upstreams: { [OTHER]: { url: other.url } } });
  t.deepEqual(await gauges(), []);
});

test('an upstream that is left keeps no connection, but those of what still runs', async (t) => {
  const world = await start(t);
  const { hub, other, image, mirror } = world;
  const layer = image.layer(0);
  const gate = hub.hold(layer, { after: 1000 });
  hub.cut(layer, { after: 2000 });
  const running = await open(`${mirror.url}/v2/team/app/blobs/${layer.digest}`);
  await gate.arrived();
  t.is((await get(manifestAt(world, HUB))).status, 200);
  await mirror.reload({ upstreams: { [HUB]: { url: other.url } } });
  await until('the idle one is closed', () => hub.openSockets === 1);
  // What breaks off goes on with what it began with, and leaves nothing behind.
  gate.open();
  t.deepEqual(await running.rest(), layer.bytes);
  await until('all are closed', () => hub.openSockets === 0);
  t.is((await get(manifestAt(world, HUB))).status, 200);
});

test('offline: nothing is dialled after the reload, and a transfer ends on the connection that it has', async (t) => {
  const world = await start(t);
  const { hub, image, mirror } = world;
  const upstreams = { [HUB]: { url: hub.url } };
  const layer = image.layer(0);
  const url = `${mirror.url}/v2/team/app/blobs/${layer.digest}`;
  const gate = hub.hold(layer, { after: 1000 });
  const running = await open(url);
  await gate.arrived();
  await mirror.reload({ upstreams, offline: true });
  const { connections } = hub;
  gate.open();
  t.deepEqual(await running.rest(), layer.bytes);
  t.is((await get(manifestAt(world, HUB))).status, 504);
  t.is(hub.connections, connections);
  await mirror.reload({ upstreams });
  t.is((await get(manifestAt(world, HUB))).status, 200);
});

test('offline: a transfer that breaks off is not asked for again', async (t) => {
  const world = await start(t, { leftovers: { partials: true } });
  const { hub, image, mirror } = world;
  const layer = image.layer(0);
  const gate = hub.hold(layer, { after: 1000 });
  hub.cut(layer, { after: 2000 });
  const running = await open(`${mirror.url}/v2/team/app/blobs/${layer.digest}`);
  await gate.arrived();
  // Left once, and shut later.
  await mirror.reload({ upstreams: { [OTHER]: { url: hub.url } } });
  await mirror.reload({ upstreams: { [OTHER]: { url: hub.url } }, offline: true });
  const { connections } = hub;
  gate.open();
  await t.throwsAsync(running.rest());
  t.is(hub.connections, connections);
});

test('what needs a restart is said and does not count', async (t) => {
  const world = await start(t);
  const { hub, mirror } = world;
  const upstreams = { [HUB]: { url: hub.url } };
  const { body } = await mirror.reload({
    upstreams,
    graceMs: 5000,
    listen: { port: 1 },
    store: { durability: 'rename', minFreeBytes: 1 },
  });
  t.deepEqual(body.restart, ['grace', 'listen', 'store.durability']);
  t.deepEqual(body.changed, ['store.minFreeBytes']);
  t.is((await get(manifestAt(world, HUB))).status, 200);
  // Told again as long as it is so.
  t.deepEqual((await mirror.reload({ upstreams, graceMs: 5000 })).body.restart, ['grace']);
});

test('limits and pins count at once', async (t) => {
  const world = await start(t);
  const { hub, image, mirror } = world;
  const upstreams = { [HUB]: { url: hub.url } };
  await mirror.reload({ upstreams, store: { pins: ['docker.io/team/app'] } });
  t.is(
    await gaugeOf(world, 'entrepot_store_pins{origin="config"}'),
    'entrepot_store_pins{origin="config"} 1',
  );
  await mirror.reload({ upstreams, store: { maxBytes: 100_000 } });
  t.is(await gaugeOf(world, 'entrepot_store_limit_bytes'), 'entrepot_store_limit_bytes 100000');
  const { digest } = image.layer(0);
  const url = `${mirror.url}/v2/team/app/blobs/${digest}`;
  // Larger than all: it is passed through, and passed through again.
  for (const _ of [1, 2]) t.is((await get(url)).status, 200);
  await mirror.idle();
  t.is(
    hub.conversation().filter((line) => line === `GET /v2/team/app/blobs/<app.layer0>`).length,
    2,
  );
  await mirror.reload({ upstreams });
  for (const _ of [1, 2]) {
    t.is((await get(url)).status, 200);
    await mirror.idle();
  }
  t.is(
    hub.conversation().filter((line) => line === `GET /v2/team/app/blobs/<app.layer0>`).length,
    3,
  );
});

test('a transfer that runs goes on to its end with its upstream changed, then removed', async (t) => {
  const world = await start(t);
  const { hub, other, image, mirror } = world;
  const layer = image.layer(0);
  const gate = hub.hold(layer, { after: 1000 });
  const running = await open(`${mirror.url}/v2/team/app/blobs/${layer.digest}?ns=${HUB}`);
  await gate.arrived();
  await mirror.reload({ upstreams: { [HUB]: { url: hub.url, concurrency: 2 } } });
  await mirror.reload({ upstreams: { [OTHER]: { url: other.url } } });
  gate.open();
  t.deepEqual(await running.rest(), layer.bytes);
});

test('a hundred files, good and broken, while clients pull: no pull fails, none is half of each', async (t) => {
  const world = await start(t);
  const { hub, other, mirror } = world;
  const good: MirrorOptions[] = [
    { upstreams: { [HUB]: { url: hub.url } } },
    { upstreams: { [HUB]: { url: other.url, concurrency: 3 } } },
    { upstreams: { [HUB]: { url: hub.url }, [OTHER]: { url: other.url } } },
    {
      upstreams: { [HUB]: { url: hub.url } },
      store: { maxBytes: 10 ** 9, pins: ['docker.io/**'] },
    },
  ];
  const isOver = { now: false };
  const failures: unknown[] = [];
  const pull = async (client: number): Promise<number> => {
    let pulls = 0;
    for (; !isOver.now; pulls += 1) {
      const image = buildImage({ seed: `${client} ${pulls}`, layers: [20_000] });
      for (const registry of [hub, other])
        registry.addImage('team/app', `t${client}-${pulls}`, image);
      const base = `${mirror.url}/v2/team/app`;
      const manifest = await get(`${base}/manifests/t${client}-${pulls}`);
      const { digest } = image.layer(0);
      const blob = await get(`${base}/blobs/${digest}`);
      if (manifest.status !== 200 || blob.status !== 200)
        failures.push([manifest.status, blob.status]);
      else if (!blob.body.equals(image.layer(0).bytes)) failures.push('other bytes');
    }
    return pulls;
  };
  const clients = [0, 1, 2].map(pull);
  let seed = 20_261_128;
  for (let count = 0; count < 100; count += 1) {
    seed = (seed * 48_271) % 2_147_483_647;
    const next = seed % 3 === 0 ? BROKEN : good[seed % good.length]!;
    const { status, body } = await mirror.reload(next);
    t.is(status, next === BROKEN ? 422 : 200, JSON.stringify(body));
  }
  isOver.now = true;
  const pulls = await Promise.all(clients);
  t.deepEqual(failures, []);
  t.true(pulls.every((count) => count > 0));
  await mirror.reload(good[0]!);
  t.is((await get(manifestAt(world, OTHER))).status, 404);
  // Of all that were configured until now, nothing is left open.
  await mirror.reload({ upstreams: { [HUB]: { url: 'http://127.0.0.1:9' } } });
  await mirror.idle();
  await until('the former ones are closed', () => other.openSockets + hub.openSockets === 0);
});

/** Far below what fifty former upstreams would take, if something held them. */
const MAX_GROWTH_BYTES = 2 * 1024 * 1024;

// Alone in its thread: the others would be counted.
test.serial('reload after reload takes neither memory nor connections', async (t) => {
  const world = await start(t);
  const { hub, other, mirror } = world;
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const settled = async (): Promise<{ heap: number; connections: number }> => {
    await mirror.idle();
    await until('the former ones are closed', () => hub.openSockets + other.openSockets <= 1);
    collect();
    const open = process.getActiveResourcesInfo().filter((what) => what === 'TCPSocketWrap');
    return { heap: process.memoryUsage().heapUsed, connections: open.length };
  };
  const reloads = async (count: number): Promise<void> => {
    for (let n = 0; n < count; n += 1) {
      const { url } = n % 2 === 0 ? other : hub;
      await mirror.reload({ upstreams: { [HUB]: { url } } });
      t.is((await get(manifestAt(world, HUB))).status, 200);
    }
  };
  await reloads(50);
  const before = await settled();
  await reloads(50);
  const after = await settled();
  t.true(after.heap - before.heap < MAX_GROWTH_BYTES, `${after.heap - before.heap} bytes more`);
  t.true(after.connections <= before.connections, `${after.connections} connections`);
});
