/**
 * Every route of the admin door, read from the running application, × method × identity × role; its metrics,
 * health and private socket. A new route has no decision until it stands here.
 */
import { once } from 'node:events';
import { request } from 'node:http';
import { connect } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { adminSocketPath } from '../../src/config/listen.ts';
import { get } from '../helpers/client.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { createTempFolder, startMirror, type TestMirror } from '../helpers/mirror.ts';
import { watchRoutes } from '../helpers/running-routes.ts';
import { lasting } from './requests.ts';
import { basic, bearer, tokenFor, writeUsers } from './world.ts';
import { join } from 'node:path';

const ROLES = ['metrics', 'view', 'operate', 'admin'] as const;
type Role = (typeof ROLES)[number];

/** Which role each route is for; `open` to all. */
const DECISIONS: Readonly<Record<string, Role | 'open'>> = {
  'GET /healthz': 'open',
  'GET /readyz': 'open',
  'GET /metrics': 'metrics',
  'GET /api/v1/status': 'view',
  'GET /api/v1/store': 'view',
  'GET /api/v1/images': 'view',
  'GET /api/v1/explain': 'view',
  'GET /api/v1/policy': 'view',
  'GET /api/v1/admission': 'view',
  'GET /api/v1/admission/refused': 'view',
  'GET /api/v1/gc': 'view',
  'GET /api/v1/rm': 'view',
  'GET /api/v1/verify': 'view',
  'GET /api/v1/pins': 'view',
  'GET /api/v1/sync': 'view',
  'GET /api/v1/sync/run': 'view',
  'GET /api/v1/sync/run/images': 'view',
  'GET /api/v1/warm/:id': 'view',
  'GET /api/v1/inventory': 'view',
  'GET /api/v1/bundles': 'view',
  'GET /api/v1/bundles/drafts/:id': 'view',
  'GET /api/v1/bundles/drafts/:id/blobs/:digest': 'view',
  'POST /api/v1/gc': 'operate',
  'POST /api/v1/refresh': 'operate',
  'POST /api/v1/rm': 'operate',
  'POST /api/v1/verify': 'operate',
  'POST /api/v1/pins': 'operate',
  'DELETE /api/v1/pins': 'operate',
  'PUT /api/v1/in-use/:source': 'operate',
  'POST /api/v1/sync/plan': 'operate',
  'POST /api/v1/sync/run': 'operate',
  'POST /api/v1/warm': 'operate',
  'POST /api/v1/bundles/parts': 'operate',
  'POST /api/v1/bundles/drafts': 'operate',
  'POST /api/v1/bundles/layouts': 'operate',
  'DELETE /api/v1/bundles/drafts/:id': 'operate',
  'POST /api/v1/reload': 'admin',
  'GET /api/v1/tokens': 'admin',
  'POST /api/v1/tokens': 'admin',
  'DELETE /api/v1/tokens/:id': 'admin',
};

interface Shown {
  readonly headers: Readonly<Record<string, string>>;
  /** The highest one; none for a known subject without one, `nobody` for who is not known. */
  readonly role: Role | 'none' | 'nobody';
}

async function start(t: ExecutionContext) {
  const running = watchRoutes();
  const registry = await FakeRegistry.start(t);
  const file = join(await createTempFolder(t), 'htpasswd');
  const users = [...ROLES, 'puller'];
  writeUsers(file, Object.fromEntries(users.map((user) => [user, user])));
  const mirror = await startMirror(t, {
    upstreams: { 'hub.example': { url: registry.url } },
    trustProxy: ['127.0.0.1'],
    metrics: { listen: { host: '127.0.0.1', port: 0 } },
    access: {
      token: { ttl: 300_000 },
      htpasswd: { file },
      rules: [
        ...ROLES.map((role) => ({ who: [`user:${role}`, `token:${role}`], may: [role] })),
        { who: ['user:puller'], may: ['pull' as const, 'list' as const], images: ['**'] },
        // For a network in which nobody here is, whatever headers say.
        { who: ['anonymous'], from: ['10.0.0.0/8'], may: ['admin' as const] },
      ],
    },
  });
  return { running, mirror, identities: await identitiesOf(mirror) };
}

