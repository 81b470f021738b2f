/** Nginx before a mirror that asks who is there: what it keeps, and what the mirror knows of the client. */
import { hashSync } from '@node-rs/bcrypt';
import { writeFile } from 'node:fs/promises';
import { Agent as PlainAgent } from 'node:http';
import { Agent } from 'node:https';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { get, type GetOptions } from '../helpers/client.ts';
import { buildImage } from '../helpers/image.ts';
import { createTempFolder, startMirror } from '../helpers/mirror.ts';
import { missingPackages, testUnless } from '../helpers/needs.ts';
import { startNginx } from './nginx-site.ts';

const test = testUnless('nginx and access', missingPackages('nginx'));

const HUB = 'hub.example';
/** Of the one network that has an open repository of its own. */
const INSIDE = '127.0.0.9';
const COST = 4;
const IMAGE = buildImage({ seed: 'guarded', layers: [1000] });
const ALICE = basic('alice', 'wonder');
const BOB = basic('bob', 'builder');

/** What an operator may add; the second one also looks away from what the mirror says of caches. */
const CACHE =
  'proxy_cache images; proxy_cache_valid any 10m; add_header X-Cache $upstream_cache_status always;';
const DEAF = `${CACHE} proxy_ignore_headers Cache-Control Expires X-Accel-Expires;`;

function basic(user: string, password: string): string {
  return `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
}

async function startSite(t: ExecutionContext, cache?: string) {
  const registry = await FakeRegistry.start(t);
  for (const name of ['library/open', 'org/closed', 'net/inside']) {
    registry.addImage(name, 'v1', IMAGE);
  }
  const file = join(await createTempFolder(t), 'htpasswd');
  const users = { alice: 'wonder', bob: 'builder' };
  const lines = Object.entries(users).map(([user, word]) => `${user}:${hashSync(word, COST)}\n`);
  await writeFile(file, lines.join(''));
  const mirror = await startMirror(t, {
    upstreams: { [HUB]: { url: registry.url } },
    trustProxy: ['127.0.0.1'],
    access: {
      token: { ttl: 300_000 },
      htpasswd: { file },
      rules: [
        { who: ['anonymous'], may: ['pull'], images: [`${HUB}/library/**`] },
        { who: ['anonymous'], from: [INSIDE], may: ['pull'], images: [`${HUB}/net/**`] },
        { who: ['user:alice'], may: ['pull', 'list'], images: [`${HUB}/org/**`] },
      ],
    },
  });
  const { url, ca } = await startNginx(t, mirror.url, cache);
  const ask = async (path: string, authorization?: string, more: GetOptions = {}) => {
    const headers = { accept: '*/*', ...more.headers, ...(authorization && { authorization }) };
    return get(`${url}${path}`, { tls: { ca }, ...more, headers });
  };
  return { mirror, url, ca, ask };
}

const CLOSED = '/v2/org/closed';
const PATHS = [
  '/v2/',
  '/v2/_catalog',
  '/token',
  `${CLOSED}/tags/list`,
  `${CLOSED}/manifests/v1`,
  `${CLOSED}/manifests/${IMAGE.manifest.digest}`,
  `${CLOSED}/blobs/${IMAGE.layer(0).digest}`,
  `${CLOSED}/referrers/${IMAGE.manifest.digest}`,
  `${CLOSED}/manifests/none`,
];

for (const [how, cache] of Object.entries({
  'as it is told': CACHE,
  'whatever it is told': DEAF,
})) {
  test(`nginx that keeps answers, ${how}, gives nobody what was for somebody else`, async (t) => {
    const { ask, mirror } = await startSite(t, cache);
    const everybody = [ALICE, BOB, undefined, basic('alice', 'wrong')];
    const direct = new Map<string, unknown>();
    const nameOf = (path: string, who = ''): string => `${path} ${who}`;
    for (const path of PATHS) {
      for (const who of everybody) {
        const headers = { accept: '*/*', ...(who && { authorization: who }) };
        direct.set(
          nameOf(path, who),
          described(path, await get(`${mirror.url}${path}`, { headers })),
        );
      }
    }
    for (const order of [everybody, everybody.toReversed(), everybody]) {
      for (const path of PATHS) {
        for (const who of order) {
          const got = described(path, await ask(path, who));
          t.deepEqual(got, direct.get(nameOf(path, who)), nameOf(path, who));
        }
      }
    }
    // What is the same for everybody is kept.
    const open = `/v2/library/open/blobs/${IMAGE.layer(0).digest}`;
    await ask(open, ALICE);
    await mirror.idle();
    await ask(open, ALICE);
    const kept = await ask(open);
    t.deepEqual([kept.status, kept.headers['x-cache']], [200, 'HIT']);
  });
}

/** A token is another one each time. */
function described(path: string, { status, body }: Awaited<ReturnType<typeof get>>): unknown {
  return path === '/token' ? status : [status, String(body)];
}

test('nginx that keeps answers gives other networks nothing of what one may pull', async (t) => {
  const { ask, ca, mirror } = await startSite(t, CACHE);
  const agent = new Agent({ localAddress: INSIDE, ca });
  t.teardown(() => agent.destroy());
  for (const item of ['manifests/v1', `blobs/${IMAGE.layer(0).digest}`]) {
    const path = `/v2/net/inside/${item}`;
    // The first one fetches: only what is held may be kept by others.
    for (const _ of [1, 2, 3]) {
      t.is((await ask(path, undefined, { agent })).status, 200);
      await mirror.idle();
      t.is((await ask(path)).status, 401);
    }
  }
});

test('behind nginx a network is that of the client, whatever it says of it', async (t) => {
  const { ask, ca, mirror } = await startSite(t);
  const path = '/v2/net/inside/manifests/v1';
  const inside = new Agent({ localAddress: INSIDE, ca });
  t.teardown(() => inside.destroy());
  t.is((await ask(path, undefined, { agent: inside })).status, 200);
  const forged = { 'x-forwarded-for': INSIDE, forwarded: `for=${INSIDE}`, 'x-real-ip': INSIDE };
  t.is((await ask(path, undefined, { headers: forged })).status, 401);
  const twice = { 'x-forwarded-for': `${INSIDE}, ${INSIDE}` };
  t.is((await ask(path, undefined, { headers: twice })).status, 401);
  // Past nginx, from where no proxy is.
  const agent = new PlainAgent({ localAddress: '127.0.0.8' });
  t.is((await get(`${mirror.url}${path}`, { agent, headers: forged })).status, 401);
});

test('behind nginx the challenge names the address of nginx, and what is got there counts', async (t) => {
  const { ask, url, ca } = await startSite(t);
  const path = `${CLOSED}/manifests/v1`;
  const refused = await ask(path);
  const [, realm = '', scope = ''] =
    /realm="([^"]+)".*scope="([^"]+)"/.exec(String(refused.headers['www-authenticate'])) ?? [];
  t.is(realm, `${url}/token`);
  const query = new URLSearchParams({ scope }).toString();
  const given = await get(`${realm}?${query}`, { tls: { ca }, headers: { authorization: ALICE } });
  const { token } = JSON.parse(String(given.body)) as { token: string };
  t.is((await ask(path, `Bearer ${token}`)).status, 200);
});
