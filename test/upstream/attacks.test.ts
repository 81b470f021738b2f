import { request as requestHttp } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import test, { type ExecutionContext } from 'ava';
import { createCertificates } from '../helpers/certificate.ts';
import { get } from '../helpers/client.ts';
import { watchDials } from '../helpers/dials.ts';
import { FakeRegistry, type FakeRegistryOptions } from '../helpers/fake-registry.ts';
import { startMirror } from '../helpers/mirror.ts';
import {
  REPOSITORY,
  UPSTREAM,
  redirectRefusal,
  refusalOf,
  startScene,
  type Scene,
  type SceneOptions,
} from '../helpers/scene.ts';
import { startProxy } from '../helpers/proxy.ts';

const dials = watchDials();
const creating = createCertificates();

const USER = { username: 'robot', password: 'pass:word' };
const MANIFEST = `/v2/${REPOSITORY}/manifests/latest`;
const HEAD_LATEST = `HEAD ${MANIFEST}`;
const GET_LAYER = `GET /v2/${REPOSITORY}/blobs/<app.layer1>`;
const always = { times: Infinity };

/**
 * A proxy that stands for the internet: hosts have public names, every dial is written down, and
 * none leaves this machine.
 */
class Internet {
  /** Host and port of every connection that was asked for. */
  readonly dialled: string[] = [];
  readonly #ports = new Map<string, string>();
  #url = '';

  static async start(t: ExecutionContext): Promise<Internet> {
    const internet = new Internet();
    const { url } = await startProxy(t, {
      forward: (request, response) => internet.#forward(request, response),
      lead: (address) => {
        const port = internet.#dial(address);
        return port === undefined ? 502 : `127.0.0.1:${port}`;
      },
    });
    internet.#url = url;
    return internet;
  }

  get url(): string {
    return this.#url;
  }

  /** From now on `address`, a host and a port, is where `url` is. */
  name(address: string, url: string): void {
    this.#ports.set(address, new URL(url).port);
  }

  #dial(address: string): string | undefined {
    this.dialled.push(address);
    return this.#ports.get(address);
  }

  /** http: the whole address is in the request. */
  #forward(incoming: IncomingMessage, outgoing: ServerResponse): void {
    const { hostname, port, pathname, search } = new URL(incoming.url ?? '');
    const to = this.#dial(`${hostname}:${port || '80'}`);
    if (to === undefined) {
      outgoing.writeHead(502).end();
      return;
    }
    const { method = '', headers } = incoming;
    const url = `http://127.0.0.1:${to}${pathname}${search}`;
    const onward = requestHttp(url, { method, headers, agent: false });
    onward.on('error', () => incoming.socket.destroy());
    onward.on('response', (answer) => {
      outgoing.writeHead(answer.statusCode ?? 0, answer.headers);
      answer.pipe(outgoing);
    });
    onward.end();
  }
}

interface Public extends Scene {
  readonly internet: Internet;
}

/** The scene with a registry that has a public name. */
async function startPublic(
  t: ExecutionContext,
  url: string,
  options: SceneOptions & { certified?: boolean } = {},
): Promise<Public> {
  const { protocol, hostname, port } = new URL(url);
  const tls = protocol === 'https:' ? (await creating).server : undefined;
  const internet = await Internet.start(t);
  const scene = await startScene(t, {
    ...options,
    registry: { ...options.registry, ...(tls && { tls }) },
    upstream: { ...options.upstream, url, proxy: internet.url, tls: { insecure: true } },
  });
  internet.name(`${hostname}:${port || (tls ? '443' : '80')}`, scene.registry.url);
  return { ...scene, internet };
}

function shown({ requests }: FakeRegistry): string[] {
  return requests.map(
    ({ origin, method, authorization }) => `${origin} ${method} ${authorization}`,
  );
}

// Realms

