import test from 'ava';
import type { SyncRule } from '../../src/config/sync-rule-schema.ts';
import type { SyncReport } from '../../src/api/sync-api.ts';
import type { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildImage, type Image } from '../helpers/image.ts';
import { UPSTREAM } from '../helpers/scene.ts';
import { rule } from './rules.ts';
import { Site, START, type SiteOptions } from './site.ts';

const REPOSITORY = 'library/app';
const APP = `${UPSTREAM}/${REPOSITORY}`;
const DELETED = 'the upstream has it no more';
const MOVED = 'its tag means another image now';

function publish(registry: FakeRegistry, tag: string, seed: string = tag): Image {
  const image = buildImage({ seed, layers: [1000] });
  registry.addImage(REPOSITORY, tag, image);
  return image;
}

const wants = (removed: 'keep' | 'release', tags: SyncRule['tags'] | object): SyncRule =>
  rule(REPOSITORY, { tags, removed });

const pinOf = ({ manifest }: Image): string => `${APP}@${manifest.digest}`;

function told({ released }: SyncReport) {
  return released.map(({ tag, action, why }) => ({ tag, action, why }));
}

/** A site that holds what it wants, to be followed by others on the same store. */
async function settle(
  t: Parameters<typeof Site.start>[0],
  tags: readonly string[],
  options: SiteOptions,
) {
  const site = await Site.start(t, options);
  const images = new Map(tags.map((tag) => [tag, publish(site.registry, tag)] as const));
  t.true((await site.run()).isOk);
  const image = (tag: string): Image => {
    const found = images.get(tag);
    if (!found) throw new RangeError(`no image ${tag}`);
    return found;
  };
  /** The same store with other rules. */
  const again = async (change: SiteOptions): Promise<Site> => {
    await site.close();
    const { registry, storePath, timer } = site;
    return Site.start(t, { ...options, registry, storePath, timer, ...change });
  };
  return { site, image, again };
}

for (const how of ['names', 'globs'] as const) {
  test(`deleted upstream, ${how}: kept or released as the rule says, and said`, async (t) => {
    const tags = { [how]: ['v1', 'v2'] };
    const kept = await settle(t, ['v1', 'v2'], { rules: [wants('keep', tags)] });
    kept.site.registry.untag(REPOSITORY, 'v1');
    for (let run = 0; run < 2; run += 1) {
      const report = await kept.site.run();
      const why = `${DELETED}; the rule says keep`;
      t.deepEqual(told(report), [{ tag: 'v1', action: 'keep', why }]);
      t.deepEqual(kept.site.pins, [pinOf(kept.image('v1')), pinOf(kept.image('v2'))].toSorted());
    }
    t.like((await kept.site.sync.explain(`${APP}:v1`)) ?? {}, {
      state: 'ready',
      reason: 'kept: the upstream has it no more',
    });

    const released = await settle(t, ['v1', 'v2'], { rules: [wants('release', tags)] });
    released.site.registry.untag(REPOSITORY, 'v1');
    const report = await released.site.run();
    t.deepEqual(told(report), [{ tag: 'v1', action: 'release', why: DELETED }]);
    t.deepEqual(released.site.pins, [pinOf(released.image('v2'))]);
    t.deepEqual(told(await released.site.run()), []);
  });
}

test('what was kept is released when its rule goes, and by the rule as it is now', async (t) => {
  const { site, again } = await settle(t, ['v1', 'v2'], {
    rules: [wants('keep', { names: ['v1', 'v2'] })],
  });
  site.registry.untag(REPOSITORY, 'v1');
  await site.run();
  const next = await again({ rules: [wants('release', { names: ['v1', 'v2'] })] });
  t.deepEqual(told(await next.run()), [{ tag: 'v1', action: 'release', why: DELETED }]);
  t.is(next.pins.length, 1);
});

test('moved upstream: the old image is kept or released as the rule says', async (t) => {
  const rules = [wants('keep', { names: ['v1'] })];
  const kept = await settle(t, ['v1'], { rules });
  const fresh = publish(kept.site.registry, 'v1', 'fresh');
  const why = `${MOVED}; the rule says keep`;
  t.deepEqual(told(await kept.site.run()), [{ tag: 'v1', action: 'keep', why }]);
  t.deepEqual(kept.site.pins, [pinOf(kept.image('v1')), pinOf(fresh)].toSorted());
  const { images } = await kept.site.sync.status();
  t.deepEqual(
    images.map(({ digest, state, reason }) => ({ digest, state, reason })),
    [
      { digest: fresh.manifest.digest, state: 'ready', reason: undefined },
      {
        digest: kept.image('v1').manifest.digest,
        state: 'ready',
        reason: 'kept: its tag means another image upstream',
      },
    ],
  );

  const released = await settle(t, ['v1'], { rules: [wants('release', { names: ['v1'] })] });
  const next = publish(released.site.registry, 'v1', 'next');
  t.deepEqual(told(await released.site.run()), [{ tag: 'v1', action: 'release', why: MOVED }]);
  t.deepEqual(released.site.pins, [pinOf(next)]);
});

