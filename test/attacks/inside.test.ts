/**
 * An upstream that leads inside: to this machine, its network or the mirror itself, by a redirect or
 * a token service, by an address or by a name that becomes one. Nobody is dialled, and what belongs to
 * the upstream alone goes nowhere else.
 */
import type { LookupAddress } from 'node:dns';
import type { LookupFunction } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { createCertificates } from '../helpers/certificate.ts';
import { get, type ClientAnswer } from '../helpers/client.ts';
import { watchDials } from '../helpers/dials.ts';
import { FakeRegistry, type FakeRegistryOptions } from '../helpers/fake-registry.ts';
import { buildImage, type Image } from '../helpers/image.ts';
import { startMirror, type TestMirror, type UpstreamOptions } from '../helpers/mirror.ts';
import { refusalOf, REPOSITORY, startScene, UPSTREAM } from '../helpers/scene.ts';

const dials = watchDials();
const always = { times: Infinity };
/** Public, and for documentation (RFC 5737): nobody is there. */
const NOWHERE = '203.0.113.77';
const KEY = `upstreams.${UPSTREAM}`;

interface Named {
  readonly registry: FakeRegistry;
  readonly mirror: TestMirror;
  readonly image: Image;
  readonly blob: (method?: 'GET' | 'HEAD') => Promise<ClientAnswer>;
  /** A blob is redirected there. */
  readonly redirect: (location: string) => void;
}

/** A lookup that knows these names and no others. */
function lookupOf(names: Readonly<Record<string, readonly string[]>>): LookupFunction {
  return (host, options, callback) => {
    const found = (names[host] ?? []).map((address): LookupAddress => ({
      address,
      family: address.includes(':') ? 6 : 4,
    }));
    const [first] = found;
    const error = Object.assign(new Error('no such name'), { code: 'ENOTFOUND' });
    if (!first) callback(error, []);
    else if (options.all) callback(null, found);
    else callback(null, first.address, first.family);
  };
}

/** The scene with a registry that has a name; it is on this machine, and public unless told otherwise. */
async function startNamed(
  t: ExecutionContext,
  names: Readonly<Record<string, readonly string[]>>,
  options: {
    registry?: FakeRegistryOptions;
    upstream?: Partial<UpstreamOptions>;
    /** Of the upstream's url. */
    host?: string;
  } = {},
): Promise<Named> {
  const registry = await FakeRegistry.start(t, options.registry);
  const image = buildImage({ seed: 'app', layers: [1000] });
  registry.addImage(REPOSITORY, 'latest', image, { name: 'app' });
  const { port } = new URL(registry.url);
  const mirror = await startMirror(t, {
    upstreams: {
      [UPSTREAM]: { url: `http://${options.host ?? 'registry.test'}:${port}`, ...options.upstream },
    },
    lookup: lookupOf({ 'registry.test': ['127.0.0.1', NOWHERE], ...names }),
    timing: { attemptsMs: 0, connectMs: 2_000 },
  });
  const path = `/v2/${REPOSITORY}/blobs/${image.layer(0).digest}`;
  return {
    registry,
    mirror,
    image,
    blob: async (method = 'GET') => get(`${mirror.url}${path}`, { method }),
    redirect: (location) =>
      registry.status(path, 307, { ...always, headers: { Location: location } }),
  };
}

function refusal(reason: string, upstreamStatus?: number): Record<string, unknown> {
  return {
    status: 502,
    code: 'UNAVAILABLE',
    message: `${UPSTREAM}: ${reason}`,
    detail: {
      upstream: UPSTREAM,
      fault: 'bad-response',
      ...(upstreamStatus !== undefined && { upstreamStatus }),
    },
  };
}

// The mirror itself

for (const door of ['url', 'adminUrl'] as const) {
  for (const what of ['/metrics', '/api/v1/status', '/v2/']) {
    test(`a redirect to the mirror's own ${door}${what} is refused, by address and by name`, async (t) => {
      const { registry, mirror, image, ask } = await startScene(t);
      const { port } = new URL(mirror.server[door]);
      for (const host of ['127.0.0.1', '[::ffff:127.0.0.1]', '0.0.0.0', 'localhost']) {
        for (const kind of ['blobs', 'manifests']) {
          const digest = kind === 'blobs' ? image.layer(0).digest : image.manifest.digest;
          const path = `/v2/${REPOSITORY}/${kind}/${digest}`;
          const location = `http://${host}:${port}${what}`;
          registry.status(path, 307, { ...always, headers: { Location: location } });
          for (const method of ['GET', 'HEAD'] as const) {
            const answer = await ask(path, { method });
            t.is(answer.status, 502, `${method} ${location}`);
            if (method === 'GET') t.regex(answer.body.toString(), /which is this mirror itself/);
          }
          registry.heal();
        }
      }
    });
  }
}

