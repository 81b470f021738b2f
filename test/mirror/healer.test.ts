import test from 'ava';
import { parseDigest } from '../../src/oci/digest.ts';
import { Healer, type HealerParts } from '../../src/mirror/healer.ts';
import { TEST_TIMING } from '../helpers/mirror.ts';
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

test('an upstream that does not bring what is damaged holds up no scrub: two go on beside it', async (t) => {
  const timing = { healMs: 20 };
  const scene = await holdImage(t, { layers: [1000, 2000, 3000, 4000], timing });
  const { registry, mirror, image, blob } = scene;
  const gates = image.layers.map((layer) => registry.hold(layer));
  for (const layer of image.layers) await injure(mirror.storePath, layer, 'cut short');
  const { damaged } = await verify(mirror);
  const reasons = damaged.map((each) => (each as { reason?: string }).reason);
  const [slow, others] = ['docker.io is still bringing it', 'docker.io is still bringing others'];
  t.deepEqual(reasons.slice(0, 2), [slow, slow]);
  t.deepEqual(reasons.slice(2), Array(2).fill(`${others} that were damaged`));
  for (const gate of gates) gate.open();
  await mirror.idle();
  t.is(registry.requests.length, 2);
  for (const layer of image.layers) t.deepEqual((await blob(layer)).body, layer.bytes);
  t.is(registry.requests.length, 4);
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

test('nobody else is asked for what is damaged once the scrub has ended', async (t) => {
  const stop = new AbortController();
  const digest = parseDigest(`sha256:${'0'.repeat(64)}`);
  const asked: string[] = [];
  const healer = new Healer({
    timing: TEST_TIMING,
    catalog: {
      async *holders() {},
      linked: async () =>
        ['one.example', 'other.example'].map((upstream) => ({ upstream, repository: 'team/app' })),
    },
    downloads: {
      hold: async ({ upstream }: { upstream: string }) => {
        asked.push(upstream);
        stop.abort();
        throw new Error('aborted');
      },
    },
  } as unknown as HealerParts);
  await t.throwsAsync(healer.heal(digest, stop.signal), { name: 'AbortError' });
  t.deepEqual(asked, ['one.example']);
});
