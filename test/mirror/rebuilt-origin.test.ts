/** After a catalog was made anew from the files nobody knows which upstream a layer came from. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { get } from '../helpers/client.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildImage, type Stored } from '../helpers/image.ts';
import { createTempFolder, startMirror } from '../helpers/mirror.ts';

const [OWN, OTHER] = ['own.example', 'other.example'];

test('a held image is served by its own upstream and repository after a rebuild, and by no other that lacks it', async (t) => {
  const [own, other] = [await FakeRegistry.start(t), await FakeRegistry.start(t)];
  const image = buildImage({ seed: t.title, layers: [100_000] });
  own.addImage('team/app', 'v1', image, { name: 'app' });
  for (const registry of [own, other]) {
    registry.addImage('team/tool', 'v1', buildImage({ seed: 'tool', layers: [10] }));
  }
  const storePath = await createTempFolder(t);
  const start = async () => {
    const mirror = await startMirror(t, {
      storePath,
      upstreams: {
        [OWN]: { url: own.url, hydrate: 'off' },
        [OTHER]: { url: other.url, hydrate: 'off' },
      },
    });
    const ask = async (upstream: string, path: string) =>
      get(`${mirror.url}/v2/team/${path}?ns=${upstream}`);
    const blob = async (upstream: string, { digest }: Stored, name = 'app') =>
      ask(upstream, `${name}/blobs/${digest}`);
    return { mirror, ask, blob };
  };
  const first = await start();
  t.is((await first.ask(OWN, 'app/manifests/v1')).status, 200);
  for (const part of [image.config, image.layer(0)]) {
    t.true((await first.blob(OWN, part)).body.equals(part.bytes));
  }
  await first.mirror.stop();
  await rm(join(storePath, 'catalog'), { recursive: true });
  own.clear();
  const { ask, blob } = await start();
  t.is((await ask(OWN, `app/manifests/${image.manifest.digest}`)).status, 200);
  const layer = image.layer(0);
  t.is((await blob(OTHER, layer)).status, 404);
  t.is((await blob(OWN, layer, 'tool')).status, 404);
  for (const part of [image.config, layer]) {
    t.true((await blob(OWN, part)).body.equals(part.bytes));
  }
  // One question and a small range of each blob show that the upstream has the very bytes.
  const asked = (registry: FakeRegistry): string[] =>
    registry.conversation().map((line) => line.replace(/bytes=\d+-\d+$/, 'range'));
  t.deepEqual(asked(other), [`HEAD /v2/team/app/blobs/${layer.digest}`]);
  t.deepEqual(asked(own), [
    'HEAD /v2/team/tool/blobs/<app.layer0>',
    'HEAD /v2/team/app/blobs/<app.config>',
    'GET /v2/team/app/blobs/<app.config> range',
    'HEAD /v2/team/app/blobs/<app.layer0>',
    'GET /v2/team/app/blobs/<app.layer0> range',
  ]);
  own.clear();
  t.true((await blob(OWN, layer)).body.equals(layer.bytes));
  await own.refuse();
  t.true((await blob(OWN, image.config)).body.equals(image.config.bytes));
  t.deepEqual(own.conversation(), []);
});
