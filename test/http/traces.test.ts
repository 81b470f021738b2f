import test from 'ava';
import { FakeCollector } from '../helpers/fake-collector.ts';
import { get } from '../helpers/client.ts';
import { idle, startScene } from '../helpers/scene.ts';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const PARENT = '00f067aa0ba902b7';
const TRACEPARENT = `00-${TRACE}-${PARENT}-01`;
const HEADERS = { traceparent: TRACEPARENT, tracestate: 'vendor=1' };

test('a miss is one tree under the trace of its client', async (t) => {
  const collector = await FakeCollector.start(t);
  const { mirror, manifest, blob, image, registry } = await startScene(t, {
    tracing: { otlp: collector.url },
    registry: { auth: { kind: 'bearer' }, redirectBlobs: 307 },
  });
  await manifest('latest', { headers: HEADERS });
  await blob(image.layer(0), { headers: { ...HEADERS, 'X-Request-Id': 'one' } });
  await blob(image.layer(0), { headers: HEADERS });
  await mirror.stop();
  t.deepEqual(collector.tree(PARENT), [
    'GET manifest',
    '  resolve tag',
    '    ask upstream for manifest',
    '    ask for token',
    '    ask upstream for manifest',
    '    ask upstream for manifest',
    '    commit',
    'GET blob',
    '  look up blob',
    '  transfer',
    '    ask upstream for blob',
    '    follow to blob',
    '    commit',
    'GET blob',
    '  look up blob',
  ]);
  const { spans } = collector;
  t.deepEqual(
    [...new Set(spans.map(({ traceId, state }) => `${traceId} ${state}`))],
    [`${TRACE} vendor=1`],
  );
  const pull = spans.find(({ facts }) => facts['entrepot.id'] === 'one')!;
  const { target, source, status, bytes, client } = Object.fromEntries(
    Object.entries(pull.facts).map(([name, value]) => [name.replace('entrepot.', ''), value]),
  );
  t.deepEqual(
    { target, source, status, bytes, client },
    {
      target: 'hub.example/library/app',
      source: 'miss',
      status: 200,
      bytes: 1000,
      client: '127.0.0.1',
    },
  );
  // Each exchange with the registry is told where it stands; storage and token services are told nothing.
  const asking = spans.filter(({ name }) => name.startsWith('ask upstream'));
  t.deepEqual(
    registry.requests.map(({ origin, headers }) => [
      origin,
      headers.traceparent,
      headers.tracestate,
    ]),
    registry.requests.map(({ origin }) => {
      const span = origin === 'registry' ? asking.shift() : undefined;
      return span
        ? [origin, `00-${TRACE}-${span.spanId}-01`, 'vendor=1']
        : [origin, undefined, undefined];
    }),
  );
  t.deepEqual(asking, []);
});

test('clients that join a transfer link to the one that there is', async (t) => {
  const collector = await FakeCollector.start(t);
  const { mirror, manifest, blob, image, registry } = await startScene(t, {
    tracing: { otlp: collector.url },
  });
  await manifest('latest');
  const layer = image.layer(1);
  const gate = registry.hold(layer, { after: 500 });
  const traceOf = (place: number) => `${place}`.repeat(32);
  const asked = [1, 2, 3].map(async (place) =>
    blob(layer, { headers: { traceparent: `00-${traceOf(place)}-${PARENT}-01` } }),
  );
  await gate.arrived();
  await mirror.logged('request');
  gate.open();
  await Promise.all(asked);
  await mirror.stop();
  const [transfer, ...others] = collector.spans.filter(({ name }) => name === 'transfer');
  t.deepEqual(others, []);
  const joined = collector.spans.filter(({ facts }) => facts['entrepot.source'] === 'joined');
  t.is(joined.length, 2);
  t.deepEqual(
    joined.map(({ links }) => links),
    [[transfer!.spanId], [transfer!.spanId]],
  );
  t.false(joined.some(({ traceId }) => traceId === transfer!.traceId));
});

const PASSED_ON: readonly (readonly [traceparent: string, told: string | undefined])[] = [
  [TRACEPARENT, TRACEPARENT],
  [`00-${TRACE}-${PARENT}-00`, `00-${TRACE}-${PARENT}-00`],
  [`01-${TRACE}-${PARENT}-01-more`, TRACEPARENT],
  [`00-${TRACE}-${PARENT}-01-more`, undefined],
  [`ff-${TRACE}-${PARENT}-01`, undefined],
  [`00-${TRACE.toUpperCase()}-${PARENT}-01`, undefined],
  [`00-${'0'.repeat(32)}-${PARENT}-01`, undefined],
  [`00-${TRACE}-${'0'.repeat(16)}-01`, undefined],
  ['nonsense', undefined],
];