test('a token service at the mirror itself is not asked', async (t) => {
  const { registry, mirror, manifest } = await startScene(t);
  const realm = `${mirror.server.adminUrl}/api/v1/status`;
  registry.status(/^\/v2\//, 401, {
    ...always,
    headers: { 'WWW-Authenticate': `Bearer realm="${realm}",service="x"` },
  });
  t.deepEqual(
    refusalOf(await manifest('latest')),
    refusal(`a token realm to ${new URL(realm).host}, which is this mirror itself`),
  );
});

// Names

const INSIDE = {
  'a private address': '10.9.8.7',
  'a private address of a home': '192.168.7.7',
  'a shared address': '100.64.7.7',
  'this machine': '127.0.0.1',
  'this machine over IPv6': '::1',
  'no address': '0.0.0.0',
  'a private address over IPv6': 'fd12::7',
  'a link-local address': '169.254.77.77',
  'a link-local address over IPv6': 'fe80::7',
  'a private address, mapped': '::ffff:10.9.8.7',
  'a private address, translated': '64:ff9b::a09:807',
};

for (const [claim, address] of Object.entries(INSIDE)) {
  test(`a redirect to a name that becomes ${claim} is refused, and nobody is dialled`, async (t) => {
    const { registry, blob, redirect } = await startNamed(t, { 'cdn.test': [address] });
    const { connections } = registry;
    redirect(`http://cdn.test:${new URL(registry.url).port}/x`);
    t.deepEqual(
      refusalOf(await blob()),
      refusal(
        `a redirect to cdn.test, which is the internal address ${address}; if that is meant, list it in ${KEY}.storage`,
      ),
    );
    t.is((await blob('HEAD')).status, 502);
    t.is(registry.connections, connections + 1);
    t.false(dials.outside().some((dial) => dial.startsWith(address)));
  });

  test(`a token service whose name becomes ${claim} is not asked`, async (t) => {
    const { registry, blob } = await startNamed(t, { 'auth.test': [address] });
    registry.status(/^\/v2\//, 401, {
      ...always,
      headers: { 'WWW-Authenticate': 'Bearer realm="http://auth.test/token",service="x"' },
    });
    t.deepEqual(
      refusalOf(await blob()),
      refusal(
        `a token realm to auth.test, which is the internal address ${address}; if that is meant, list it in ${KEY}.realms`,
      ),
    );
  });
}

test('of a name with several addresses only those outside are dialled', async (t) => {
  const { registry, blob, redirect } = await startNamed(t, {
    'cdn.test': ['10.9.8.7', NOWHERE, '::1'],
  });
  redirect(`http://cdn.test:${new URL(registry.url).port}/x`);
  const answering = blob();
  t.is((await answering).status, 502);
  t.false(dials.outside().some((dial) => dial.startsWith('10.9.8.7')));
});

for (const entry of ['cdn.test', '*.test', '127.0.0.1', '127.0.0.0/8', '::ffff:127.0.0.1']) {
  test(`storage inside is reached when the configuration names it as ${entry}`, async (t) => {
    const storage = await FakeRegistry.start(t);
    const { image, blob, redirect } = await startNamed(
      t,
      { 'cdn.test': ['127.0.0.1'] },
      { upstream: { storage: [entry] } },
    );
    storage.addBlob(REPOSITORY, image.layer(0));
    const path = `/v2/${REPOSITORY}/blobs/${image.layer(0).digest}`;
    redirect(`http://cdn.test:${new URL(storage.url).port}${path}`);
    t.deepEqual((await blob()).body, image.layer(0).bytes);
  });
}

test('a token service inside, of another domain, is asked when the configuration names it', async (t) => {
  const user = { username: 'robot', password: 'pass:word' };
  const tokens = await FakeRegistry.start(t, { auth: { kind: 'bearer', ...user } });
  const { port } = new URL(tokens.url);
  const auth = { kind: 'bearer', ...user, realm: `http://auth.other:${port}/token` } as const;
  const names = { 'auth.other': ['127.0.0.1'] };
  const upstream = { credentials: user };
  const refused = await startNamed(t, names, { registry: { auth }, upstream });
  t.deepEqual(
    refusalOf(await refused.blob()),
    refusal(
      `token realm auth.other:${port} does not belong to registry.test:${new URL(refused.registry.url).port}: credentials are not sent there; if that is meant, list it in ${KEY}.realms`,
    ),
  );
  t.is(tokens.connections, 0);
  const named = await startNamed(t, names, {
    registry: { auth },
    upstream: { ...upstream, realms: ['auth.other'] },
  });
  await named.blob();
  t.deepEqual(
    tokens.requests.map(({ origin, authorization }) => `${origin} ${authorization}`),
    // The registry, which did not issue it, takes none: a newer one is tried once.
    ['token basic:robot', 'token basic:robot'],
  );
});

