import test from 'ava';
import type { ExecutionContext } from 'ava';
import { createCertificates, type Certificates } from '../helpers/certificate.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { startProxy } from '../helpers/proxy.ts';
import {
  UPSTREAM,
  refusalOf,
  startScene,
  type Scene,
  type SceneOptions,
} from '../helpers/scene.ts';

const creating = createCertificates();

const USER = { username: 'robot', password: 'pass:word' };

// TLS

function tlsTest(
  title: string,
  run: (t: ExecutionContext, found: Certificates) => Promise<void>,
): void {
  test(title, async (t) => {
    await run(t, await creating);
  });
}

async function startSecure(
  t: ExecutionContext,
  { server, ca }: Certificates,
  options: SceneOptions & { requestClientCert?: boolean | 'ask' } = {},
): Promise<Scene> {
  const { requestClientCert = false, ...rest } = options;
  const tls = { ...server, ca, requestClientCert };
  const scene = await startScene(t, { ...rest, registry: { ...rest.registry, tls } });
  return scene;
}

tlsTest(
  'an upstream behind an authority of its own is trusted by the configured one',
  async (t, found) => {
    const { registry, manifest, blob, image } = await startSecure(t, found, {
      upstream: { tls: { ca: found.ca.toString(), insecure: false } },
    });
    t.true(registry.url.startsWith('https:'));
    t.is((await manifest('latest')).status, 200);
    t.deepEqual((await blob(image.layer(0))).body, image.layer(0).bytes);
  },
);

tlsTest(
  'an upstream behind an unknown authority is 502, and the message says why',
  async (t, found) => {
    const { registry, manifest } = await startSecure(t, found);
    t.deepEqual(refusalOf(await manifest('latest')), {
      status: 502,
      code: 'UNAVAILABLE',
      message: `${UPSTREAM}: the certificate of ${registry.host} is of an authority that is not trusted (SELF_SIGNED_CERT_IN_CHAIN); set upstreams.${UPSTREAM}.tls.ca to the PEM file of that authority`,
      detail: { upstream: UPSTREAM, fault: 'unreachable' },
    });
    t.deepEqual(registry.conversation(), []);
  },
);

tlsTest('an insecure upstream is not checked', async (t, found) => {
  const { manifest } = await startSecure(t, found, { upstream: { tls: { insecure: true } } });
  t.is((await manifest('latest')).status, 200);
});

tlsTest(
  'an upstream that asks for a client certificate is shown the configured one',
  async (t, found) => {
    const { registry, manifest } = await startSecure(t, found, {
      requestClientCert: true,
      upstream: {
        tls: {
          ca: found.ca.toString(),
          cert: found.client.cert.toString(),
          key: found.client.key.toString(),
          insecure: false,
        },
      },
    });
    t.is((await manifest('latest')).status, 200);
    t.deepEqual(
      registry.requests.map(({ clientCertificate }) => clientCertificate),
      ['test client', 'test client'],
    );
  },
);

tlsTest('without the client certificate that it asks for, an upstream is 502', async (t, found) => {
  const { registry, manifest } = await startSecure(t, found, {
    requestClientCert: true,
    upstream: { tls: { ca: found.ca.toString(), insecure: false } },
  });
  t.like(refusalOf(await manifest('latest')), { status: 502, code: 'UNAVAILABLE' });
  t.deepEqual(registry.conversation(), []);
});

tlsTest('an http realm of an https registry gets nothing', async (t, found) => {
  const thief = await FakeRegistry.start(t);
  const { registry, manifest } = await startSecure(t, found, {
    registry: { auth: { kind: 'bearer', ...USER, realm: `${thief.url}/token` } },
    upstream: { credentials: USER, tls: { ca: found.ca.toString(), insecure: false } },
  });
  t.deepEqual(refusalOf(await manifest('latest')), {
    status: 502,
    code: 'UNAVAILABLE',
    message: `${UPSTREAM}: token realm ${thief.url} is http although the registry is https`,
    detail: { upstream: UPSTREAM, fault: 'bad-response' },
  });
  t.deepEqual(registry.conversation(), ['GET /v2/']);
  t.is(thief.connections, 0);
});

// A proxy on the way

tlsTest('an https upstream behind a proxy is reached through its tunnel only', async (t, found) => {
  const proxy = await startProxy(t);
  const { registry, manifest, blob, image } = await startSecure(t, found, {
    upstream: { proxy: proxy.url, tls: { ca: found.ca.toString(), insecure: false } },
  });
  t.is((await manifest('latest')).status, 200);
  t.deepEqual((await blob(image.layer(0))).body, image.layer(0).bytes);
  t.true(proxy.lines.length > 0);
  t.deepEqual([...new Set(proxy.lines)], [`CONNECT ${registry.host}`]);
  t.is(registry.connections, proxy.lines.length);
});

tlsTest('through a proxy the certificate of the upstream is still checked', async (t, found) => {
  const proxy = await startProxy(t);
  const { registry, manifest } = await startSecure(t, found, { upstream: { proxy: proxy.url } });
  t.like(refusalOf(await manifest('latest')), { status: 502, code: 'UNAVAILABLE' });
  t.deepEqual(registry.conversation(), []);
});

tlsTest(
  'the realm and the redirects go through the proxy too, the client certificate to the registry only',
  async (t, found) => {
    const proxy = await startProxy(t);
    const { registry, manifest, blob, image } = await startSecure(t, found, {
      registry: { auth: { kind: 'bearer', realmHost: '127.0.0.1' }, redirectBlobs: 307 },
      requestClientCert: 'ask',
      upstream: {
        proxy: proxy.url,
        tls: {
          ca: found.ca.toString(),
          cert: found.client.cert.toString(),
          key: found.client.key.toString(),
          insecure: false,
        },
      },
    });
    t.is((await manifest('latest')).status, 200);
    t.deepEqual((await blob(image.layer(0))).body, image.layer(0).bytes);
    t.is(new Set(proxy.lines).size, 3, 'the registry, its token service and its storage');
    t.is(registry.connections, proxy.lines.length);
    for (const { origin, clientCertificate } of registry.requests) {
      t.is(clientCertificate, origin === 'registry' ? 'test client' : undefined, origin);
    }
  },
);

tlsTest(
  'a proxy that refuses is 502, and the upstream is not dialled past it',
  async (t, found) => {
    const proxy = await startProxy(t, { lead: () => 407 });
    const { registry, manifest } = await startSecure(t, found, {
      upstream: { proxy: proxy.url, tls: { ca: found.ca.toString(), insecure: false } },
    });
    t.like(refusalOf(await manifest('latest')), { status: 502, code: 'UNAVAILABLE' });
    t.is(registry.connections, 0);
  },
);

test('a proxy that is down is 502, and the upstream is not dialled past it', async (t) => {
  const gone = await FakeRegistry.start(t);
  await gone.refuse();
  const { registry, manifest } = await startScene(t, { upstream: { proxy: gone.url } });
  t.like(refusalOf(await manifest('latest')), { status: 502, code: 'UNAVAILABLE' });
  t.is(registry.connections, 0);
});
