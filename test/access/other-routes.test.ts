/**
 * The routes beside those to content: `/v2/`, lists of repositories, `/token`, and every method that a mirror
 * does not take. All that the client door has is decided here or in every-route.test.ts.
 */
import { Agent } from 'node:http';
import test, { type ExecutionContext } from 'ava';
import { get, rawRequest } from '../helpers/client.ts';
import { watchRoutes } from '../helpers/running-routes.ts';
import { countReads } from './count-reads.ts';
import { identitiesOf } from './identities.ts';
import { lasting, ROUTES, WAYS } from './requests.ts';
import { HUB, KINDS, mayDo, OTHER, startWorld, type Identity } from './world.ts';

/** Each route that is no content, with the paths by which it is asked below. */
const PATHS: Readonly<Record<string, readonly string[]>> = {
  [String.raw`GET /^\/$/`]: ['/'],
  [String.raw`GET /^(?:\/(?!v2\/?$)[^/]+)?\/v2\/?$/`]: [
    '/v2/',
    '/v2',
    `/${OTHER}/v2/`,
    '/else/v2/',
  ],
  [String.raw`GET /^(?:\/(?!v2\/)([^/]+))?\/v2\/_catalog$/`]: [
    '/v2/_catalog',
    `/${OTHER}/v2/_catalog`,
  ],
  'GET /token': ['/token', '/token/'],
  'POST /token': ['/token'],
};
const [ROOT, PING] = Object.keys(PATHS);

async function start(t: ExecutionContext) {
  const running = watchRoutes();
  const world = await startWorld(t);
  const identities = await identitiesOf(world);
  const agent = new Agent({ keepAlive: true, maxSockets: 8 });
  t.teardown(() => agent.destroy());
  const ask = async (path: string, { headers }: Pick<Identity, 'headers'>, method = 'GET') =>
    get(world.mirror.url, { path, headers, method, agent });
  return { running, world, identities, ask };
}

test('each route that is no content is one of these', async (t) => {
  const { running } = await start(t);
  const routes = running.clients().routes.filter((each) => !each.startsWith('GET …'));
  // A route for all methods is there for those that are let through.
  const rest = routes.filter((each) => !each.endsWith(' /token'));
  t.deepEqual(
    rest,
    Object.keys(PATHS)
      .filter((each) => !each.endsWith(' /token'))
      .toSorted(),
  );
  t.true(routes.includes('POST /token'));
});

test('/v2/ asks all to log in who show nothing that counts; / asks nobody', async (t) => {
  const { identities, ask } = await start(t);
  for (const [name, identity] of Object.entries(identities)) {
    for (const method of ['GET', 'HEAD']) {
      for (const path of PATHS[ROOT!]!) t.is((await ask(path, identity, method)).status, 200, name);
      for (const path of PATHS[PING!]!) {
        const { status, headers } = await ask(path, identity, method);
        const isNobody = identity.who === 'nobody' || identity.who === 'inside';
        const isIn = identity.isToken === true || !isNobody;
        const told = `${name}: ${method} ${path}`;
        t.is(status, isIn ? 200 : 401, told);
        t.is(headers['cache-control'], isIn ? 'private, no-store' : 'no-store', told);
        const challenge = /^Bearer realm="http:\/\/[^"]+\/token",service="entrepot-[0-9a-f]{8}"$/;
        if (isIn) t.is(headers['www-authenticate'], undefined, told);
        else t.regex(String(headers['www-authenticate']), challenge, told);
      }
    }
  }
});

