import { join } from 'node:path';
import test from 'ava';
import type { ImageSummary } from '../../src/api/store-api.ts';
import { Store } from '../../src/store/store.ts';
import { get } from '../helpers/client.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildImage } from '../helpers/image.ts';
import { createConfig, createTempFolder, startMirror, TEST_TIMING } from '../helpers/mirror.ts';
import { UPSTREAM } from '../helpers/scene.ts';
import { until } from '../helpers/until.ts';
import { ChildMirror } from './child-mirror.ts';

for (const step of ['evict.released', 'evict.removed']) {
  test(`killed at ${step} of the removal of an image: it is gone, all else is whole`, async (t) => {
    const registry = await FakeRegistry.start(t);
    const images = [10, 20].map((size) => buildImage({ seed: 'pair', layers: [30_000, size] }));
    const upstreams = { [UPSTREAM]: { url: registry.url } };
    const folder = await createTempFolder(t);
    const config = createConfig(join(folder, 'store'), { upstreams });
    const files = { factsFile: join(folder, 'facts'), logFile: join(folder, 'log') };
    const killAt = { step, count: 1 };
    const mirror = await ChildMirror.start({ config, timing: TEST_TIMING, killAt, ...files });
    if (typeof mirror === 'string') throw new Error(`the mirror did not start: ${mirror}`);
    t.teardown(async () => mirror.kill());
    for (const [at, image] of images.entries()) {
      registry.addImage('library/app', `v${at}`, image);
      for (const path of [
        `manifests/v${at}`,
        ...image.blobs.map(({ digest }) => `blobs/${digest}`),
      ]) {
        t.is((await get(`${mirror.url}/v2/library/app/${path}`)).status, 200);
      }
    }
    // Clients have their last byte before it is recorded.
    await until('both images to be complete', async () => {
      const held = await heldImages(mirror.adminUrl);
      return held.length === images.length && held.every((each) => each.endsWith(' complete'));
    });
    const removal = fetch(`${mirror.adminUrl}/api/v1/rm`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ image: `${UPSTREAM}/library/app:v0` }),
    });
    await t.throwsAsync(removal);
    t.is(await mirror.gone, 'SIGKILL');
    const list = async (): Promise<string[]> => {
      // Its end compares every file with its record.
      const again = await startMirror(t, {
        upstreams,
        storePath: config.store.path,
        offline: true,
      });
      await again.server.store.care.settled;
      const held = await heldImages(again.server.adminUrl);
      await again.stop();
      return held;
    };
    t.deepEqual(await list(), ['v1 complete']);
    await Store.rebuild(config.store);
    // The last lines of the journal may have died with the process: then the removed one is known again.
    t.true((await list()).includes('v1 complete'));
  });
}

/** `v1 complete` */
async function heldImages(adminUrl: string): Promise<string[]> {
  const answer = await fetch(`${adminUrl}/api/v1/images`);
  const { images } = (await answer.json()) as { images: ImageSummary[] };
  return images.map(({ tags, state }) => `${tags.join(' ')} ${state}`);
}
