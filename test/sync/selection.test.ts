import { setImmediate } from 'node:timers/promises';
import test from 'ava';
import { buildImage } from '../helpers/image.ts';
import { UPSTREAM } from '../helpers/scene.ts';
import { runStoreCommand } from '../cli/run-store-command.ts';
import { startMirror } from '../helpers/mirror.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { rule, syncConfig } from './rules.ts';
import { Site } from './site.ts';

const REPOSITORY = 'library/app';
const APP = `${UPSTREAM}/${REPOSITORY}`;
const LIST = 'GET /v2/library/app/tags/list?n=1000';

const imageOf = (seed: string) => buildImage({ seed, layers: [100] });

for (const [what, image, tags] of [
  ['a glob', REPOSITORY, { globs: ['v1.*'] }],
  ['a range', REPOSITORY, { semver: '>=2' }],
  ['a pattern of repositories', 'library/*', { regexes: ['^v1'] }],
] as const) {
  test(`${what} that matches no tag is told by plan, run, status and metric`, async (t) => {
    const rules = [rule(image, { tags }), rule('library/ok', { tags: { names: ['v1'] } })];
    const site = await Site.start(t, { rules });
    for (const tag of ['1.0.0', '1.1.0']) site.registry.addImage(REPOSITORY, tag, imageOf(tag));
    if (image === REPOSITORY) site.registry.addImage('library/ok', 'v1', imageOf('ok'));
    const problem = {
      rule: 'sync.rules[0]',
      image: `${UPSTREAM}/${image}`,
      reason: 'no tag of the list matches',
    };
    const { problems } = await site.sync.plan();
    t.deepEqual(
      problems.filter(({ rule: path }) => path === problem.rule),
      [problem],
    );
    const report = await site.run();
    t.false(report.isOk);
    t.deepEqual(
      report.failures.filter(({ rule: path }) => path === problem.rule),
      [problem],
    );
    const { unresolved, counts } = await site.sync.status();
    t.deepEqual(
      unresolved?.filter(({ rule: path }) => path === problem.rule),
      [problem],
    );
    t.deepEqual([counts.unresolved], [unresolved?.length]);
    const metrics = await site.engine.metrics.registry.metrics();
    t.true(metrics.includes(`entrepot_sync_images{state="unresolved"} ${counts.unresolved}\n`));
  });
}

test('a pattern of repositories that takes tags of some is no problem for the others', async (t) => {
  const site = await Site.start(t, { rules: [rule('library/*', { tags: { globs: ['v*'] } })] });
  site.registry.addImage(REPOSITORY, 'v1', imageOf('app'));
  site.registry.addImage('library/other', '1.0.0', imageOf('other'));
  t.true((await site.run()).isOk);
});

test('a rule that matches nothing is an exit code of plan, run and status', async (t) => {
  const registry = await FakeRegistry.start(t);
  registry.addImage(REPOSITORY, '1.0.0', imageOf('app'));
  const mirror = await startMirror(t, {
    upstreams: { [UPSTREAM]: { url: registry.url } },
    sync: syncConfig([rule(REPOSITORY, { tags: { globs: ['v1.*'] } })]),
  });
  for (const command of ['run', 'plan', 'status']) {
    const { code, stdout } = await runStoreCommand(t, ['sync', command], {
      admin: new URL(mirror.server.adminUrl).host,
      parts: { pause: async () => setImmediate() },
    });
    t.is(code, 1, command);
    t.regex(stdout, /hub\.example\/library\/app +sync\.rules\[0\] +no tag of the list matches/);
  }
});

test('a rule of digests alone wants no tag and asks for no list', async (t) => {
  const image = imageOf('app');
  const site = await Site.start(t, {
    rules: [rule(REPOSITORY, { digests: [image.manifest.digest] })],
  });
  site.registry.addImage(REPOSITORY, 'latest', image, { name: 'app' });
  t.true((await site.run()).isOk);
  t.deepEqual(site.asked(), [
    'GET /v2/library/app/blobs/<app.config>',
    'GET /v2/library/app/blobs/<app.layer0>',
    'GET /v2/library/app/manifests/<app>',
  ]);
  const { images } = await site.sync.status();
  t.deepEqual(
    images.map(({ tag, state }) => [tag, state]),
    [[undefined, 'ready']],
  );
});

const LIKE_A_DIGEST = `sha256-${'ab'.repeat(32)}`;

for (const tags of [
  { names: [LIKE_A_DIGEST] },
  { globs: ['sha256-*'] },
  { regexes: ['^sha256-(?:[0-9a-f]{64})$'] },
  { globs: ['sha256-*'], newest: { count: 1, by: 'created' as const } },
]) {
  test(`a tag that looks like a digest is one where the rule says so: ${JSON.stringify(tags)}`, async (t) => {
    const site = await Site.start(t, { rules: [rule(REPOSITORY, { tags })] });
    site.registry.addImage(REPOSITORY, LIKE_A_DIGEST, imageOf('app'));
    site.registry.addImage(REPOSITORY, 'v1', imageOf('v1'));
    t.true((await site.run()).isOk);
    t.is(site.asked().includes(LIST), !('names' in tags));
    const { images } = await site.sync.status();
    t.deepEqual(
      images.map(({ tag, state }) => [tag, state]),
      [[LIKE_A_DIGEST, 'ready']],
    );
    await site.registry.refuse();
    t.is((await site.manifest(REPOSITORY, LIKE_A_DIGEST)).status, 200);
    t.is((await site.sync.explain(`${APP}:${LIKE_A_DIGEST}`))?.state, 'ready');
  });
}

test('patterns that begin otherwise leave tags that look like digests to their images', async (t) => {
  const site = await Site.start(t, {
    rules: [rule(REPOSITORY, { tags: { globs: ['*'], regexes: ['.sha256', '^.*256-'] } })],
  });
  for (const tag of [`${LIKE_A_DIGEST}.sig`, 'v1']) {
    site.registry.addImage(REPOSITORY, tag, imageOf(tag));
  }
  await site.run();
  const { images } = await site.sync.status();
  t.deepEqual(
    images.map(({ tag }) => tag),
    ['v1'],
  );
});
