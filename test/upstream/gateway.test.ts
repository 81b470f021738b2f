import test from 'ava';
import { createCertificates } from '../helpers/certificate.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { REPOSITORY, UPSTREAM, refusalOf, startScene } from '../helpers/scene.ts';

const USER = { username: 'robot', password: 'pass:word' };
const always = { times: Infinity };

function shown({ requests }: FakeRegistry): string[] {
  return requests.map(
    ({ origin, method, authorization }) => `${origin} ${method} ${authorization}`,
  );
}

/** A path of the registry as a redirect to the same one elsewhere. */
function redirectTo(to: FakeRegistry, from: FakeRegistry, status: number, paths: string[]): void {
  for (const path of paths) {
    from.status(path, status, { ...always, headers: { Location: `${to.url}${path}` } });
  }
}

test("a gateway to another registry is followed by that one's own challenge, without our credentials", async (t) => {
  const back = await FakeRegistry.start(t, { auth: { kind: 'bearer' } });
  const { registry, manifest, blob, image } = await startScene(t, {
    registry: { auth: { kind: 'basic', ...USER } },
    upstream: { credentials: USER },
  });
  back.addImage(REPOSITORY, 'latest', image, { name: 'app' });
  const manifests = `/v2/${REPOSITORY}/manifests`;
  redirectTo(back, registry, 307, [
    `${manifests}/latest`,
    `${manifests}/${image.manifest.digest}`,
    `/v2/${REPOSITORY}/blobs/${image.layer(1).digest}`,
  ]);
  t.deepEqual((await manifest('latest')).body, image.manifest.bytes);
  t.deepEqual((await blob(image.layer(1))).body, image.layer(1).bytes);
  t.deepEqual(back.conversation(), [
    `HEAD /v2/${REPOSITORY}/manifests/latest`,
    `GET token repository:${REPOSITORY}:pull`,
    `HEAD /v2/${REPOSITORY}/manifests/latest`,
    `GET /v2/${REPOSITORY}/manifests/<app>`,
    `GET /v2/${REPOSITORY}/blobs/<app.layer1>`,
  ]);
  t.false(shown(back).some((line) => line.includes('robot')));
  t.false(shown(registry).some((line) => line.includes('bearer')));
});

test('a registry that says that it has moved for ever is told with the url to write', async (t) => {
  const now = await FakeRegistry.start(t, { auth: { kind: 'basic', ...USER } });
  const { registry, mirror, manifest, image } = await startScene(t);
  now.addImage(REPOSITORY, 'latest', image, { name: 'app' });
  redirectTo(now, registry, 308, [`/v2/${REPOSITORY}/manifests/latest`]);
  const answer = refusalOf(await manifest('latest'));
  const advice = `; ${registry.host} has moved: write upstreams.${UPSTREAM}.url: ${now.url}`;
  t.true(String(answer['message']).endsWith(advice), String(answer['message']));
  await mirror.logged('the registry has moved; write the url where it is now');
  t.deepEqual(shown(now), ['registry HEAD none', 'registry GET none']);
});

test('http that redirects to https of the same host keeps its login', async (t) => {
  const { server, ca } = await createCertificates();
  const secure = await FakeRegistry.start(t, {
    tls: server,
    auth: { kind: 'basic', ...USER },
  });
  const { registry, manifest, image } = await startScene(t, {
    upstream: { credentials: USER, tls: { ca: ca.toString() } },
  });
  secure.addImage(REPOSITORY, 'latest', image, { name: 'app' });
  const manifests = `/v2/${REPOSITORY}/manifests`;
  const paths = [`${manifests}/latest`, `${manifests}/${image.manifest.digest}`];
  redirectTo(secure, registry, 301, paths);
  t.deepEqual((await manifest('latest')).body, image.manifest.bytes);
  t.deepEqual(shown(secure), [
    'registry HEAD none',
    'registry HEAD basic:robot',
    'registry GET basic:robot',
  ]);
});
