import test from 'ava';
import { parseDigest } from '../../src/oci/digest.ts';
import { parseRepository } from '../../src/oci/reference.ts';
import { get } from '../helpers/client.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildImage } from '../helpers/image.ts';
import { startMirror } from '../helpers/mirror.ts';
import { until } from '../helpers/until.ts';

const [NEAR, FAR] = ['near.example', 'far.example'];
const REPOSITORY = 'team/app';

for (const look of [1, 2, 3]) {
  test(`a blob that another upstream brings after look ${look} for it is shown to be one's own as well`, async (t) => {
    const image = buildImage({ seed: 'shared', layers: [1000] });
    const [near, far] = [await FakeRegistry.start(t), await FakeRegistry.start(t)];
    for (const registry of [near, far]) registry.addImage(REPOSITORY, 'v1', image, { name: 'app' });
    const mirror = await startMirror(t, {
      upstreams: {
        [NEAR]: { url: near.url, hydrate: 'off' },
        [FAR]: { url: far.url, hydrate: 'blob' },
      },
    });
    const ask = async (upstream: string, path: string) =>
      get(`${mirror.url}/v2/${REPOSITORY}/${path}?ns=${upstream}`);
    const wanted = parseDigest(image.layer(0).digest);
    const { catalog } = mirror.server;
    const findBlob = catalog.findBlob.bind(catalog);
    let looks = 0;
    catalog.findBlob = async (digest) => {
      const found = await findBlob(digest);
      if (digest !== wanted || (looks += 1) !== look) return found;
      await ask(NEAR, `blobs/${wanted}`);
      await until('it is held', async () => (await findBlob(digest)) !== undefined);
      return found;
    };
    await ask(FAR, 'manifests/v1');
    await ask(FAR, `blobs/${image.config.digest}`);
    const target = { upstream: FAR, repository: parseRepository(REPOSITORY) };
    await until('it is shown', async () => (await catalog.findLink(target, wanted)) === 'proven');
    t.true(far.conversation().some((line) => line.includes('<app.layer0>')));
  });
}
