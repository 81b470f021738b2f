/**
 * What is hot is answered by a way of its own. Here each request is asked twice: as it is, and with a `Via` that
 * changes nothing but that the application answers. Bytes, lines, audit, metrics and counted pulls must be the same.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { Config } from '../../src/config/config.ts';
import { basic, writeUsers } from '../access/guarded-scene.ts';
import { get, rawRequest, type GetOptions } from '../helpers/client.ts';
import { Clock, MINUTE } from '../helpers/clock.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildImage } from '../helpers/image.ts';
import type { Digest } from '../../src/oci/digest.ts';
import { parseRepository } from '../../src/oci/reference.ts';
import { createTempFolder, startMirror, type TestMirror } from '../helpers/mirror.ts';
import { until } from '../helpers/until.ts';
import { Scrape } from '../helpers/scrape.ts';
import { applied } from './applied.ts';

const HUB = 'hub.example';
const TEXT = buildImage({ seed: 'text', layers: [1000] });
const OTHER = buildImage({ seed: 'other', layers: [1000], annotations: { author: 'Jürgen – ☃' } });
const MEDIA_TYPE = 'application/vnd.oci.image.manifest.v1+json';
const TTL = 10 * MINUTE;

interface Ask {
  readonly method: 'GET' | 'HEAD';
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly version: '1.1' | '1.0';
}

interface World {
  readonly mirror: TestMirror;
  readonly registry: FakeRegistry;
  readonly clock: Clock;
  readonly audit: string;
}

type Options = Partial<Pick<Config, 'access' | 'admission' | 'trustProxy'>> & {
  log?: Partial<Config['log']>;
};

async function startWorld(t: ExecutionContext, options: Options = {}): Promise<World> {
  const clock = new Clock();
  const registry = await FakeRegistry.start(t, { now: clock.now });
  for (const repository of ['library/app', 'org/private', 'org/near']) {
    registry.addImage(repository, 'v1', TEXT);
    registry.addImage(repository, 'v2', OTHER);
  }
  const audit = join(await createTempFolder(t), 'audit');
  const mirror = await startMirror(t, {
    clock,
    upstreams: { [HUB]: { url: registry.url, hosts: ['app.example'], tags: { ttlMs: TTL } } },
    ...options,
    log: { audit, ...options.log },
  });
  return { mirror, registry, clock, audit };
}

/** Every combination of one of each. */
function* product<Value>(...lists: readonly (readonly Value[])[]): Generator<Value[]> {
  const [first, ...rest] = lists;
  if (!first) return yield [];
  for (const value of first) for (const others of product(...rest)) yield [value, ...others];
}

const REFERENCES = ['v1', 'v2', TEXT.manifest.digest, OTHER.manifest.digest];
const WAYS: readonly ((repository: string, reference: string) => Pick<Ask, 'path' | 'headers'>)[] =
  [
    (repository, reference) => ({ path: `/v2/${repository}/manifests/${reference}`, headers: {} }),
    (repository, reference) => ({
      path: `/v2/${HUB}/${repository}/manifests/${reference}`,
      headers: {},
    }),
    (repository, reference) => ({
      path: `/${HUB}/v2/${repository}/manifests/${reference}`,
      headers: {},
    }),
    (repository, reference) => ({
      path: `/v2/${repository}/manifests/${reference}?ns=${HUB}`,
      headers: {},
    }),
    (repository, reference) => ({
      path: `/v2/${repository}/manifests/${reference}`,
      headers: { 'OCI-Namespace': HUB },
    }),
    (repository, reference) => ({
      path: `/v2/${repository}/manifests/${reference}`,
      headers: { Host: 'app.example' },
    }),
  ];