interface Realm {
  readonly claim: string;
  readonly realm: string;
  readonly reason: string;
  /** Also where no credential would go there. */
  readonly anonymously?: boolean;
}

function internal(claim: string, host: string, normal = host): Realm {
  const reason = `token realm ${normal} is an internal address of another host; if that is meant, list it in upstreams.${UPSTREAM}.realms`;
  return { claim, realm: `https://${host}/token`, reason, anonymously: true };
}

function foreign(claim: string, host: string): Realm {
  const reason = `token realm ${host} does not belong to registry.example: credentials are not sent there; if that is meant, list it in upstreams.${UPSTREAM}.realms`;
  return { claim, realm: `https://${host}/token`, reason };
}

const METADATA = '169.254.169.254';

const REALMS: Realm[] = [
  foreign('on a foreign host', 'evil.example'),
  foreign('on a host that begins with the registry’s name', 'registry.example.evil.test'),
  foreign('on a host that ends with the registry’s name', 'evilregistry.example'),
  foreign('on a public address', '8.8.8.8'),
  foreign('on a foreign host, on the port of the registry', 'evil.example:8443'),
  internal('at the metadata service', METADATA),
  internal('at the metadata service, in decimal', '2852039166', METADATA),
  internal('at the metadata service, in hexadecimal', '0xA9FEA9FE', METADATA),
  internal('at the metadata service, in octal', '0251.0376.0251.0376', METADATA),
  internal('at the metadata service, in two parts', '169.16689662', METADATA),
  internal('at the metadata service, in wide digits', '１６９.254.169.254', METADATA),
  internal('at the metadata service, with wide stops', '169。254。169。254', METADATA),
  internal('at the metadata service, percent-encoded', '169%2e254.169.254', METADATA),
  internal('at the metadata service, with its root', '169.254.169.254.', METADATA),
  internal('at the metadata service, on a port', `${METADATA}:8080`),
  internal('at the metadata service, mapped', `[::ffff:${METADATA}]`, '[::ffff:a9fe:a9fe]'),
  internal('at the metadata service, compatible', `[::${METADATA}]`, '[::a9fe:a9fe]'),
  internal('at the metadata service, translated', `[64:ff9b::${METADATA}]`, '[64:ff9b::a9fe:a9fe]'),
  internal('at the metadata service, by 6to4', '[2002:a9fe:a9fe::1]'),
  internal('at the metadata service over IPv6', '[fd00:ec2::254]'),
  internal('on a link-local IPv6 address', '[fe80::1]'),
  internal('on a private address', '10.1.2.3'),
  internal('on a private address, short', '10.1', '10.0.0.1'),
  internal('on a private address of a home', '192.168.0.1'),
  internal('on a private address of a campus', '172.31.255.254'),
  internal('on a shared address', '100.100.100.200'),
  internal('on loopback', '127.0.0.1:5001'),
  internal('on loopback, as a number', '2130706433', '127.0.0.1'),
  internal('on loopback, short', '127.1', '127.0.0.1'),
  internal('on loopback, by name', 'LOCALHOST', 'localhost'),
  internal('on loopback, by a name below', 'registry.localhost'),
  internal('on loopback over IPv6', '[::1]'),
  internal('on no address', '0', '0.0.0.0'),
  {
    claim: 'in the clear',
    realm: 'http://registry.example/token',
    reason: 'token realm http://registry.example is http although the registry is https',
    anonymously: true,
  },
  {
    claim: 'with a name and a password',
    realm: 'https://user:hidden@registry.example/token',
    reason: 'token realm carries user information',
    anonymously: true,
  },
  {
    claim: 'with the registry as the name of a user',
    realm: 'https://registry.example@evil.example/token',
    reason: 'token realm carries user information',
    anonymously: true,
  },
  {
    claim: 'in a file',
    realm: 'file:///etc/passwd',
    reason: 'token realm null is not http or https',
    anonymously: true,
  },
  {
    claim: 'in a script',
    realm: 'javascript:alert(1)',
    reason: 'token realm null is not http or https',
    anonymously: true,
  },
  {
    claim: 'in data',
    realm: 'data:application/json,{}',
    reason: 'token realm null is not http or https',
    anonymously: true,
  },
  {
    claim: 'that is relative',
    realm: '/token',
    reason: 'its challenge names no token realm',
    anonymously: true,
  },
  {
    claim: 'that is relative to a protocol',
    realm: '//evil.example/token',
    reason: 'its challenge names no token realm',
    anonymously: true,
  },
];