test('moved upstream before it was here: what is left of it goes, whatever the rule says', async (t) => {
  const site = await Site.start(t, { rules: [wants('keep', { names: ['v1'] })] });
  const begun = publish(site.registry, 'v1');
  site.registry.status(begun.layer(0), 404, { times: Infinity });
  t.false((await site.run()).isOk);
  t.deepEqual(site.pins, [pinOf(begun)]);
  const fresh = publish(site.registry, 'v1', 'fresh');
  const why = `${MOVED}, and not all of it was fetched before`;
  t.deepEqual(told(await site.run()), [{ tag: 'v1', action: 'release', why }]);
  t.deepEqual(site.pins, [pinOf(fresh)]);
  const { counts } = await site.sync.status();
  t.deepEqual(counts, { ready: 1, partial: 0, stale: 0, unresolved: 0 });
});

test('what a tag meant is let go of only when what it means now is here', async (t) => {
  const { site, image } = await settle(t, ['v1'], { rules: [wants('release', { names: ['v1'] })] });
  const fresh = publish(site.registry, 'v1', 'fresh');
  site.registry.status(fresh.layer(0), 404, { times: Infinity });
  const report = await site.run();
  const why = `${MOVED}, which is not here yet`;
  t.deepEqual(told(report), [{ tag: 'v1', action: 'guarded', why }]);
  t.deepEqual(site.pins, [pinOf(image('v1')), pinOf(fresh)].toSorted());
  const old = await site.manifest(REPOSITORY, image('v1').manifest.digest);
  t.is(old.status, 200);
  site.registry.heal();
  t.deepEqual(told(await site.run()), [{ tag: 'v1', action: 'release', why: MOVED }]);
  t.deepEqual(site.pins, [pinOf(fresh)]);
});

test('the newest move on, and what a rule takes no more goes', async (t) => {
  const newest = { newest: { count: 2, by: 'semver' } };
  const { site, image, again } = await settle(t, ['1.0.0', '1.1.0'], {
    rules: [wants('keep', newest)],
  });
  const latest = publish(site.registry, '1.2.0');
  const why = 'its rule takes newer ones in its place';
  t.deepEqual(told(await site.run()), [{ tag: '1.0.0', action: 'release', why }]);
  t.deepEqual(site.pins, [pinOf(image('1.1.0')), pinOf(latest)].toSorted());
  const next = await again({ rules: [wants('keep', { names: ['1.2.0'] })] });
  t.deepEqual(told(await next.run()), [
    { tag: '1.1.0', action: 'release', why: 'no rule selects it any more' },
  ]);
  t.deepEqual(next.pins, [pinOf(latest)]);
});

test('no more than a share goes in one run', async (t) => {
  const tags = Array.from({ length: 10 }, (_, each) => `v${each}`);
  const { again, image } = await settle(t, tags, {
    rules: [wants('keep', { names: tags })],
    releaseShare: 0.2,
  });
  const fewer = await again({ rules: [wants('keep', { names: tags.slice(3) })] });
  const why =
    'no rule selects it any more; 3 of 10 images would go, more than 20 % in one run; to let them go, raise sync.releaseShare';
  t.deepEqual(
    told(await fewer.run()),
    ['v0', 'v1', 'v2'].map((tag) => ({ tag, action: 'guarded', why })),
  );
  t.deepEqual(fewer.pins, tags.map((tag) => pinOf(image(tag))).toSorted());
  await fewer.close();
  const allowed = await again({
    rules: [wants('keep', { names: tags.slice(3) })],
    releaseShare: 0.3,
  });
  t.is(told(await allowed.run()).filter(({ action }) => action === 'release').length, 3);
  t.deepEqual(
    allowed.pins,
    tags
      .slice(3)
      .map((tag) => pinOf(image(tag)))
      .toSorted(),
  );
  await allowed.close();
  const none = await again({
    rules: [wants('keep', { names: tags.slice(4) })],
    releaseShare: 0,
  });
  t.deepEqual(
    told(await none.run()).map(({ tag, action }) => ({ tag, action })),
    [{ tag: 'v3', action: 'guarded' }],
  );
});