test('the mirror itself is not reached even when the configuration names this machine', async (t) => {
  const { mirror, blob, redirect } = await startNamed(
    t,
    { 'cdn.test': ['127.0.0.1'] },
    { upstream: { storage: ['127.0.0.0/8', 'cdn.test'] } },
  );
  const { port } = new URL(mirror.server.adminUrl);
  redirect(`http://cdn.test:${port}/metrics`);
  t.deepEqual(
    refusalOf(await blob()),
    refusal('a redirect to cdn.test, which is this mirror itself'),
  );
});

test('a registry that is written as an address of this machine may send to storage on it, and not into the network', async (t) => {
  const storage = await FakeRegistry.start(t);
  const { image, blob, redirect, registry } = await startNamed(
    t,
    { 'minio.test': ['127.0.0.1'], 'db.test': ['10.9.8.7'] },
    { host: '127.0.0.1' },
  );
  redirect('http://db.test/x');
  t.is((await blob()).status, 502);
  t.false(dials.outside().some((dial) => dial.startsWith('10.9.8.7')));
  registry.heal();
  storage.addBlob(REPOSITORY, image.layer(0));
  const path = `/v2/${REPOSITORY}/blobs/${image.layer(0).digest}`;
  redirect(`http://minio.test:${new URL(storage.url).port}${path}`);
  t.deepEqual((await blob()).body, image.layer(0).bytes);
});

test('a registry whose name becomes an address of this machine is asked, and may not send to others on it', async (t) => {
  const storage = await FakeRegistry.start(t);
  const { image, blob, redirect, registry } = await startNamed(t, {
    'registry.test': ['127.0.0.1'],
    'minio.test': ['127.0.0.1'],
  });
  const path = `/v2/${REPOSITORY}/blobs/${image.layer(0).digest}`;
  storage.addBlob(REPOSITORY, image.layer(0));
  const { port } = new URL(storage.url);
  for (const host of ['minio.test', 'registry.test']) {
    redirect(`http://${host}:${port}${path}`);
    t.deepEqual(
      refusalOf(await blob()),
      refusal(
        `a redirect to ${host}, which is the internal address 127.0.0.1; if that is meant, list it in ${KEY}.storage`,
      ),
    );
    registry.heal();
  }
  t.is(storage.connections, 0);
  t.deepEqual((await blob()).body, image.layer(0).bytes);
});

// What belongs to the upstream's own origin

const creating = createCertificates();

for (const what of ['the client certificate', 'insecure'] as const) {
  test(`a host that the registry redirects to has no part in ${what}`, async (t) => {
    const { ca, server, client } = await creating;
    const isCertificate = what === 'the client certificate';
    const tls = {
      insecure: !isCertificate,
      ...(isCertificate && {
        ca: ca.toString(),
        cert: client.cert.toString(),
        key: client.key.toString(),
      }),
    };
    const { registry, blob, manifest, image } = await startScene(t, {
      registry: {
        tls: { ...server, ca, requestClientCert: 'ask' },
        redirectBlobs: 307,
        auth: { kind: 'bearer', realmHost: '127.0.0.1' },
      },
      upstream: { tls },
      timing: { attemptsMs: 0 },
    });
    const answer = isCertificate ? await blob(image.layer(0)) : await manifest('latest');
    t.is(answer.status, isCertificate ? 200 : 502);
    const shown = new Set(
      registry.requests.map(({ origin, clientCertificate }) => `${origin} ${clientCertificate}`),
    );
    t.deepEqual(
      [...shown].toSorted(),
      isCertificate
        ? ['registry test client', 'storage undefined', 'token undefined']
        : ['registry undefined'],
    );
  });
}

test('the authority of a registry says nothing of another host', async (t) => {
  const { ca, server } = await creating;
  const { registry, blob, image } = await startScene(t, {
    registry: { tls: server, redirectBlobs: 307, storageHost: 'localhost' },
    upstream: { tls: { ca: ca.toString(), insecure: false } },
    timing: { attemptsMs: 0 },
  });
  t.is((await blob(image.layer(0))).status, 502);
  t.deepEqual(
    registry.requests.map(({ origin }) => origin),
    ['registry'],
  );
});