async function refuses(
  t: ExecutionContext,
  { realm, reason }: Realm,
  credentials: typeof USER | undefined,
): Promise<void> {
  const scene = await startPublic(t, 'https://registry.example', {
    upstream: { ...(credentials && { credentials }) },
  });
  const { registry, internet, manifest } = scene;
  // Header lines are Latin-1: the wide characters arrive as the bytes of their UTF-8.
  const challenge = `Bearer realm="${encodeURI(realm).replaceAll(/%25/g, '%').replaceAll('%5B', '[').replaceAll('%5D', ']')}",service="fake-registry"`;
  registry.status(MANIFEST, 401, { ...always, headers: { 'WWW-Authenticate': challenge } });
  t.deepEqual(refusalOf(await manifest('latest')), {
    status: 502,
    code: 'UNAVAILABLE',
    message: `${UPSTREAM}: ${reason}`,
    detail: { upstream: UPSTREAM, fault: 'bad-response' },
  });
  const greeted = credentials ? ['registry GET none'] : [];
  t.deepEqual(shown(registry), [...greeted, 'registry HEAD none']);
  t.deepEqual([...new Set(internet.dialled)], ['registry.example:443']);
}

for (const realm of REALMS) {
  test(`a realm ${realm.claim} gets no credential and no request`, async (t) => {
    await refuses(t, realm, USER);
  });
  if (realm.anonymously) {
    test(`a realm ${realm.claim} is not asked without credentials either`, async (t) => {
      await refuses(t, realm, undefined);
    });
  }
}

test('a realm on a foreign host is asked when there is nothing to steal', async (t) => {
  const scene = await startPublic(t, 'http://registry.example', {
    registry: { auth: { kind: 'bearer', realm: 'http://auth.test/token' } },
  });
  const { registry, internet, manifest } = scene;
  internet.name('auth.test:80', registry.url);
  t.is((await manifest('latest')).status, 200);
  t.deepEqual(shown(registry), [
    'registry HEAD none',
    'token GET none',
    'registry HEAD bearer:anonymous',
    'registry GET bearer:anonymous',
  ]);
});

test('a registry that changes its realm midway gets no credential sent there', async (t) => {
  const scene = await startPublic(t, 'https://registry.example', {
    registry: { auth: { kind: 'bearer', ...USER, realm: 'https://registry.example/token' } },
    upstream: { credentials: USER },
  });
  const { registry, internet, manifest, blob, image } = scene;
  t.is((await manifest('latest')).status, 200);
  registry.clear();
  registry.status(image.layer(1), 401, {
    ...always,
    headers: {
      'WWW-Authenticate':
        'Bearer realm="https://evil.example/token",service="x",error="invalid_token"',
    },
  });
  t.deepEqual(refusalOf(await blob(image.layer(1))), {
    status: 502,
    code: 'UNAVAILABLE',
    message: `${UPSTREAM}: token realm evil.example does not belong to registry.example: credentials are not sent there; if that is meant, list it in upstreams.${UPSTREAM}.realms`,
    detail: { upstream: UPSTREAM, fault: 'bad-response' },
  });
  t.deepEqual(shown(registry), ['registry GET bearer:robot']);
  t.deepEqual([...new Set(internet.dialled)], ['registry.example:443']);
});

// Redirects

interface Redirect {
  readonly claim: string;
  readonly location: string;
  readonly reason: string;
}