test('an image of two tags stays pinned while one of them is wanted or kept', async (t) => {
  const site = await Site.start(t, { rules: [wants('keep', { names: ['v1', 'v2', 'v3'] })] });
  const image = publish(site.registry, 'v1', 'same');
  publish(site.registry, 'v2', 'same');
  publish(site.registry, 'v3', 'other');
  await site.run();
  site.registry.untag(REPOSITORY, 'v1');
  site.registry.untag(REPOSITORY, 'v2');
  await site.run();
  await site.close();
  const { registry, storePath, timer } = site;
  // One goes by the rules, the other one is kept because it was deleted.
  const next = await Site.start(t, {
    registry,
    storePath,
    timer,
    rules: [wants('keep', { names: ['v1', 'v3'] })],
  });
  t.deepEqual(told(await next.run()), [
    { tag: 'v1', action: 'keep', why: `${DELETED}; the rule says keep` },
    { tag: 'v2', action: 'release', why: 'no rule selects it any more' },
  ]);
  t.true(next.pins.includes(pinOf(image)));
});

test('a deleted tag is kept beside another tag of the same image', async (t) => {
  const rules = [wants('keep', { globs: ['v*'] })];
  const site = await Site.start(t, { rules });
  const image = publish(site.registry, 'v1', 'same');
  publish(site.registry, 'v2', 'same');
  t.true((await site.run()).isOk);
  site.registry.untag(REPOSITORY, 'v1');
  t.deepEqual(told(await site.run()), [
    { tag: 'v1', action: 'keep', why: `${DELETED}; the rule says keep` },
  ]);
  const { images } = await site.sync.status();
  t.deepEqual(
    images.map(({ tag, state, reason }) => [tag, state, reason]),
    [
      ['v2', 'ready', undefined],
      ['v1', 'ready', 'kept: the upstream has it no more'],
    ],
  );
  const answer = await site.manifest(REPOSITORY, 'v1');
  t.is(answer.status, 200);
  t.deepEqual(answer.body, image.manifest.bytes);
});

test('a removed tag that nobody keeps is 404 also where another tag of its image is kept', async (t) => {
  const site = await Site.start(t, { rules: [wants('release', { names: ['v1', 'v2'] })] });
  const { registry, storePath, timer } = site;
  for (const tag of ['v1', 'v2', 'v3']) publish(registry, tag, 'same');
  t.is((await site.manifest(REPOSITORY, 'v3')).status, 200);
  t.true((await site.run()).isOk);
  for (const tag of ['v1', 'v3']) registry.untag(REPOSITORY, tag);
  t.deepEqual(
    [
      (await site.manifest(REPOSITORY, 'v1')).status,
      (await site.manifest(REPOSITORY, 'v3')).status,
    ],
    [200, 404],
  );
  await site.run();
  await site.close();
  const next = await Site.start(t, { rules: [], registry, storePath, timer });
  t.is((await next.manifest(REPOSITORY, 'v1')).status, 404);
  t.is((await next.manifest(REPOSITORY, 'v2')).status, 200);
});

test('a rule with a typing error lets go of nothing that it selected before', async (t) => {
  const { again, image } = await settle(t, ['v1', 'v2'], {
    rules: [wants('keep', { globs: ['v*'] })],
  });
  const next = await again({ rules: [wants('keep', { globs: ['w*'] })] });
  const why = 'the rule for its repository matches no tag';
  t.deepEqual(
    told(await next.run()),
    ['v1', 'v2'].map((tag) => ({ tag, action: 'guarded', why })),
  );
  t.deepEqual(next.pins, [pinOf(image('v1')), pinOf(image('v2'))].toSorted());
});

test('a rule whose last tag was released matches nothing, and status says so at once', async (t) => {
  const { site } = await settle(t, ['v1'], { rules: [wants('release', { globs: ['v*'] })] });
  publish(site.registry, 'other');
  site.registry.untag(REPOSITORY, 'v1');
  t.deepEqual(told(await site.run()), [{ tag: 'v1', action: 'release', why: DELETED }]);
  t.is((await site.sync.status()).counts.unresolved, 1);
});

const FAULTS: Readonly<Record<string, (registry: FakeRegistry) => void>> = {
  'an empty list': (registry) => {
    registry.untag(REPOSITORY, 'v1');
    registry.untag(REPOSITORY, 'v2');
  },
  'a list that fails': (registry) =>
    registry.status('/v2/library/app/tags/list', 500, { times: 99 }),
  'a list that is denied': (registry) => registry.status('/v2/library/app/tags/list', 403),
  'a list that is not there': (registry) => registry.status('/v2/library/app/tags/list', 404),
};