async function identitiesOf(mirror: TestMirror): Promise<Readonly<Record<string, Shown>>> {
  const admin = basic('admin', 'admin');
  const create = async (
    name: string,
    made: { role?: Role } = {},
  ): Promise<{ id: string; secret: string }> => {
    const { body } = await get(`${mirror.server.adminUrl}/api/v1/tokens`, {
      method: 'POST',
      headers: { ...admin, 'content-type': 'application/json' },
      body: JSON.stringify({ name, ...made }),
    });
    return JSON.parse(String(body)) as { id: string; secret: string };
  };
  const [scraper, past] = [await create('metrics'), await create('admin', { role: 'admin' })];
  // No rule knows its name.
  const byRole = async (role: Role): Promise<[string, Shown]> => {
    const { secret } = await create('plain', { role });
    return [`token made with the role ${role}`, { headers: bearer(secret), role }];
  };
  await get(`${mirror.server.adminUrl}/api/v1/tokens/${past.id}`, {
    method: 'DELETE',
    headers: admin,
  });
  const scopes = ['repository:hub.example/a/b:pull', 'registry:catalog:*'];
  return {
    nobody: { headers: {}, role: 'nobody' },
    'nobody with an address of his own': {
      headers: { 'x-forwarded-for': '10.1.1.1', forwarded: 'for=10.1.1.1' },
      role: 'nobody',
    },
    'foreign pair': { headers: basic('hub-user', 'secret'), role: 'nobody' },
    'revoked token': { headers: bearer(past.secret), role: 'nobody' },
    // What is given out for pulls opens no other door.
    'pull token of an admin': {
      headers: bearer(await tokenFor(mirror, admin, scopes)),
      role: 'nobody',
    },
    'pull token of nobody': { headers: bearer(await tokenFor(mirror, {}, scopes)), role: 'nobody' },
    puller: { headers: basic('puller', 'puller'), role: 'none' },
    'token without a role': { headers: bearer((await create('plain')).secret), role: 'none' },
    ...Object.fromEntries(await Promise.all(ROLES.map(byRole))),
    'token for metrics': { headers: bearer(scraper.secret), role: 'metrics' },
    ...Object.fromEntries(ROLES.map((role) => [role, { headers: basic(role, role), role }])),
  };
}

/** The naive evaluator. */
function expected(needed: Role | 'open', has: Shown['role']): 'in' | 401 | 403 {
  if (needed === 'open') return 'in';
  if (has === 'nobody') return 401;
  if (has === 'none') return 403;
  return ROLES.indexOf(has) >= ROLES.indexOf(needed) ? 'in' : 403;
}

/** What a path is for, by any method that it does not have: what is no read is a write. */
function neededFor(method: string, route: string, path: string): Role | 'open' {
  const decided = DECISIONS[`${method === 'HEAD' ? 'GET' : method} ${route}`];
  if (decided !== undefined) return decided;
  if (DECISIONS[`GET ${route}`] === 'open') return 'open';
  if (route === '/metrics') return 'metrics';
  if (/^\/api\/v1\/(?:tokens|reload)/.test(path)) return 'admin';
  return method === 'GET' || method === 'HEAD' ? 'view' : 'operate';
}

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'PROPFIND'];

test('each route of the admin door has its decision', async (t) => {
  const { running } = await start(t);
  const { routes, others } = running.admin();
  t.deepEqual(routes, Object.keys(DECISIONS).toSorted());
  // What admits to it, and what answers methods that a route does not have.
  t.is(others, 2);
  t.deepEqual(running.probes().routes, ['GET /healthz', 'GET /metrics', 'GET /readyz']);
});

