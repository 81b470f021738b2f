import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import type { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildImage, buildIndex } from '../helpers/image.ts';
import { REPOSITORY, UPSTREAM } from '../helpers/scene.ts';
import { messageOf, startGuarded, type Guarded } from '../admission/guarded.ts';
import { KeyHolder } from '../admission/signing.ts';
import { parseDigest } from '../../src/oci/digest.ts';
import { parseRepository } from '../../src/oci/reference.ts';
import { unitOf } from '../../src/store/catalog/catalog.ts';
import { pullAs, startScanned } from '../admission/scanned.ts';
import { SmallDisk, testDisk } from './small-disk.ts';

const MIB = 2 ** 20;
const BYPASS = 'entrepot; fwd=bypass';

/** A gate whose disk takes nothing. */
async function startOn(
  t: ExecutionContext,
  how: 'full' | 'read-only',
): Promise<Guarded & { readonly disk: SmallDisk }> {
  const disk = await SmallDisk.mount(t, 24 * MIB);
  const scene = await startGuarded(t, { storePath: disk.path });
  await scene.mirror.server.store.care.settled;
  if (how === 'full') await disk.fill();
  else {
    await disk.setReadOnly();
    t.teardown(async () => disk.setWritable());
  }
  return { ...scene, disk };
}

/** Without the image itself. */
function evidenceAskedFor(registry: FakeRegistry): string[] {
  return registry
    .conversation()
    .map((line) => line.replace(`/v2/${REPOSITORY}/`, '').replace(/sha256:\w{64}/, 'signature'))
    .filter((line) => !/latest|manifests\/<app>|blobs\/<app/.test(line));
}

for (const how of ['full', 'read-only'] as const) {
  for (const way of ['attach', 'attachByTag'] as const) {
    testDisk(
      `${how}, ${way}: a pull of what is signed succeeds, and of nothing else`,
      async (t) => {
        const { registry, image, manifest, blob, signer } = await startOn(t, how);
        const other = buildImage({ seed: 'other', layers: [300] });
        registry.addImage(REPOSITORY, 'other', other);
        signer[way](registry, REPOSITORY, image.manifest);
        for (const part of image.blobs) t.regex(messageOf(await blob(part)), /manifest first/);
        registry.clear();
        const answer = await manifest('latest');
        t.true(answer.body.equals(image.manifest.bytes));
        t.is(answer.headers['cache-status'], BYPASS);
        for (const part of image.blobs) {
          t.is((await blob(part, { method: 'HEAD' })).status, 200);
          t.true((await blob(part)).body.equals(part.bytes));
        }
        // What tells that it may leave is asked for once, but for the bytes that no disk takes.
        t.deepEqual(evidenceAskedFor(registry), [
          'GET referrers/<app>',
          'HEAD manifests/<sha256-app>',
          ...(way === 'attachByTag' ? ['HEAD manifests/<sha256-app>.sig'] : []),
          'GET manifests/signature',
          'GET blobs/signature',
          'GET blobs/signature',
        ]);
        t.is((await manifest('other')).status, 403);
        for (const part of other.blobs) t.is((await blob(part)).status, 403);
      },
    );
  }

  testDisk(`${how}: a signed index admits the platforms that it lists`, async (t) => {
    const { registry, manifest, blob, signer } = await startOn(t, how);
    const image = buildImage({ seed: 'amd64', layers: [300] });
    const index = buildIndex([{ image, platform: { os: 'linux', architecture: 'amd64' } }]);
    registry.addIndex(REPOSITORY, 'many', index);
    signer.attach(registry, REPOSITORY, index.manifest);
    t.is((await manifest(image.manifest.digest)).status, 403);
    t.is((await manifest('many')).status, 200);
    t.true((await manifest(image.manifest.digest)).body.equals(image.manifest.bytes));
    for (const part of image.blobs) t.true((await blob(part)).body.equals(part.bytes));
  });

  testDisk(`${how}: what is refused later takes its blobs with it`, async (t) => {
    const scene = await startOn(t, how);
    const { registry, image, manifest, blob, signer, folder } = scene;
    signer.attach(registry, REPOSITORY, image.manifest);
    t.is((await manifest('latest')).status, 200);
    t.is((await blob(image.layer(0))).status, 200);
    writeFileSync(join(folder, 'cosign.pub'), new KeyHolder().pem);
    t.is((await blob(image.layer(0))).status, 403);
    t.is((await manifest('latest')).status, 403);
    writeFileSync(join(folder, 'cosign.pub'), signer.pem);
    t.is((await blob(image.layer(0))).status, 200);
  });
}

testDisk(
  'with room again it is kept, and what is evicted then has to be pulled first',
  async (t) => {
    const scene = await startOn(t, 'full');
    const { registry, image, manifest, blob, signer, disk, mirror } = scene;
    signer.attach(registry, REPOSITORY, image.manifest);
    t.is((await manifest('latest')).headers['cache-status'], BYPASS);
    t.is((await blob(image.layer(0))).status, 200);
    await disk.empty();
    t.is((await manifest('latest')).headers['cache-status'], 'entrepot; fwd=miss; stored');
    await mirror.idle();
    const target = { upstream: UPSTREAM, repository: parseRepository(REPOSITORY) };
    await mirror.server.catalog.evict(unitOf(target, parseDigest(image.manifest.digest)));
    t.regex(messageOf(await blob(image.layer(0))), /manifest first/);
  },
);

testDisk('full: a scanner fetches what it is asked about, once', async (t) => {
  const disk = await SmallDisk.mount(t, 24 * MIB);
  const scene = await startScanned(t, { storePath: disk.path });
  const { scanner, image, manifest, blob, mirror } = scene;
  await mirror.server.store.care.settled;
  await disk.fill();
  const pulled: number[] = [];
  scanner.onReport = async (scan) => {
    const path = `/v2/${scan.repository}/blobs/${image.layer(0).digest}`;
    pulled.push((await pullAs(scene, scan, path)).status);
  };
  t.is((await manifest('latest')).status, 200);
  for (const part of image.blobs) t.true((await blob(part)).body.equals(part.bytes));
  t.deepEqual(pulled, [200]);
  t.is(scanner.scans.length, 1);
});
