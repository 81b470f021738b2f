import { writeFile } from 'node:fs/promises';
import { request as requestHttp } from 'node:http';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { createCertificates } from '../helpers/certificate.ts';
import { get } from '../helpers/client.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildImage } from '../helpers/image.ts';
import { createTempFolder } from '../helpers/mirror.ts';
import { MirrorProcess } from '../helpers/process.ts';
import { startProxy, type Proxy } from '../helpers/proxy.ts';
import { REPOSITORY, startScene } from '../helpers/scene.ts';

const creating = createCertificates();

/** A proxy that knows where these hosts are. */
async function startForward(
  t: ExecutionContext,
  places: Readonly<Record<string, string>>,
): Promise<Proxy> {
  return startProxy(t, {
    forward: (incoming, outgoing) => {
      const { hostname, pathname, search } = new URL(incoming.url ?? '');
      const to = new URL(`${pathname}${search}`, places[hostname]);
      const onward = requestHttp(to, { method: incoming.method, headers: incoming.headers });
      onward.on('error', () => incoming.socket.destroy());
      onward.on('response', (answer) => {
        outgoing.writeHead(answer.statusCode ?? 0, answer.headers);
        answer.pipe(outgoing);
      });
      onward.end();
    },
  });
}

test('a registry is reached directly, its storage through the proxy of the environment', async (t) => {
  const storage = await FakeRegistry.start(t);
  const proxy = await startForward(t, { 'bucket.test': storage.url });
  const { registry, manifest, blob, image } = await startScene(t, {
    upstream: { environment: { HTTP_PROXY: proxy.url, NO_PROXY: '127.0.0.1' } },
  });
  storage.addBlob(REPOSITORY, image.layer(1), { name: 'app.layer1' });
  const path = `/v2/${REPOSITORY}/blobs/${image.layer(1).digest}`;
  registry.status(path, 307, { headers: { Location: `http://bucket.test${path}` } });
  t.is((await manifest('latest')).status, 200);
  t.deepEqual((await blob(image.layer(1))).body, image.layer(1).bytes);
  t.deepEqual(proxy.lines, [`GET http://bucket.test${path}`]);
  t.deepEqual(storage.conversation(), [`GET /v2/${REPOSITORY}/blobs/<app.layer1>`]);
});

test('a token service is reached through ALL_PROXY, its registry directly', async (t) => {
  const tokens = await FakeRegistry.start(t, { auth: { kind: 'bearer' } });
  const proxy = await startForward(t, { 'auth.test': tokens.url });
  const { registry, manifest } = await startScene(t, {
    registry: { auth: { kind: 'bearer', realm: 'http://auth.test/token' } },
    upstream: { environment: { all_proxy: proxy.url } },
  });
  await manifest('latest');
  t.is(tokens.requests[0]?.origin, 'token');
  t.true(proxy.lines.every((line) => line.startsWith('GET http://auth.test/token?')));
  t.is(registry.requests[0]?.origin, 'registry');
});

test('the proxy of an upstream is for all its hosts but those that NO_PROXY names', async (t) => {
  const storage = await FakeRegistry.start(t);
  const places: Record<string, string> = {};
  const proxy = await startForward(t, places);
  const { port } = new URL(storage.url);
  const { registry, blob, image } = await startScene(t, {
    upstream: { proxy: proxy.url, environment: { NO_PROXY: `localhost:${port}` } },
  });
  places['127.0.0.1'] = registry.url;
  storage.addBlob(REPOSITORY, image.layer(1), { name: 'app.layer1' });
  const path = `/v2/${REPOSITORY}/blobs/${image.layer(1).digest}`;
  registry.status(path, 307, { headers: { Location: `http://localhost:${port}${path}` } });
  t.deepEqual((await blob(image.layer(1))).body, image.layer(1).bytes);
  t.deepEqual(proxy.lines, [`GET ${registry.url}${path}`]);
});

test("the system's authorities count beside those of the upstream, unless one of them is switched off", async (t) => {
  const [system, own] = [await creating, await createCertificates()];
  const folder = await createTempFolder(t);
  await writeFile(join(folder, 'system.pem'), system.ca);
  await writeFile(join(folder, 'own.pem'), own.ca);
  const image = buildImage({ seed: 'app', layers: [10] });
  const start = async (tls: { key: Buffer; cert: Buffer }): Promise<FakeRegistry> => {
    const registry = await FakeRegistry.start(t, { tls });
    registry.addImage(REPOSITORY, 'latest', image, { name: 'app' });
    return registry;
  };
  const [bySystem, byOwn] = [await start(system.server), await start(own.server)];
  const ca = 'own.pem';
  const upstreams = {
    'a.example': { url: bySystem.url },
    'b.example': { url: bySystem.url, tls: { ca } },
    'c.example': { url: byOwn.url, tls: { ca, only: true } },
    'd.example': { url: bySystem.url, tls: { system: false } },
    'e.example': { url: bySystem.url, tls: { ca, only: true } },
    'f.example': { url: byOwn.url },
  };
  const mirror = await MirrorProcess.start(
    t,
    folder,
    { upstreams, defaultUpstream: 'a.example' },
    { env: { SSL_CERT_FILE: join(folder, 'system.pem') } },
  );
  const told = await Promise.all(
    Object.keys(upstreams).map(async (name) => {
      const path = `/v2/${REPOSITORY}/manifests/latest?ns=${name}`;
      const { status, body } = await get(`${mirror.url}${path}`);
      return status === 200 ? status : /set upstreams\.\S+/.exec(body.toString())?.[0];
    }),
  );
  t.deepEqual(told, [
    200,
    200,
    200,
    'set upstreams.d.example.tls.ca',
    'set upstreams.e.example.tls.ca',
    'set upstreams.f.example.tls.ca',
  ]);
});
