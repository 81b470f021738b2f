import test from 'ava';
import { buildImage, buildIndex } from '../helpers/image.ts';
import { UPSTREAM } from '../helpers/scene.ts';
import { rule } from './rules.ts';
import { Site } from './site.ts';

const REPOSITORY = 'library/app';
const APP = `${UPSTREAM}/${REPOSITORY}`;

function platformImage(architecture: string) {
  const platform = { os: 'linux', architecture };
  return { platform, image: buildImage({ seed: architecture, layers: [500], platform }) };
}

test('an index of which the upstream lacks a platform is recorded with the others, and what is missing is named', async (t) => {
  const site = await Site.start(t, { rules: [rule(REPOSITORY, { tags: { names: ['v1'] } })] });
  const { registry, sync } = site;
  const [amd, arm] = [platformImage('amd64'), platformImage('arm64')];
  const index = buildIndex([arm, amd]);
  registry.addImage(REPOSITORY, undefined, amd.image);
  registry.addImage(REPOSITORY, undefined, arm.image);
  registry.addIndex(REPOSITORY, 'v1', index, { name: 'index' });
  registry.status(arm.image.manifest, 404, { times: Infinity });
  const { digest, size } = arm.image.manifest;
  const problem = {
    rule: 'sync.rules[0]',
    image: `${APP}:v1`,
    reason: `its index lists what the upstream does not have: linux/arm64 (${digest})`,
  };
  const plan = await sync.plan();
  t.deepEqual(plan.problems, [problem]);
  t.deepEqual(
    plan.images.map(({ action, blobs }) => [action, blobs]),
    [['fetch', 2]],
  );
  site.asked();

  const report = await site.run();
  t.deepEqual([report.isOk, report.failures], [false, [problem]]);
  t.deepEqual(report.images, { fetched: 0, kept: 0, failed: 1 });
  t.deepEqual(site.asked(), [
    'GET /v2/library/app/blobs/<index.1.config>',
    'GET /v2/library/app/blobs/<index.1.layer0>',
    'GET /v2/library/app/manifests/<index.0>',
    'HEAD /v2/library/app/manifests/v1',
  ]);
  const partial = {
    state: 'partial',
    missing: [{ digest, size, platform: 'linux/arm64' }],
    reason: 'the manifest of linux/arm64 is missing',
    lacksTag: undefined,
  };
  t.like(await sync.explain(`${APP}:v1`), partial);
  t.deepEqual(sync.failure(`${APP}:v1`), problem);

  await registry.refuse();
  t.true((await site.manifest(REPOSITORY, 'v1')).body.equals(index.manifest.bytes));
  t.is((await site.manifest(REPOSITORY, amd.image.manifest.digest)).status, 200);
  t.is((await site.blob(REPOSITORY, amd.image.layer(0).digest)).status, 200);
  await registry.accept();

  registry.heal();
  t.true((await site.run()).isOk);
  t.is((await sync.explain(`${APP}:v1`))?.state, 'ready');
});

test('a platform that the rule leaves out may be missing upstream', async (t) => {
  const platforms = ['linux/amd64'];
  const site = await Site.start(t, {
    rules: [rule(REPOSITORY, { tags: { names: ['v1'] }, platforms })],
  });
  const [amd, arm] = [platformImage('amd64'), platformImage('arm64')];
  site.registry.addImage(REPOSITORY, undefined, amd.image);
  site.registry.addIndex(REPOSITORY, 'v1', buildIndex([amd, arm]));
  site.registry.remove(arm.image.manifest);
  t.true((await site.run()).isOk);
  t.is((await site.sync.explain(`${APP}:v1`))?.state, 'ready');
});

test('a tag that moves to an index without one of its platforms moves, and what it meant goes', async (t) => {
  const site = await Site.start(t, {
    rules: [rule(REPOSITORY, { tags: { names: ['v1'] }, removed: 'release' })],
  });
  const { registry } = site;
  const [amd, arm] = [platformImage('amd64'), platformImage('arm64')];
  registry.addImage(REPOSITORY, 'v1', buildImage({ seed: 'old', layers: [10] }));
  t.true((await site.run()).isOk);
  const index = buildIndex([amd, arm]);
  registry.addImage(REPOSITORY, undefined, amd.image);
  registry.addIndex(REPOSITORY, 'v1', index);
  registry.remove(arm.image.manifest);
  t.deepEqual(
    (await site.run()).released.map(({ action }) => action),
    ['release'],
  );
  t.deepEqual(site.pins, [`${APP}@${index.manifest.digest}`]);
  await registry.refuse();
  t.true((await site.manifest(REPOSITORY, 'v1')).body.equals(index.manifest.bytes));
});
