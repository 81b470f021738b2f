/** Who may pull what, through the public door. */
import { hashSync } from '@node-rs/bcrypt';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { Config } from '../../src/config/config.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { get } from '../helpers/client.ts';
import { buildImage } from '../helpers/image.ts';
import { createTempFolder, startMirror } from '../helpers/mirror.ts';

const HUB = 'hub.example';
const OPEN = buildImage({ seed: 'open', layers: [1000] });
const SECRET = buildImage({ seed: 'secret', layers: [1000] });
const COST = 4;

type Rules = NonNullable<Config['access']>['rules'];

const RULES: Rules = [
  { who: ['anonymous'], may: ['pull'], images: [`${HUB}/library/**`] },
  { who: ['user:alice', 'token:ci'], may: ['pull', 'list'], images: [`${HUB}/org/**`] },
  { who: ['user:ops'], may: ['admin'] },
  { who: ['user:carol'], may: ['operate'] },
];

async function start(t: ExecutionContext, rules = RULES) {
  const registry = await FakeRegistry.start(t);
  registry.addImage('library/open', 'v1', OPEN);
  registry.addImage('org/secret', 'v1', SECRET);
  const folder = await createTempFolder(t);
  const file = join(folder, 'htpasswd');
  writeFileSync(
    file,
    Object.entries({ alice: 'wonder', ops: 'ops', bob: 'bob', carol: 'carol' })
      .map(([user, password]) => `${user}:${hashSync(password, COST)}\n`)
      .join(''),
  );
  const mirror = await startMirror(t, {
    upstreams: { [HUB]: { url: registry.url } },
    access: { token: { ttl: 300_000 }, htpasswd: { file }, rules },
  });
  const ask = async (path: string, authorization?: string, method = 'GET') =>
    get(`${mirror.url}${path}`, {
      method,
      headers: { accept: '*/*', ...(authorization && { authorization }) },
    });
  return { mirror, registry, ask };
}