function inward(claim: string, host: string, normal = host): Redirect {
  const reason = `a redirect to the internal address ${normal}; if that is meant, list it in upstreams.${UPSTREAM}.storage`;
  return { claim, location: `https://${host}/latest`, reason };
}

const REDIRECTS: Redirect[] = [
  inward('to the metadata service', METADATA),
  inward('to the metadata service, in decimal', '2852039166', METADATA),
  inward('to the metadata service, in hexadecimal', '0xa9.0xfe.0xa9.0xfe', METADATA),
  inward('to the metadata service, in octal', '025177524776', METADATA),
  inward('to the metadata service, mapped', `[::ffff:${METADATA}]`, '[::ffff:a9fe:a9fe]'),
  inward('to the metadata service over IPv6', '[fd00:ec2::254]'),
  inward('to a private address', '10.0.0.1'),
  inward('to another port of loopback', '127.0.0.1:5001'),
  inward('to another port of loopback, by name', 'localhost:5001'),
  inward('to another port of loopback over IPv6', '[::1]:5001'),
  inward('to no address', '0:5001', '0.0.0.0:5001'),
  { ...inward('relative to the protocol, inwards', METADATA), location: `//${METADATA}/latest` },
  {
    ...inward('with credentials, inwards', METADATA),
    location: `https://user:hidden@${METADATA}/latest`,
  },
  { ...inward('with backslashes, inwards', METADATA), location: `\\\\${METADATA}\\latest` },
  {
    claim: 'to a file',
    location: 'file:///etc/passwd',
    reason: 'a redirect to a file: URL',
  },
  {
    claim: 'to a file of another host',
    location: 'file://registry.example/etc/passwd',
    reason: 'a redirect to a file: URL',
  },
  {
    claim: 'to a script',
    location: 'javascript:alert(1)',
    reason: 'a redirect to a javascript: URL',
  },
  { claim: 'to gopher', location: 'gopher://evil.example/', reason: 'a redirect to a gopher: URL' },
  {
    claim: 'into the clear',
    location: 'http://registry.example/x',
    reason: 'a redirect from https to http (registry.example)',
  },
];

