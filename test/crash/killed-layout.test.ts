import { join } from 'node:path';
import test from 'ava';
import { get } from '../helpers/client.ts';
import { buildImage, buildIndex } from '../helpers/image.ts';
import { createConfig, createTempFolder, startMirror, TEST_TIMING } from '../helpers/mirror.ts';
import {
  blobsOf,
  layoutOf,
  named,
  startSite,
  tarOf,
  UPSTREAM,
} from '../sync/bundle/layout-site.ts';
import { ChildMirror } from './child-mirror.ts';

const PLATFORMS = ['amd64', 'arm64'].map((architecture) => ({ os: 'linux', architecture }));
const images = PLATFORMS.map((platform) =>
  buildImage({ seed: platform.architecture, layers: [90_000, 300], platform }),
);
const index = buildIndex(images.map((image, at) => ({ image, platform: PLATFORMS[at]! })));
const before = buildImage({ seed: 'before', layers: [5_000] });
const FILES = layoutOf([named(index.manifest)], [...blobsOf(...images), index.manifest]);

/** Steps of the import, how often each comes before the kill, and whether the tag has moved by then. */
const STEPS = [
  ['commit.verified', 3],
  ['commit.renamed', 2],
  ['layout.written', 1],
  ['layout.adopted', 6],
  ['layout.taken', 1],
  ['layout.recorded', 1],
  ['layout.recorded', 3],
  ['layout.pinned', 1],
  ['layout.tagged', 1, 'moved'],
] as const;

for (const [step, count, moved] of STEPS) {
  test(`killed at ${step} ${count} of an import: the tag means one image, and a second import completes it`, async (t) => {
    const upstreams = { [UPSTREAM]: { url: 'http://127.0.0.1:1' } };
    const folder = await createTempFolder(t);
    const config = createConfig(join(folder, 'store'), { upstreams, offline: true });
    const storePath = config.store.path;
    const first = await startSite(t, { storePath });
    await first.bring(await tarOf(layoutOf([named(before.manifest)], blobsOf(before))), 'app:v1');
    await first.mirror.stop();

    const files = { factsFile: join(folder, 'facts'), logFile: join(folder, 'log') };
    const killAt = { step, count };
    const mirror = await ChildMirror.start({ config, timing: TEST_TIMING, killAt, ...files });
    if (typeof mirror === 'string') throw new Error(`the mirror did not start: ${mirror}`);
    t.teardown(async () => mirror.kill());
    const tar = await tarOf(FILES);
    await t.throwsAsync(
      get(`${mirror.adminUrl}/api/v1/bundles/layouts?image=app:v1`, {
        method: 'POST',
        headers: { 'content-type': 'application/x-tar' },
        body: tar,
      }),
    );
    t.is(await mirror.gone, 'SIGKILL', 'the step must be hit');

    const again = await startSite(t, { storePath });
    const expected = moved ? index.manifest.bytes : before.manifest.bytes;
    t.deepEqual((await again.pull('manifests/v1')).body, expected);
    const { status, report } = await again.bring(tar, 'app:v1');
    t.deepEqual([status, report.digest], [200, index.manifest.digest]);
    t.deepEqual((await again.pull('manifests/v1')).body, index.manifest.bytes);
    for (const { manifest, blobs } of images) {
      t.deepEqual((await again.pull(`manifests/${manifest.digest}`)).body, manifest.bytes);
      for (const { digest, bytes } of blobs) {
        t.deepEqual((await again.pull(`blobs/${digest}`)).body, bytes);
      }
    }
    // Its end finds every file with its record, and nothing half written.
    await again.mirror.stop();
    const left = await startMirror(t, { upstreams, offline: true, storePath });
    t.is(left.server.catalog.usage.blobs, 3 + 9);
  });
}