function basic(user: string, password: string): string {
  return `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
}

test('default deny: open images without a login, others with one, and nothing else', async (t) => {
  const { ask, mirror, registry } = await start(t);
  const { host } = new URL(mirror.url);
  t.is((await ask('/v2/library/open/manifests/v1')).status, 200);
  const refused = await ask('/v2/org/secret/manifests/v1');
  t.is(refused.status, 401);
  t.regex(
    String(refused.headers['www-authenticate']),
    new RegExp(
      `^Bearer realm="http://${host}/token",service="entrepot-[0-9a-f]{8}",scope="repository:${HUB}/org/secret:pull"$`,
    ),
  );
  t.is(refused.headers['cache-control'], 'no-store');
  t.is((await ask('/v2/org/secret/manifests/v1', basic('alice', 'wonder'))).status, 200);
  // Who may not is told what is told of what is not there.
  const bob = await ask('/v2/org/secret/manifests/v1', basic('bob', 'bob'));
  const absent = await ask('/v2/org/absent/manifests/v1', basic('bob', 'bob'));
  t.deepEqual([bob.status, absent.status], [404, 404]);
  t.is(String(bob.body).replaceAll('secret', 'absent'), String(absent.body));
  t.false(registry.requests.some(({ path }) => path.includes('absent')));
});

/** As Docker does it: asked for at the realm of the challenge, with its scope. */
async function tokenFor(
  ask: Awaited<ReturnType<typeof start>>['ask'],
  scopes: readonly string[],
  authorization?: string,
): Promise<{ status: number; token: string; headers: Record<string, unknown> }> {
  const query = new URLSearchParams([['service', 'any'], ...scopes.map((each) => ['scope', each])]);
  const { status, headers, body } = await ask(`/token?${query.toString()}`, authorization);
  const { token = '' } = JSON.parse(String(body)) as { token?: string };
  return { status, token, headers };
}

test('a token is for the repositories of its scope, and what its subject may is judged at the pull', async (t) => {
  const { ask } = await start(t);
  const scope = `repository:${HUB}/org/secret:pull`;
  const alice = await tokenFor(ask, [scope], basic('alice', 'wonder'));
  t.is(alice.status, 200);
  t.is(alice.headers['cache-control'], 'private, no-store');
  const pull = async (token: string, path = '/v2/org/secret/manifests/v1') =>
    (await ask(path, `Bearer ${token}`)).status;
  t.is(await pull(alice.token), 200);
  t.is(await pull(alice.token, `/v2/${HUB}/org/secret/manifests/v1`), 200);
  // Another scope is another token: the client is told which.
  const other = await tokenFor(ask, [`repository:${HUB}/org/other:pull`], basic('alice', 'wonder'));
  const narrow = await ask('/v2/org/secret/manifests/v1', `Bearer ${other.token}`);
  t.is(narrow.status, 401);
  t.regex(
    String(narrow.headers['www-authenticate']),
    /scope="repository:hub\.example\/org\/secret:pull",error="insufficient_scope"$/,
  );
  const bob = await tokenFor(ask, [scope], basic('bob', 'bob'));
  t.is(await pull(bob.token), 404);
  // containerd names no registry in its scope.
  const bare = await tokenFor(
    ask,
    ['repository:org/secret:pull', 'repository:org/secret:push'],
    basic('alice', 'wonder'),
  );
  t.is(await pull(bare.token), 200);
});

test('a login fails with a wrong password; for images a foreign secret is as none', async (t) => {
  const { ask, mirror } = await start(t);
  t.is((await tokenFor(ask, [], basic('alice', 'wrong'))).status, 401);
  t.is((await tokenFor(ask, [])).status, 401);
  t.is((await tokenFor(ask, [], basic('alice', 'wonder'))).status, 200);
  t.is((await ask('/v2/', basic('alice', 'wonder'))).status, 200);
  t.is((await ask('/v2/', basic('alice', 'wrong'))).status, 401);
  t.is((await ask('/v2/')).status, 401);
  const foreign = basic('hub-user', 'dckr_pat_hunter2hunter2');
  const { status, token } = await tokenFor(ask, [`repository:${HUB}/library/open:pull`], foreign);
  t.is(status, 200);
  t.is((await ask('/v2/', `Bearer ${token}`)).status, 200);
  t.is((await ask('/v2/library/open/manifests/v1', `Bearer ${token}`)).status, 200);
  t.is((await ask('/v2/library/open/manifests/v1', foreign)).status, 200);
  t.is((await ask('/v2/org/secret/manifests/v1', foreign)).status, 401);
  t.false(JSON.stringify(mirror.log).includes('hunter2'));
});

test('an API token is a password, a bearer and a refresh token, until it is revoked', async (t) => {
  const { ask, mirror } = await start(t);
  const ops = { authorization: basic('ops', 'ops'), 'content-type': 'application/json' };
  const url = `${mirror.server.adminUrl}/api/v1/tokens`;
  const made = await get(url, {
    method: 'POST',
    headers: ops,
    body: JSON.stringify({ name: 'ci', owner: 'alice', expires: '90d' }),
  });
  t.is(made.status, 201, String(made.body));
  const { id, secret } = JSON.parse(String(made.body)) as { id: string; secret: string };
  const secretPull = '/v2/org/secret/manifests/v1';
  const keyFile = JSON.stringify({ type: 'entrepot_key', id, secret });
  const ways = [basic('anything', secret), `Bearer ${secret}`, basic('_json_key', keyFile)];
  for (const way of ways) t.is((await ask(secretPull, way)).status, 200);
  const form = new URLSearchParams({
    grant_type: 'refresh_token',
    refresh_token: secret,
    service: 'any',
    scope: `repository:${HUB}/org/secret:pull`,
  });
  const { status, body } = await get(`${mirror.url}/token`, {
    method: 'POST',
    headers: {
      'content-type': 'application/x-www-form-urlencoded',
      'content-length': String(Buffer.byteLength(form.toString())),
    },
    body: form.toString(),
  });
  t.is(status, 200, String(body));
  const { access_token: bearer } = JSON.parse(String(body)) as { access_token: string };
  t.is((await ask(secretPull, `Bearer ${bearer}`)).status, 200);
  const listed = String((await get(url, { headers: ops })).body);
  t.false(listed.includes(secret));
  t.is((await get(`${url}/${id}`, { method: 'DELETE', headers: ops })).status, 204);
  for (const way of [...ways, `Bearer ${bearer}`]) t.is((await ask(secretPull, way)).status, 401);
  // A key file of another issuer is a secret of the upstream.
  const google = basic('_json_key', JSON.stringify({ type: 'service_account', private_key: 'x' }));
  t.is((await ask('/v2/library/open/manifests/v1', google)).status, 200);
});

test('the admin door asks for a role, also on loopback', async (t) => {
  const { mirror } = await start(t);
  const ask = async (path: string, method: string, authorization?: string) =>
    (
      await get(`${mirror.server.adminUrl}${path}`, {
        method,
        headers: { 'content-type': 'application/json', ...(authorization && { authorization }) },
      })
    ).status;
  t.is(await ask('/healthz', 'GET'), 200);
  t.is(await ask('/readyz', 'GET'), 200);
  for (const path of ['/metrics', '/api/v1/status', '/api/v1/bundles', '/api/v1/tokens']) {
    t.is(await ask(path, 'GET'), 401, path);
    t.is(await ask(path, 'GET', basic('alice', 'wonder')), 403, path);
    t.is(await ask(path, 'GET', basic('ops', 'ops')), 200, path);
  }
  t.is(await ask('/api/v1/gc', 'POST'), 401);
  t.is(await ask('/api/v1/gc', 'POST', basic('alice', 'wonder')), 403);
  t.is(await ask('/api/v1/gc', 'POST', basic('ops', 'ops')), 200);
  // However its path is written, a token is for who has the role admin.
  for (const path of ['/api/v1/tokens', '/api/v1/TOKENS', '/API/v1/tokens', '/api/v1/tokens/']) {
    t.is(await ask(path, 'POST', basic('carol', 'carol')), 403, path);
    t.is(await ask(path, 'GET', basic('carol', 'carol')), 403, path);
  }
  t.is(await ask('/api/v1/gc', 'POST', basic('carol', 'carol')), 200);
  t.true(mirror.log.some(({ msg, subject }) => msg === 'admin write' && subject === 'user:ops'));
});

test('lists name what who asks may list', async (t) => {
  const { ask } = await start(t);
  t.is((await ask('/v2/library/open/tags/list')).status, 401);
  t.is((await ask('/v2/org/secret/tags/list', basic('alice', 'wonder'))).status, 200);
  t.is((await ask('/v2/org/secret/tags/list', basic('bob', 'bob'))).status, 404);
});