test('what a client says of its trace goes on to the upstream, also where no spans are made', async (t) => {
  const { manifest, registry } = await startScene(t);
  for (const [traceparent, told] of PASSED_ON) {
    registry.clear();
    await manifest('latest', { headers: { traceparent, tracestate: 'a=1,b=2' } });
    const { headers } = registry.requests[0]!;
    t.deepEqual([headers.traceparent, headers.tracestate], [told, told && 'a=1,b=2'], traceparent);
  }
  for (const tracestate of ['x'.repeat(513), 'caf\u00e9=1']) {
    registry.clear();
    await manifest('latest', { headers: { traceparent: TRACEPARENT, tracestate } });
    const { headers } = registry.requests[0]!;
    t.deepEqual([headers.traceparent, headers.tracestate], [TRACEPARENT, undefined]);
  }
  registry.clear();
  await manifest('latest', { headers: { tracestate: 'a=1' } });
  t.is(registry.requests[0]!.headers.tracestate, undefined);
});

test('the line of a traced request names its trace', async (t) => {
  const { manifest, mirror } = await startScene(t);
  await manifest('latest', { headers: HEADERS });
  await manifest('latest');
  t.deepEqual(
    mirror.log.filter(({ msg }) => msg === 'request').map(({ trace }) => trace),
    [TRACE, undefined],
  );
});

test('of a trace that is not recorded no span is sent, and the upstream is told so', async (t) => {
  const collector = await FakeCollector.start(t);
  const { mirror, manifest, registry } = await startScene(t, { tracing: { otlp: collector.url } });
  await manifest('latest', { headers: { traceparent: `00-${TRACE}-${PARENT}-00` } });
  await mirror.stop();
  t.deepEqual(collector.spans, []);
  for (const { headers } of registry.requests) {
    t.regex(String(headers.traceparent), new RegExp(`^00-${TRACE}-[\\da-f]{16}-00$`));
  }
});

test('what is completed in the background is no part of the trace of a client', async (t) => {
  const { mirror, manifest, blob, image, registry } = await startScene(t, {
    upstream: { hydrate: 'blob' },
  });
  await manifest('latest', { headers: HEADERS });
  await blob(image.layer(0), { headers: HEADERS });
  await registry.seen(image.layer(1));
  await idle(mirror);
  const told = registry.requests.filter(({ path }) => path.includes(image.layer(1).digest));
  t.deepEqual(
    told.map(({ headers }) => headers.traceparent),
    [undefined],
  );
});

test('an upstream that fails is a fault of the spans that it fails', async (t) => {
  const collector = await FakeCollector.start(t);
  const { mirror, manifest, registry } = await startScene(t, { tracing: { otlp: collector.url } });
  await registry.refuse();
  await manifest('latest', { headers: HEADERS });
  await mirror.stop();
  const faults = collector.spans.filter(({ fault }) => fault !== '');
  t.deepEqual([...new Set(faults.map(({ name }) => name))].toSorted(), [
    'GET manifest',
    'ask upstream for manifest',
    'resolve tag',
  ]);
  for (const { fault } of faults) t.regex(fault, /^hub\.example: no connection to/);
});

test('a collector that never answers holds up no request and no stop, and what it has not is counted', async (t) => {
  const collector = await FakeCollector.start(t, () => undefined);
  const { mirror, manifest } = await startScene(t, { tracing: { otlp: collector.url } });
  for (let pulls = 0; pulls < 10; pulls += 1) {
    t.is((await manifest('latest', { headers: HEADERS })).status, 200);
  }
  const { metrics } = mirror.server;
  await mirror.stop();
  const [lost] = (await metrics.spansLost.get()).values;
  t.true(lost!.value > 20, `${lost!.value} were lost`);
  await mirror.logged('the collector does not take all spans');
});

test('more spans than may wait are lost at once, and the mirror goes on', async (t) => {
  const collector = await FakeCollector.start(t, () => undefined);
  const { mirror } = await startScene(t, { tracing: { otlp: collector.url } });
  const { metrics } = mirror.server;
  const lost = async () => (await metrics.spansLost.get()).values[0]?.value ?? 0;
  for (let asked = 0; (await lost()) === 0 && asked < 3000; asked += 50) {
    const pings = Array.from({ length: 50 }, async () => get(`${mirror.url}/v2/`));
    for (const { status } of await Promise.all(pings)) t.is(status, 200);
  }
  t.true((await lost()) > 0);
});
