import test from 'ava';
import { buildImage } from '../helpers/image.ts';
import { UPSTREAM } from '../helpers/scene.ts';
import { rule } from './rules.ts';
import { Site } from './site.ts';

const REPOSITORY = 'library/app';
const APP = `${UPSTREAM}/${REPOSITORY}`;
const RULE = 'sync.rules[0]';

test('of an image that could not be had the rule and the reason are known', async (t) => {
  const site = await Site.start(t, {
    rules: [rule(REPOSITORY, { tags: { names: ['v1', 'v2', 'v3'] } })],
  });
  const [lost, fine] = ['lost', 'fine'].map((seed) => buildImage({ seed, layers: [10] })) as [
    ReturnType<typeof buildImage>,
    ReturnType<typeof buildImage>,
  ];
  t.deepEqual(site.sync.failure(`${APP}:v1`), {
    rule: RULE,
    image: APP,
    reason: 'no run has resolved it yet',
  });
  site.registry.addImage(REPOSITORY, 'v1', lost);
  site.registry.status(lost.layer(0), 404, { times: Infinity });
  site.registry.addImage(REPOSITORY, 'v3', fine);
  t.false((await site.run()).isOk);
  t.deepEqual(site.sync.failure(`${APP}:v1`), {
    rule: RULE,
    image: `${APP}:v1`,
    reason: `the upstream has no ${lost.layer(0).digest}`,
  });
  t.deepEqual(site.sync.failure(`${APP}:v2`), {
    rule: RULE,
    image: `${APP}:v2`,
    reason: 'the upstream has no such tag',
  });
  for (const reference of [':v3', ':v4', `@${fine.manifest.digest}`]) {
    t.is(site.sync.failure(`${APP}${reference}`), undefined, reference);
  }
  t.is(site.sync.failure(`${UPSTREAM}/library/other:v1`), undefined);
});

test('a list of tags that cannot be had is why each tag that it may name is not here', async (t) => {
  const site = await Site.start(t, {
    rules: [rule(REPOSITORY, { tags: { globs: ['1.*'] } })],
  });
  t.false((await site.run()).isOk);
  const problem = { rule: RULE, image: APP, reason: 'no such repository' };
  t.deepEqual(site.sync.failure(`${APP}:1.27`), problem);
  t.is(site.sync.failure(`${APP}:2.0`), undefined);
});