test('lists of repositories have what who asks may list, however the registry is named', async (t) => {
  const { identities, ask, world } = await start(t);
  for (const [name, identity] of Object.entries(identities)) {
    for (const { upstream, path, headers } of Object.values(WAYS)) {
      // Where the registry stands in the name of a repository there is no list.
      if (!path('x', 'y').includes('/v2/x/y')) continue;
      const address = path('x', 'y').replace('x/y', '_catalog');
      const all = { headers: { ...headers, ...identity.headers } };
      const { status, body, headers: sent } = await ask(address, all);
      const told = `${name}: ${address}`;
      // Its scope is repositories.
      const who = identity.isToken ? 'nobody' : identity.who;
      const listed = KINDS.filter(
        (kind) => mayDo('nobody', upstream, kind, 'list') || mayDo(who, upstream, kind, 'list'),
      );
      t.is(status, 200, told);
      t.regex(String(sent['cache-control']), /private/, told);
      const names = listed.map((kind) => `${kind}/here1`).toSorted();
      t.deepEqual(JSON.parse(String(body)), { repositories: names }, told);
    }
  }
  t.true(world.registries[HUB]!.requests.length > 0);
});

test('/token gives a token for a scope to all, and without one to those that it knows', async (t) => {
  const { identities, ask } = await start(t);
  for (const [name, identity] of Object.entries(identities)) {
    const isNobody = identity.who === 'nobody' || identity.who === 'inside';
    // A token is no credential: it would count for ever, and for more than it was given for.
    const isKnown = !isNobody && !identity.isToken;
    for (const path of PATHS['GET /token']!) {
      const scoped = await ask(`${path}?scope=repository:${HUB}/team/here1:pull`, identity);
      t.is(scoped.status, 200, name);
      const { token } = JSON.parse(String(scoped.body)) as { token: string };
      const pull = await ask(`/v2/${HUB}/team/here1/manifests/v1`, {
        headers: { accept: '*/*', authorization: `Bearer ${token}` },
      });
      const mayPull = isKnown && mayDo(identity.who, HUB, 'team', 'pull');
      t.is(pull.status, isKnown ? (mayPull ? 200 : 404) : 401, name);
      const login = await ask(`${path}?service=x&account=alice`, identity);
      t.is(login.status, isKnown ? 200 : 401, name);
      t.is(login.headers['www-authenticate'] === undefined, isKnown, name);
      for (const { headers } of [scoped, login]) {
        t.regex(String(headers['cache-control']), /no-store/, name);
      }
    }
  }
});

const METHODS = ['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'PROPFIND', 'QUERY'];

test('every other method is answered alike, whatever is there and whoever asks', async (t) => {
  const { identities, ask, world } = await start(t);
  const paths = [
    ...Object.values(ROUTES).flatMap(({ below }) =>
      ['open', 'none'].flatMap((kind) =>
        ['here1', 'away1'].map((last) => `/v2/${HUB}/${kind}/${last}/${below(world, HUB, 'none')}`),
      ),
    ),
    `/v2/${HUB}/open/away1/blobs/uploads/?mount=${world.image(HUB, 'none').layer(0).digest}&from=none/here1`,
    ...Object.values(PATHS).flat(),
  ];
  for (const registry of Object.values(world.registries)) registry.clear();
  const reads = countReads(world.mirror.server);
  const seen = new Set<string>();
  for (const name of ['nobody', 'bob', 'keeper', 'damaged token']) {
    for (const path of paths) {
      for (const method of METHODS) {
        if (path.startsWith('/token') && method === 'POST') continue;
        const { status, headers, body } = await ask(path, identities[name]!, method);
        seen.add(JSON.stringify([status, lasting(headers), String(body)]));
      }
    }
  }
  t.is(seen.size, 1, [...seen].join('\n'));
  t.regex([...seen].join(''), /^\[405,.*"allow":"GET, HEAD".*UNSUPPORTED/);
  // Parsers of HTTP have the last word about these.
  const { port } = new URL(world.mirror.url);
  const line = `/v2/${HUB}/open/here1/manifests/v1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`;
  t.regex(await rawRequest(Number(port), `BREW ${line}`), /^HTTP\/1\.1 400 /);
  t.notRegex(await rawRequest(Number(port), `CONNECT ${line}`), /^HTTP\/1\.1 2/);
  t.deepEqual(
    Object.values(world.registries).flatMap((registry) => registry.conversation()),
    [],
  );
  t.deepEqual(reads(), []);
});