test('each route is for who has its role, by each method, and for nobody else', async (t) => {
  t.timeout(300_000);
  const { mirror, identities } = await start(t);
  const refusals = new Map<string, Set<string>>();
  const routes = new Set(Object.keys(DECISIONS).map((each) => each.split(' ')[1]!));
  for (const route of [...routes, '/api/v1/else', '/else', '/']) {
    const path = route.replace(':id', 'abc').replace(':digest', 'x').replace(':source', 'ci');
    for (const method of METHODS) {
      for (const [name, { headers, role }] of Object.entries(identities)) {
        const needed = neededFor(method, route, path);
        const outcome = expected(needed, role);
        // What is let in is refused for what it sends: nothing happens.
        const answer = await get(mirror.server.adminUrl, { method, path, headers });
        const told = `${name}: ${method} ${path}: ${answer.status}`;
        if (outcome === 'in') {
          t.false(
            [401, 403].includes(answer.status) || (answer.status >= 500 && answer.status !== 501),
            told,
          );
        } else {
          t.is(answer.status, outcome, told);
          const { body } = answer;
          const key = JSON.stringify([outcome, method === 'HEAD', needed, outcome === 403 && name]);
          const seen = JSON.stringify([lasting(answer.headers), String(body)]);
          refusals.set(key, (refusals.get(key) ?? new Set()).add(seen));
          t.is(answer.headers['www-authenticate'] !== undefined, outcome === 401, told);
        }
        if (needed !== 'open') t.is(answer.headers['cache-control'], 'no-store', told);
      }
    }
  }
  // Whatever is refused looks the same, whether there is such a route or not.
  for (const [key, { size }] of refusals) t.is(size, 1, key);
});

test('a connection that is reset at once is not taken for the socket in the folder', async (t) => {
  const { mirror } = await start(t);
  const { port } = new URL(mirror.server.adminUrl);
  const head =
    'POST /api/v1/verify HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n';
  for (let n = 0; n < 100; n += 1) {
    const socket = connect(Number(port), '127.0.0.1');
    await once(socket, 'connect');
    socket.write(`${head}Content-Length: 0\r\n\r\n`, () => socket.resetAndDestroy());
    await once(socket, 'close');
  }
  const refused = await get(`${mirror.server.adminUrl}/api/v1/verify`, { method: 'POST' });
  t.is(refused.status, 401);
  t.deepEqual(
    mirror.log.filter(({ subject }) => subject === 'socket'),
    [],
  );
});

test('who may open the socket in the folder needs no role; the listener of metrics asks nobody', async (t) => {
  const { mirror } = await start(t);
  const socketPath = adminSocketPath(mirror.config);
  const ask = async (path: string): Promise<number> => {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    request({ socketPath, path }, (answer) => {
      answer.resume();
      resolve(answer.statusCode ?? 0);
    })
      .on('error', reject)
      .end();
    return promise;
  };
  for (const path of ['/healthz', '/metrics', '/api/v1/status', '/api/v1/tokens']) {
    t.is(await ask(path), 200, path);
  }
  for (const path of ['/healthz', '/readyz', '/metrics']) {
    t.is((await get(`${mirror.server.metricsUrl}${path}`)).status, 200, path);
  }
  t.is((await get(`${mirror.server.metricsUrl}/api/v1/status`)).status, 404);
});

test('with a login that a browser keeps, a page of another name and a form change nothing', async (t) => {
  const { mirror } = await start(t);
  const url = `${mirror.server.adminUrl}/api/v1/pins`;
  const admin = basic('admin', 'admin');
  const pin = { method: 'POST', body: JSON.stringify({ image: 'hub.example/team/app:v1' }) };
  for (const [headers, status] of [
    [{ 'content-type': 'application/json', host: 'evil.example' }, 403],
    [{ 'content-type': 'text/plain' }, 415],
    [{ 'content-type': 'application/x-www-form-urlencoded' }, 415],
    [{}, 415],
  ] as const) {
    const answer = await get(url, { ...pin, headers: { ...admin, ...headers } });
    t.is(answer.status, status, JSON.stringify(headers));
  }
  const { body } = await get(url, { headers: admin });
  t.deepEqual(JSON.parse(String(body)), { pins: [] });
});
