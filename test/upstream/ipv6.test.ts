import test from 'ava';
import type { ExecutionContext } from 'ava';
import { get } from '../helpers/client.ts';
import type { FakeRegistryOptions } from '../helpers/fake-registry.ts';
import { buildArtifact } from '../helpers/image.ts';
import { REPOSITORY, startScene, type Scene } from '../helpers/scene.ts';

const SIX = '[::1]';
const APP = `/v2/${REPOSITORY}`;

/** Registry, token service and storage have IPv6 alone, and write absolute addresses everywhere. */
const BY_SIX: FakeRegistryOptions = {
  host: SIX,
  auth: { kind: 'bearer', realmHost: SIX },
  redirectBlobs: 307,
  links: 'absolute',
  pageSize: 2,
};

async function startBySix(t: ExecutionContext, host: string): Promise<Scene> {
  const scene = await startScene(t, { registry: BY_SIX, listen: { host } });
  for (const tag of ['a', 'b', 'c']) scene.registry.tag(REPOSITORY, tag, scene.image.manifest);
  return scene;
}

/** What the mirror is asked by one of its addresses. */
function asker({ mirror }: Scene, host: string): (path: string) => Promise<Buffer> {
  const { port } = new URL(mirror.url);
  return async (path) => (await get(`http://${host}:${port}${APP}/${path}`)).body;
}

test('a registry, its realm, its storage and its pages at IPv6 literals are read, by a mirror at one', async (t) => {
  const scene = await startBySix(t, '::1');
  const { registry, mirror, image } = scene;
  const signature = buildArtifact({
    seed: 'signature',
    subject: image.manifest,
    artifactType: 'application/vnd.test.signature',
  });
  registry.addImage(REPOSITORY, undefined, signature, { name: 'signature' });
  t.true(mirror.url.startsWith(`http://${SIX}:`), mirror.url);
  const ask = asker(scene, SIX);
  t.deepEqual(await ask('manifests/latest'), image.manifest.bytes);
  t.deepEqual(await ask(`blobs/${image.layer(0).digest}`), image.layer(0).bytes);
  const { tags } = JSON.parse(String(await ask('tags/list'))) as { tags: string[] };
  t.deepEqual(tags, ['a', 'b', 'c', 'latest']);
  const referrers = String(await ask(`referrers/${image.manifest.digest}`));
  t.true(referrers.includes(signature.manifest.digest));
  t.deepEqual(registry.conversation(), [
    `HEAD ${APP}/manifests/latest`,
    `GET token repository:${REPOSITORY}:pull`,
    `HEAD ${APP}/manifests/latest`,
    `GET ${APP}/manifests/<app>`,
    `GET ${APP}/blobs/<app.layer0>`,
    'GET storage /blobs/<app.layer0>',
    `GET ${APP}/tags/list?n=1000`,
    `GET ${APP}/tags/list?n=2&last=b`,
    `GET ${APP}/referrers/<app>`,
    `HEAD ${APP}/manifests/<sha256-app>`,
  ]);
});

test('at [::] both families are served, and a client by IPv4 is logged by its IPv4 address', async (t) => {
  const scene = await startBySix(t, '::');
  const { registry, mirror, image } = scene;
  for (const host of ['127.0.0.1', SIX]) {
    const ask = asker(scene, host);
    t.deepEqual(await ask(`manifests/${image.manifest.digest}`), image.manifest.bytes);
    t.deepEqual(await ask(`blobs/${image.layer(1).digest}`), image.layer(1).bytes);
    await mirror.idle();
  }
  await mirror.logged('request', 4);
  const clients = mirror.log.flatMap(({ msg, client }) => (msg === 'request' ? [client] : []));
  t.deepEqual(clients, ['127.0.0.1', '127.0.0.1', '::1', '::1']);
  t.deepEqual(registry.conversation(), [
    `GET ${APP}/manifests/<app>`,
    `GET token repository:${REPOSITORY}:pull`,
    `GET ${APP}/manifests/<app>`,
    `GET ${APP}/blobs/<app.layer1>`,
    'GET storage /blobs/<app.layer1>',
  ]);
});