const PINGS = ['/v2/', '/v2'].map((path) => () => ({ path, headers: {} }));
const ACCEPTS: readonly Ask['headers'][] = [
  {},
  { Accept: MEDIA_TYPE },
  { Accept: 'application/*' },
  { Accept: `text/html, ${MEDIA_TYPE};q=0, */*` },
  { Accept: 'text/html, application/json' },
];
const CONDITIONS: readonly Ask['headers'][] = [
  {},
  { 'If-None-Match': `"${TEXT.manifest.digest}"` },
  { 'If-None-Match': `W/"${TEXT.manifest.digest}", "other"` },
  { 'If-None-Match': '*' },
  {
    Range: 'bytes=0-3',
    'If-Match': '"other"',
    'If-Modified-Since': 'Thu, 01 Jan 2099 00:00:00 GMT',
  },
];
const CLIENTS: readonly Ask['headers'][] = [
  {},
  { 'User-Agent': 'containerd/2.3 "x" \u00e9' },
  { traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' },
  { 'X-Forwarded-For': '192.0.2.7, 127.0.0.1', 'X-Forwarded-Host': 'app.example' },
];

interface Part {
  readonly method?: Ask['method'];
  readonly way?: (typeof WAYS)[number];
  readonly reference?: string;
  readonly headers?: Ask['headers'];
}

function asksOf(lists: readonly (readonly Part[])[], repository = 'library/app'): Ask[] {
  return [...product<Part>(...lists)].map((parts) => {
    const { method = 'GET', way, reference = '' } = Object.assign({}, ...parts) as Part;
    const { path, headers } = way!(repository, reference);
    const shown = Object.assign(
      {},
      headers,
      ...parts.map((part) => part.headers),
    ) as Ask['headers'];
    return { method, path, headers: shown, version: '1.1' };
  });
}

const METHODS: readonly Part[] = [{ method: 'GET' }, { method: 'HEAD' }];
const by = (ways: typeof WAYS): Part[] => ways.map((way) => ({ way }));
const to = (references: readonly string[]): Part[] =>
  references.map((reference) => ({ reference }));
const withHeaders = (lists: readonly Ask['headers'][]): Part[] =>
  lists.map((headers) => ({ headers }));

function textOf({ method, path, headers, version }: Ask, id: string, more = ''): string {
  const shown = { Host: 'mirror.example', ...headers, 'X-Request-Id': id };
  const lines = Object.entries(shown).map(([name, value]) => `${name}: ${value}\r\n`);
  return `${method} ${path} HTTP/${version}\r\n${lines.join('')}${more}\r\n`;
}

/** The connection ends with it. */
const LAST: Ask = { method: 'GET', path: '/', headers: { Connection: 'close' }, version: '1.1' };
const VIA = 'Via: 1.1 elsewhere\r\n';

/** What was said, line by line, audited, counted and noted since the last look. */
async function look({ mirror, audit }: World, from: { lines: number; audited: number }) {
  const { access } = mirror.server.store.parts;
  await access.flush();
  const target = { upstream: HUB, repository: parseRepository('library/app') };
  const pulls = await Promise.all(
    [TEXT, OTHER].map(async ({ manifest: { digest } }) =>
      mirror.server.catalog.countPulls({ target, digest: digest as Digest }),
    ),
  );
  const plain = (line: object): object => ({ ...line, time: 0, ms: 0, ttfbMs: 0 });
  const lines = mirror.log.filter(({ msg }) => msg === 'request');
  const isAudited = ({ kind, subject, denied }: Record<string, unknown>): boolean =>
    kind === 'manifest' ||
    kind === 'token' ||
    (kind === 'ping' && subject !== undefined && denied !== 'anonymous');
  const readAudit = (): string[] => readFileSync(audit, 'utf8').split('\n').slice(0, -1);
  const count = lines.filter(isAudited).length;
  await until('all of it stands in the audit', () => readAudit().length === count);
  const audited = readAudit();
  const scrape = new Scrape(await mirror.server.metrics.expose());
  const counted = new Map(
    scrape.samples
      .filter(
        ({ name }) => /^entrepot_(?:http|cache)_/.test(name) && !/_(?:sum|bucket)$/.test(name),
      )
      .map(({ name, labels, value }) => [`${name} ${JSON.stringify(labels)}`, value]),
  );
  return {
    lines: lines.slice(from.lines).map(plain),
    audited: audited.slice(from.audited).map((line) => plain(JSON.parse(line) as object)),
    counted,
    pulls,
    at: { lines: lines.length, audited: audited.length },
  };
}

/** Whether both ways say the same of these on one connection, each sent ahead of the answer before it. */
async function compare(
  t: ExecutionContext,
  world: World,
  given: readonly Ask[],
  { hot, isLast = false }: { hot: number; isLast?: boolean },
): Promise<void> {
  const asks = isLast ? given : [...given, LAST];
  const { port } = new URL(world.mirror.url);
  let seen = await look(world, { lines: 0, audited: 0 });
  const run = async (name: string, more: string) => {
    const before = applied.count;
    const sent = asks.map((ask, place) => textOf(ask, `${name}-${place}`, more));
    const received = await rawRequest(Number(port), sent.join(''));
    const reached = applied.count - before;
    const now = await look(world, seen.at);
    const told = {
      received: received.replaceAll(/^Date: .*$/gm, '').replaceAll(`X-Request-Id: ${name}-`, ''),
      lines: JSON.stringify(now.lines).replaceAll(`"id":"${name}-`, '"id":"'),
      audited: JSON.stringify(now.audited).replaceAll(`"id":"${name}-`, '"id":"'),
      counted: [...now.counted].map(([key, value]) => [key, value - (seen.counted.get(key) ?? 0)]),
      pulls: now.pulls.map((count, place) => count - seen.pulls[place]!),
    };
    seen = now;
    return { reached, told };
  };
  // The first time of each is learned from the application.
  await run('first', '');
  const long = await run('long', VIA);
  const short = await run('short', '');
  t.is(long.reached, asks.length);
  t.is(asks.length - short.reached, hot, 'so many are hot');
  t.deepEqual(short.told, long.told);
}

test.serial('what is hot is said as the application says it, byte by byte', async (t) => {
  const world = await startWorld(t);
  const asks = asksOf([METHODS, by(WAYS), to(REFERENCES)]);
  await compare(t, world, asks, { hot: asks.length });
  const negotiated = asksOf([
    METHODS,
    by(WAYS.slice(0, 1)),
    to(REFERENCES),
    withHeaders(ACCEPTS),
    withHeaders(CONDITIONS),
  ]);
  // Of five kinds of `Accept` two take no manifest.
  await compare(t, world, negotiated, { hot: (negotiated.length * 3) / 5 });
  const pings = asksOf([METHODS, by(PINGS), withHeaders(CLIENTS)]);
  await compare(t, world, pings, { hot: pings.length });
});

test.serial('it is the same of HTTP/1.0, and where the client closes', async (t) => {
  const world = await startWorld(t);
  const asks = asksOf([METHODS, by([WAYS[0]!, PINGS[0]!]), to(['v1', 'v2'])]);
  const ofConnection = (connection: string, version: Ask['version']): Ask[] =>
    asks.map((ask) => ({ ...ask, version, headers: { ...ask.headers, Connection: connection } }));
  await compare(t, world, ofConnection('keep-alive', '1.0'), { hot: asks.length });
  for (const ask of [...ofConnection('close', '1.0'), ...ofConnection('close', '1.1')]) {
    await compare(t, world, [ask], { hot: 1, isLast: true });
  }
});

test.serial(
  'it is the same for whoever may come in, and who may not is refused by the application',
  async (t) => {
    const htpasswd = join(await createTempFolder(t), 'htpasswd');
    writeUsers(htpasswd, { alice: 'wonder', bob: 'bob' });
    const world = await startWorld(t, {
      access: {
        token: { ttl: 10 * MINUTE },
        htpasswd: { file: htpasswd },
        rules: [
          { who: ['anonymous'], may: ['pull'], images: [`${HUB}/library/**`] },
          {
            who: ['anonymous'],
            from: ['192.0.2.0/24'],
            may: ['pull'],
            images: [`${HUB}/org/near`],
          },
          { who: ['user:alice'], may: ['pull'], images: [`${HUB}/org/**`] },
        ],
      },
      trustProxy: ['127.0.0.0/8'],
    });
    const bearer = async (user: string, secret: string, repository: string) => {
      const token = `${world.mirror.url}/token?service=x&scope=repository:${repository}:pull`;
      const { body } = await get(token, { headers: basic(user, secret) });
      const { token: given } = JSON.parse(body.toString()) as { token: string };
      return { Authorization: `Bearer ${given}` };
    };
    const alice = await bearer('alice', 'wonder', 'org/private');
    const shown: readonly Ask['headers'][] = [
      {},
      alice,
      await bearer('alice', 'wonder', 'org/other'),
      await bearer('bob', 'bob', 'org/private'),
      { Authorization: 'Bearer eyJhbGciOiJub25lIn0.e30.' },
      { Authorization: basic('alice', 'wonder').authorization },
      { Authorization: '' },
    ];
    const ways = by([WAYS[0]!, WAYS[3]!]);
    const pull = (repository: string, headers: readonly Ask['headers'][]): Ask[] =>
      asksOf([METHODS, ways, to(REFERENCES), withHeaders(headers)], repository);
    // Of what is everybody's: all but two whose secret has to be looked at.
    const open = pull('library/app', shown);
    await compare(t, world, open, { hot: (open.length * 5) / 7 });
    // Of what is not: the one who may, by a token that is for it.
    const closed = pull('org/private', shown);
    await compare(t, world, closed, { hot: closed.length / 7 });
    const near = pull('org/near', [{}, { 'X-Forwarded-For': '192.0.2.7' }, alice]);
    await compare(t, world, near, { hot: near.length / 3 });
    const pings = asksOf([METHODS, by(PINGS), withHeaders(shown)]);
    await compare(t, world, pings, { hot: (pings.length * 3) / 7 });
    const clients = asksOf([METHODS, ways, to(REFERENCES), withHeaders(CLIENTS)]);
    await compare(t, world, clients, { hot: clients.length });
    world.clock.advance(11 * MINUTE);
    const ended = pull('org/private', [alice]);
    await compare(t, world, ended, { hot: 0 });
  },
);

test.serial(
  'what has a rule of admission, or is only a little unusual, goes by the application',
  async (t) => {
    const world = await startWorld(t, {
      admission: {
        trust: {},
        rules: [{ images: [`${HUB}/org/**`], mode: 'audit', minAge: MINUTE }],
      } as never,
    });
    const judged = asksOf([METHODS, by(WAYS.slice(0, 1)), to(REFERENCES)], 'org/private');
    await compare(t, world, judged, { hot: 0 });
    const others = asksOf([METHODS, by(WAYS.slice(0, 1)), to(REFERENCES)]);
    await compare(t, world, others, { hot: others.length });
    const unusual = asksOf([
      by(WAYS.slice(0, 1)),
      to(REFERENCES),
      withHeaders([
        { 'Cache-Control': 'max-age=0' },
        { 'Content-Length': '0' },
        { Via: '1.1 other' },
      ]),
    ]);
    await compare(t, world, unusual, { hot: 0 });
  },
);

test.serial('a share of lines is the same share, by either way', async (t) => {
  const world = await startWorld(t, { log: { access: 0.5 } });
  const asks = asksOf([METHODS, by(WAYS), to(REFERENCES)]);
  const { port } = new URL(world.mirror.url);
  const ids = async (more: string) => {
    const before = world.mirror.log.length;
    const sent = [...asks, LAST].map((ask, place) => textOf(ask, `id-${place}`, more));
    await rawRequest(Number(port), sent.join(''));
    return world.mirror.log.slice(before).flatMap(({ msg, id }) => (msg === 'request' ? [id] : []));
  };
  await ids('');
  const long = await ids(VIA);
  t.true(long.length > 10 && long.length < asks.length);
  t.deepEqual(await ids(''), long);
});

test.serial(
  'what is hot is judged anew each time: what its tag means, how old it is, whether it is held',
  async (t) => {
    const { mirror, registry, clock } = await startWorld(t);
    const ask = async (reference: string, options: GetOptions = {}) => {
      const before = applied.count;
      const path = `${mirror.url}/v2/library/app/manifests/${reference}`;
      const { status, headers } = await get(path, options);
      const { age, 'docker-content-digest': digest, 'cache-status': cache } = headers;
      return { status, digest, age, cache, isHot: applied.count === before };
    };
    const hit = { status: 200, cache: 'entrepot; hit' };
    const [text, other] = [TEXT, OTHER].map(({ manifest }) => manifest.digest);
    await ask('v1');
    await ask(text!);
    t.deepEqual(await ask('v1'), { ...hit, digest: text, age: '0', isHot: true });
    clock.advance(TTL - 1);
    t.deepEqual(await ask('v1'), { ...hit, digest: text, age: '599', isHot: true });
    // Its time is over, and the tag means another one by now.
    registry.addImage('library/app', 'v1', OTHER);
    clock.advance(1);
    const moved = { status: 200, digest: other, age: '0', cache: 'entrepot; fwd=miss; stored' };
    t.deepEqual(await ask('v1'), { ...moved, isHot: false });
    t.deepEqual(await ask('v1'), { ...hit, digest: other, age: '0', isHot: true });
    t.deepEqual(await ask(text!), { ...hit, digest: text, age: '600', isHot: true });
    // Who wishes to know anew has the upstream asked.
    const anew = { headers: { 'Cache-Control': 'no-cache' } };
    const confirmed = { status: 200, digest: other, age: '0', isHot: false };
    t.deepEqual(await ask('v1', anew), {
      ...confirmed,
      cache: 'entrepot; hit; detail=revalidated',
    });
    // By a clock that was set back nothing is known of its age.
    clock.setBack(3 * TTL);
    t.false((await ask(text!)).isHot);
    clock.setBack(-3 * TTL);
    await mirror.server.store.care.budget.evict(Infinity);
    for (const reference of ['v1', text!]) {
      const { isHot, cache } = await ask(reference);
      t.deepEqual(
        { isHot, cache },
        { isHot: false, cache: 'entrepot; fwd=miss; stored' },
        reference,
      );
    }
  },
);

test.serial('a reload counts for what is hot', async (t) => {
  const clock = new Clock();
  const registry = await FakeRegistry.start(t, { now: clock.now });
  registry.addImage('library/app', 'v1', TEXT);
  const upstream = { url: registry.url, tags: { ttlMs: TTL } };
  const upstreams = { [HUB]: upstream };
  const mirror = await startMirror(t, { clock, upstreams });
  const ask = async () => {
    const before = applied.count;
    const { status } = await get(`${mirror.url}/v2/library/app/manifests/v1`);
    return { status, isHot: applied.count === before };
  };
  await ask();
  t.deepEqual(await ask(), { status: 200, isHot: true });
  await mirror.reload({ clock, upstreams: { [HUB]: { ...upstream, deny: ['library/**'] } } });
  t.deepEqual(await ask(), { status: 403, isHot: false });
  await mirror.reload({ clock, upstreams });
  t.deepEqual(await ask(), { status: 200, isHot: false });
  t.deepEqual(await ask(), { status: 200, isHot: true });
  await mirror.reload({ clock, upstreams, offline: true });
  await ask();
  t.deepEqual(await ask(), { status: 200, isHot: true });
  clock.advance(TTL);
  t.deepEqual(await ask(), { status: 200, isHot: false });
});
