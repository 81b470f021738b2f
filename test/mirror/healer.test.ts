import test from 'ava';
import { parseDigest } from '../../src/oci/digest.ts';
import { holdImage, verify } from '../faults/held-image.ts';
import { injure } from '../faults/injury.ts';

test('a manifest that is fetched again and cannot be kept is not healed, until it can be', async (t) => {
  const { registry, mirror, image, manifest } = await holdImage(t);
  const { server, storePath } = mirror;
  const digest = parseDigest(image.manifest.digest);
  await injure(storePath, image.manifest, 'cut short');
  const { blobs } = server;
  const writeBytes = blobs.writeBytes.bind(blobs);
  blobs.writeBytes = async () => {
    throw Object.assign(new Error('ENOSPC: no space left, write'), { code: 'ENOSPC' });
  };
  const damage = { digest, images: ['docker.io/library/app'], fault: 'truncated' };
  const reason = `${digest} was fetched and could not be kept`;
  t.deepEqual((await verify(mirror)).damaged, [{ ...damage, healed: false, reason }]);
  t.is(await blobs.statBlob(digest), undefined);
  t.is(await server.catalog.findBlob(digest), undefined);
  t.deepEqual(registry.conversation(), ['GET /v2/library/app/manifests/<app>']);
  blobs.writeBytes = writeBytes;
  t.deepEqual((await verify(mirror)).damaged, [{ ...damage, healed: true }]);
  t.is((await blobs.statBlob(digest))?.size, image.manifest.size);
  await registry.refuse();
  t.deepEqual((await manifest('v1')).body, image.manifest.bytes);
  t.deepEqual((await verify(mirror)).damaged, []);
});

test('the end of the process ends a fetch that heals', async (t) => {
  const { registry, mirror, image } = await holdImage(t);
  const layer = image.layer(0);
  await injure(mirror.storePath, layer, 'cut short');
  const body = registry.hold(layer, { after: 1000 });
  void verify(mirror).catch(() => undefined);
  await body.arrived();
  await mirror.abandon();
  t.deepEqual(registry.conversation(), ['GET /v2/library/app/blobs/<app.layer0>']);
});
