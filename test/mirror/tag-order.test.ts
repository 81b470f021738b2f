import test from 'ava';
import { parseDigest } from '../../src/oci/digest.ts';
import { parseRepository, parseTag } from '../../src/oci/reference.ts';
import { HOUR, MINUTE } from '../helpers/clock.ts';
import { buildImage } from '../helpers/image.ts';
import { REPOSITORY, startScene, UPSTREAM } from '../helpers/scene.ts';

const TARGET = { upstream: UPSTREAM, repository: parseRepository(REPOSITORY) };

test('what a HEAD said long ago does not move a tag back behind what was recorded since', async (t) => {
  const { registry, mirror, image, clock, manifest } = await startScene(t, {
    tags: { ttlMs: MINUTE },
  });
  const newer = buildImage({ seed: 'newer', layers: [100] });
  t.is((await manifest('latest', { method: 'HEAD' })).status, 200);
  clock.advance(HOUR);
  // As sync does: the manifest by its digest, then what the tag means.
  registry.addImage(REPOSITORY, 'latest', newer, { name: 'newer' });
  t.is((await manifest(newer.manifest.digest)).status, 200);
  const digest = parseDigest(newer.manifest.digest);
  const record = { digest, checkedAt: clock.now() };
  await mirror.server.catalog.recordTag(TARGET, parseTag('latest'), record);
  clock.advance(HOUR);
  // A node that stays with the old one.
  t.is((await manifest(image.manifest.digest)).status, 200);
  await registry.refuse();
  const answer = await manifest('latest');
  t.is(answer.headers['docker-content-digest'], digest);
  t.is(answer.headers.age, String(HOUR / 1000));
  t.deepEqual(await mirror.server.catalog.findTag(TARGET, parseTag('latest')), record);
});

test('what a HEAD said counts when its manifest comes and nothing was recorded since', async (t) => {
  const { registry, image, clock, manifest } = await startScene(t, { tags: { ttlMs: MINUTE } });
  t.is((await manifest('latest', { method: 'HEAD' })).status, 200);
  clock.advance(HOUR);
  t.is((await manifest(image.manifest.digest)).status, 200);
  await registry.refuse();
  const answer = await manifest('latest');
  t.is(answer.headers['docker-content-digest'], image.manifest.digest);
  t.is(answer.headers.age, String(HOUR / 1000));
});