for (const { claim, location, reason } of REDIRECTS) {
  test(`a redirect of a registry with a public name ${claim} is refused, and nobody is dialled`, async (t) => {
    const scene = await startPublic(t, 'https://registry.example');
    const { registry, internet, manifest, blob, image } = scene;
    registry.status(/^\/v2\//, 307, { ...always, headers: { Location: location } });
    for (const answer of [await manifest('latest'), await blob(image.layer(1))]) {
      t.deepEqual(refusalOf(answer), redirectRefusal(reason));
    }
    t.deepEqual(registry.conversation(), [HEAD_LATEST, GET_LAYER]);
    t.deepEqual([...new Set(internet.dialled)], ['registry.example:443']);
  });
}

for (const [claim, location] of [
  ['over IPv6, as AWS has it', 'http://[fd00:ec2::254]/latest/meta-data/'],
  ['as Alibaba has it', 'http://100.100.100.200/latest/meta-data/'],
  ['as Oracle has had it', 'http://192.0.0.192/latest/'],
  ['by its name', 'http://metadata.google.internal/computeMetadata/v1/'],
] as const) {
  test(`a registry inside the network does not redirect to the metadata service ${claim}`, async (t) => {
    const scene = await startPublic(t, 'http://10.0.0.5:5000');
    const { registry, internet, blob, image } = scene;
    registry.status(image.layer(1), 307, { ...always, headers: { Location: location } });
    t.deepEqual(
      refusalOf(await blob(image.layer(1))),
      redirectRefusal(
        `a redirect to the internal address ${new URL(location).host}; if that is meant, list it in upstreams.${UPSTREAM}.storage`,
      ),
    );
    t.deepEqual([...new Set(internet.dialled)], ['10.0.0.5:5000']);
  });
}

test('an internal registry may send to its own storage, also inside', async (t) => {
  const scene = await startPublic(t, 'http://10.0.0.5:5000');
  const { registry, internet, blob, image } = scene;
  internet.name('10.0.0.6:9000', registry.url);
  const path = `/v2/${REPOSITORY}/blobs/${image.layer(1).digest}`;
  registry.status(path, 307, { headers: { Location: `http://10.0.0.6:9000${path}` } });
  t.true((await blob(image.layer(1))).body.equals(image.layer(1).bytes));
  t.deepEqual([...new Set(internet.dialled)], ['10.0.0.5:5000', '10.0.0.6:9000']);
});

/** A registry with a public name and a storage host with another one. */
async function startWithStorage(
  t: ExecutionContext,
  registry: FakeRegistryOptions = {},
): Promise<Public & { readonly storage: FakeRegistry; readonly path: string }> {
  const scene = await startPublic(t, 'http://registry.example', {
    registry: { auth: { kind: 'basic', ...USER }, ...registry },
    upstream: { credentials: USER },
  });
  const storage = await FakeRegistry.start(t);
  scene.internet.name('storage.test:80', storage.url);
  storage.addBlob(REPOSITORY, scene.image.layer(1), { name: 'app.layer1' });
  const path = `/v2/${REPOSITORY}/blobs/${scene.image.layer(1).digest}`;
  // The first request learns that a login is asked for.
  await scene.manifest('latest');
  scene.registry.clear();
  return { ...scene, storage, path };
}

for (const [claim, location] of [
  ['relative to the protocol', '//storage.test'],
  ['with a name and a password', 'http://user:hidden@storage.test'],
  ['in upper case', 'HTTP://STORAGE.TEST:80'],
] as const) {
  test(`a redirect ${claim} is followed to a public host without any credential`, async (t) => {
    const { registry, storage, blob, image, path } = await startWithStorage(t);
    registry.status(path, 307, { headers: { Location: `${location}${path}` } });
    t.true((await blob(image.layer(1))).body.equals(image.layer(1).bytes));
    t.deepEqual(shown(registry), ['registry GET basic:robot']);
    t.deepEqual(shown(storage), ['registry GET none']);
    t.is(storage.requests[0]?.headers.host, 'storage.test');
  });
}

test('another port of the registry’s host is another origin, and gets no credential', async (t) => {
  const { registry, storage, internet, blob, image, path } = await startWithStorage(t);
  internet.name('registry.example:8080', storage.url);
  registry.status(path, 307, { headers: { Location: `http://registry.example:8080${path}` } });
  t.true((await blob(image.layer(1))).body.equals(image.layer(1).bytes));
  t.deepEqual(shown(storage), ['registry GET none']);
});

test('a redirect away and back again: credentials on the own origin only, cookies nowhere', async (t) => {
  const { registry, storage, blob, image, path } = await startWithStorage(t);
  const cookie = { 'Set-Cookie': 'session=secret; Path=/' };
  registry.addBlob('back/again', image.layer(1));
  const back = path.replace(REPOSITORY, 'back/again');
  registry.status(path, 307, { headers: { ...cookie, Location: `http://storage.test${path}` } });
  storage.status(path, 302, { headers: { ...cookie, Location: `http://registry.example${back}` } });
  t.true((await blob(image.layer(1))).body.equals(image.layer(1).bytes));
  t.deepEqual(shown(registry), ['registry GET basic:robot', 'registry GET basic:robot']);
  t.deepEqual(shown(storage), ['registry GET none']);
  for (const { headers } of [...registry.requests, ...storage.requests]) {
    t.is(headers.cookie, undefined);
  }
  t.is(storage.requests[0]?.headers['via'], undefined);
  t.is(storage.requests[0]?.headers.referer, undefined);
});

test('two hosts that send to each other are left after ten redirects', async (t) => {
  const { registry, storage, blob, image, path } = await startWithStorage(t);
  const to = (host: string) => ({ ...always, headers: { Location: `http://${host}${path}` } });
  registry.status(path, 307, to('storage.test'));
  storage.status(path, 307, to('registry.example'));
  t.deepEqual(refusalOf(await blob(image.layer(1))), {
    status: 502,
    code: 'UNAVAILABLE',
    message: `${UPSTREAM}: more than 10 redirects`,
    detail: { upstream: UPSTREAM, fault: 'bad-response' },
  });
  t.deepEqual([registry.requests.length, storage.requests.length], [6, 5]);
});

test('a storage host that sends inwards is refused there', async (t) => {
  const { registry, storage, internet, blob, image, path } = await startWithStorage(t);
  registry.status(path, 307, { headers: { Location: `http://storage.test${path}` } });
  storage.status(path, 307, { headers: { Location: `http://${METADATA}/latest` } });
  t.deepEqual(
    refusalOf(await blob(image.layer(1))),
    redirectRefusal(
      `a redirect to the internal address ${METADATA}; if that is meant, list it in upstreams.${UPSTREAM}.storage`,
    ),
  );
  t.deepEqual(new Set(internet.dialled), new Set(['registry.example:80', 'storage.test:80']));
});

// Links to next pages

/** What the mirror asks its registry for after a first page with this `Link`. */
async function followed(t: ExecutionContext, link: string, status = 200): Promise<string[]> {
  const registry = await FakeRegistry.start(t);
  const mirror = await startMirror(t, { upstreams: { [UPSTREAM]: { url: registry.url } } });
  registry.status(`/v2/${REPOSITORY}/tags/list`, 200, {
    headers: { Link: link },
    contentType: 'application/json',
    body: JSON.stringify({ name: REPOSITORY, tags: ['one'] }),
  });
  t.is((await get(`${mirror.url}/v2/${REPOSITORY}/tags/list`)).status, status);
  return registry.conversation().slice(1);
}

const LINKS: [claim: string, link: string, asked: string[]][] = [
  [
    'to another host',
    '<https://evil.example/v2/x/tags/list?last=a>',
    ['GET /v2/x/tags/list?last=a'],
  ],
  ['to the metadata service', `<http://${METADATA}/latest/meta-data/>`, []],
  ['to another host outside of /v2/', '<https://evil.example/steal>', []],
  ['relative to the protocol', '<//evil.example/v2/x/tags/list>', ['GET /v2/x/tags/list']],
  ['to a file', '<file:///etc/passwd>', []],
  ['to a path outside of /v2/', '</admin/users>', []],
  ['that climbs out of /v2/', '</v2/../admin/users>', []],
  ['that climbs out of /v2/, encoded', '</v2/%2e%2e/admin/users>', []],
  ['that climbs out of /v2/, with backslashes', String.raw`</v2/..\admin\users>`, []],
  ['that hides a host behind slashes', '</v2///evil.example/x>', []],
  ['that hides a URL in its path', '</v2/http://evil.example/x>', []],
  ['that is no URL', '<http://[>', []],
];

for (const [claim, link, asked] of LINKS) {
  test(`a link ${claim} leads nowhere else than to the registry's own /v2/`, async (t) => {
    // The registry has no such page, and a list without its later pages is none.
    const status = asked.length > 0 ? 502 : 200;
    t.deepEqual(await followed(t, `${link}; rel="next"`, status), asked);
  });
}

test('a link with two slashes after /v2 does not lead out of it', async (t) => {
  t.deepEqual(await followed(t, '</v2//admin/users>; rel="next"'), []);
});

test('a link of nothing but slashes is the end of the list, and no fault of the mirror', async (t) => {
  t.deepEqual(await followed(t, '</v2///>; rel="next"'), []);
});

test.after('nobody outside of this machine was dialled', (t) => {
  t.true(dials.count > 0);
  t.deepEqual(dials.outside(), []);
});