for (const [name, fail] of Object.entries(FAULTS)) {
  const isAnswer = name === 'an empty list' || name === 'a list that is not there';
  test(`${name} lets go of nothing`, async (t) => {
    const { site, image } = await settle(t, ['v1', 'v2'], {
      rules: [wants('release', { globs: ['v*'] })],
    });
    fail(site.registry);
    const report = await site.run();
    t.false(report.isOk);
    const why = isAnswer ? 'its rule could not be resolved' : 'its upstream could not be asked';
    t.deepEqual(
      told(report),
      ['v1', 'v2'].map((tag) => ({ tag, action: 'guarded', why })),
    );
    t.deepEqual(site.pins, [pinOf(image('v1')), pinOf(image('v2'))].toSorted());
    t.deepEqual(
      report.released.map(({ isUnasked }) => isUnasked),
      report.released.map(() => (isAnswer ? undefined : true)),
    );
    const { counts, unresolved } = await site.sync.status();
    t.is(counts.ready, 2);
    // What it selected is known and here: a link that is down does not make it less ready.
    t.is(unresolved, undefined);
  });
}

test('what another rule may select stays while that one cannot be resolved', async (t) => {
  const first = wants('release', { globs: ['v*'] });
  const { again } = await settle(t, ['v1', 'v2'], { rules: [first] });
  const next = await again({
    rules: [
      { ...wants('release', { names: ['v2'] }), priority: 5 },
      wants('release', { regexes: ['^v[0-9]$'] }),
    ],
  });
  next.registry.status('/v2/library/app/tags/list', 403);
  t.deepEqual(told(await next.run()), [
    { tag: 'v1', action: 'guarded', why: 'its upstream could not be asked' },
  ]);
});

test('a repository that the catalog lists no more follows the policy', async (t) => {
  const options = { tags: { names: ['v1'] }, removed: 'keep' } as const;
  const site = await Site.start(t, { rules: [rule('team/*', options)] });
  const images = ['a', 'b'].map((name) => {
    const image = buildImage({ seed: name, layers: [10] });
    site.registry.addImage(`team/${name}`, 'v1', image);
    return image;
  });
  await site.run();
  await site.close();
  const registry = (await Site.start(t, { rules: [] })).registry;
  if (images[0]) registry.addImage('team/a', 'v1', images[0]);
  const { storePath, timer } = site;
  const next = await Site.start(t, {
    registry,
    storePath,
    timer,
    rules: [rule('team/*', options)],
  });
  const { released } = await next.run();
  const why = `${DELETED}; the rule says keep`;
  t.like(released, [{ image: `${UPSTREAM}/team/b`, action: 'keep', why }]);
  t.is(next.pins.length, 2);
});

test('what sync has pinned survives a collection, and what it let go of does not', async (t) => {
  const { again, image } = await settle(t, ['v1', 'v2'], {
    rules: [wants('keep', { names: ['v1', 'v2'] })],
  });
  const next = await again({ rules: [wants('keep', { names: ['v1'] })] });
  await next.run();
  const { images, kept } = await next.engine.store.care.budget.evict(2 ** 40);
  t.deepEqual(
    images.map(({ digest }) => digest),
    [image('v2').manifest.digest],
  );
  t.deepEqual(kept, [
    { image: APP, digest: image('v1').manifest.digest, why: 'pinned (sync: sync.rules[0])' },
  ]);
  t.deepEqual((await next.sync.status()).counts, { ready: 1, partial: 0, stale: 0, unresolved: 0 });
});

test('the log counts what was released and what was guarded apart, with times to read', async (t) => {
  const [gone, unknown] = [
    rule('library/gone', { tags: { names: ['v1'] } }),
    rule('library/unknown', { tags: { globs: ['*'] } }),
  ];
  const site = await Site.start(t, { rules: [gone, unknown] });
  const { registry, storePath, timer } = site;
  for (const repository of ['library/gone', 'library/unknown']) {
    registry.addImage(repository, 'v1', buildImage({ seed: repository, layers: [10] }));
  }
  t.true((await site.run()).isOk);
  await site.close();
  registry.status('/v2/library/unknown/tags/list', 403);
  const next = await Site.start(t, { rules: [unknown], registry, storePath, timer });
  const { released } = await next.run();
  t.deepEqual(
    released.map(({ action, why }) => [action, why]),
    [
      ['release', 'no rule selects it any more'],
      ['guarded', 'its upstream could not be asked'],
    ],
  );
  const at = new Date(START).toISOString();
  const [line] = next.log.filter(({ msg }) => msg === 'sync run');
  t.deepEqual(
    { ...line, time: 0 },
    {
      level: 'info',
      time: 0,
      name: 'entrepot',
      startedAt: at,
      endedAt: at,
      isOk: false,
      images: { fetched: 0, kept: 0, failed: 0 },
      bytes: 0,
      failures: 1,
      released: 1,
      guarded: 1,
      msg: 'sync run',
    },
  );
});
