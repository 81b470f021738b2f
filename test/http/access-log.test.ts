import test from 'ava';
import { get } from '../helpers/client.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { startMirror, type TestMirror } from '../helpers/mirror.ts';
import { startScene } from '../helpers/scene.ts';

const UUID = /^[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}$/;

function lines({ log }: Pick<TestMirror, 'log'>) {
  return log.filter(({ msg }) => msg === 'request');
}

test('each request has an id in its line and its answer: its own where a log can hold it', async (t) => {
  const { mirror, manifest } = await startScene(t);
  const idFor = async (id?: string): Promise<unknown> => {
    const { headers } = await manifest(
      'latest',
      id === undefined ? {} : { headers: { 'X-Request-Id': id } },
    );
    const told = headers['x-request-id'];
    t.is(lines(mirror).at(-1)?.['id'], told);
    return told;
  };
  for (const id of ['01JABCDEF', 'a.b:c_d-e', 'x'.repeat(128)]) t.is(await idFor(id), id);
  for (const id of [
    undefined,
    '',
    'x'.repeat(129),
    'a b',
    'a"b',
    'a/b',
    'eyJhbGciOi.eyJzdWIiOiIx',
  ]) {
    t.regex(String(await idFor(id)), UUID);
  }
});

test('its line says who asked for what, how it went and how long it took', async (t) => {
  const { mirror, manifest, image } = await startScene(t);
  const headers = { 'User-Agent': 'containerd/2.3', 'X-Request-Id': 'one' };
  await manifest('latest', { headers });
  await manifest('gone', { headers });
  const [held, gone] = lines(mirror).map(({ time, ms, ttfbMs, ...line }) => {
    t.regex(String(time), /^\d{4}-.*Z$/);
    t.true(Number(ttfbMs) <= Number(ms));
    return line;
  });
  const common = {
    level: 'info',
    name: 'entrepot',
    id: 'one',
    client: '127.0.0.1',
    agent: 'containerd/2.3',
    method: 'GET',
    kind: 'manifest',
    target: 'hub.example/library/app',
    upstream: 'hub.example',
    source: 'miss',
    msg: 'request',
  };
  const bytes = image.manifest.bytes.length;
  t.deepEqual(held, { ...common, reference: 'latest', status: 200, missed: 'cold', bytes });
  const reason = 'hub.example has no manifest gone in library/app';
  t.deepEqual(gone, {
    ...common,
    reference: 'gone',
    status: 404,
    missed: 'absent',
    bytes: 0,
    reason,
  });
});

test('what is logged of a client is bounded', async (t) => {
  const { mirror, manifest } = await startScene(t);
  await manifest('latest', { headers: { 'User-Agent': 'x'.repeat(5000) } });
  t.is(lines(mirror)[0]?.['agent'], 'x'.repeat(300));
});

const FROM: readonly (readonly [chain: string | undefined, client: string])[] = [
  [undefined, '127.0.0.1'],
  ['192.0.2.7', '192.0.2.7'],
  ['192.0.2.7:4711', '192.0.2.7'],
  ['::ffff:192.0.2.7', '192.0.2.7'],
  ['2001:db8::7', '2001:db8::7'],
  ['[2001:db8::7]:4711', '2001:db8::7'],
  // What a client says of itself stands before what the first trusted proxy saw.
  ['1.2.3.4, 192.0.2.7, 10.1.2.3', '192.0.2.7'],
  ['1.2.3.4, 192.0.2.7', '192.0.2.7'],
  ['10.0.0.9, 10.1.2.3', '10.0.0.9'],
  ['192.0.2.7, unknown, 10.1.2.3', '10.1.2.3'],
  ['nonsense', '127.0.0.1'],
  ['', '127.0.0.1'],
];

test('the client is who the trusted proxies name, and nobody else is believed', async (t) => {
  const trusting = await startScene(t, { trustProxy: ['127.0.0.0/8', '10.0.0.0/8'] });
  const doubting = await startScene(t, { trustProxy: ['10.0.0.0/8'] });
  for (const [chain, client] of FROM) {
    const headers = {
      Forwarded: 'for=198.51.100.1',
      ...(chain !== undefined && { 'X-Forwarded-For': chain }),
    };
    await trusting.manifest('latest', { headers });
    t.is(lines(trusting.mirror).at(-1)?.['client'], client, chain);
    await doubting.manifest('latest', { headers });
    t.is(lines(doubting.mirror).at(-1)?.['client'], '127.0.0.1', chain);
  }
  const hops = Array.from({ length: 2000 }, () => '10.0.0.1').join(',');
  await trusting.manifest('latest', { headers: { 'X-Forwarded-For': `192.0.2.7,${hops}` } });
  t.is(lines(trusting.mirror).at(-1)?.['client'], '10.0.0.1');
});

test('a trusted proxy says which host was asked for, and so which upstream is meant', async (t) => {
  const registry = await FakeRegistry.start(t);
  const asked = async (trustProxy: readonly string[]) => {
    const { url } = registry;
    const upstreams = { 'first.example': { url }, 'hub.example': { url, hosts: ['hub.mirror'] } };
    const mirror = await startMirror(t, { upstreams, trustProxy });
    const headers = { Host: 'inside', 'X-Forwarded-Host': 'evil.example, hub.mirror' };
    await get(`${mirror.url}/v2/library/app/tags/list`, { headers });
    return lines(mirror)[0]?.['upstream'];
  };
  t.is(await asked(['127.0.0.1']), 'hub.example');
  t.is(await asked(['10.0.0.0/8']), 'first.example');
});

test('log.access is all, none or a share by the id, and what fails is logged always', async (t) => {
  const ids = Array.from({ length: 60 }, (_, place) => `request-${place}`);
  const logged = async (access: number): Promise<string[]> => {
    const { mirror, manifest, ask } = await startScene(t, { log: { access } });
    for (const id of ids) await manifest('latest', { headers: { 'X-Request-Id': id } });
    const kept = lines(mirror).map(({ id }) => String(id));
    const before = kept.length;
    await manifest('gone');
    await ask('/elsewhere');
    await ask('/v2/', { method: 'PUT' });
    t.deepEqual(
      lines(mirror)
        .slice(before)
        .map(({ status }) => status),
      [404, 404, 405],
    );
    return kept;
  };
  t.deepEqual(await logged(1), ids);
  t.deepEqual(await logged(0), []);
  const some = await logged(0.3);
  t.true(some.length > 5 && some.length < 35, `${some.length} of 60`);
  t.deepEqual(await logged(0.3), some);
  const more = await logged(0.6);
  t.deepEqual(
    some.filter((id) => !more.includes(id)),
    [],
  );
});
