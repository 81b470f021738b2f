import test from 'ava';
import { MAX_MANIFEST_BYTES } from '../../src/oci/manifest.ts';
import { buildImage, buildIndex, descriptorOf, MEDIA_TYPES, storeJson } from '../helpers/image.ts';
import { UPSTREAM } from '../helpers/scene.ts';
import { rule } from './rules.ts';
import { Site, START } from './site.ts';

const APP = `${UPSTREAM}/library/app`;

test('a plan asks by HEAD, holds manifests and fetches no blob', async (t) => {
  const site = await Site.start(t, { rules: [rule('library/app', { tags: { names: ['v1'] } })] });
  const { registry, sync } = site;
  const image = buildImage({ seed: 1, layers: [1000, 2000] });
  registry.addImage('library/app', 'v1', image, { name: 'app' });
  const { digest } = image.manifest;
  const entry = { image: APP, tag: 'v1', digest, rule: 'sync.rules[0]' };
  const blobBytes = 3000 + image.config.size;
  const bytes = blobBytes + image.manifest.size;
  const plan = await sync.plan();
  t.deepEqual(plan, {
    createdAt: START,
    lock: {
      version: 1,
      rules: plan.lock.rules,
      createdAt: new Date(START).toISOString(),
      images: [entry],
    },
    images: [{ ...entry, action: 'fetch', bytes, fetchBytes: blobBytes, blobs: 3 }],
    released: [],
    problems: [],
    totals: {
      images: 1,
      toFetch: 1,
      fetchBytes: blobBytes,
      heldBytes: image.manifest.size,
      requests: 3,
      countedRequests: 0,
    },
  });
  t.deepEqual(site.asked(), [
    'GET /v2/library/app/manifests/<app>',
    'HEAD /v2/library/app/manifests/v1',
  ]);
  t.true((await site.run()).isOk);
  site.asked();

  const { images, totals } = await sync.plan();
  t.deepEqual(images, [{ ...entry, action: 'keep', bytes, fetchBytes: 0, blobs: 0 }]);
  const { toFetch, fetchBytes, heldBytes, requests } = totals;
  t.deepEqual([toFetch, fetchBytes, heldBytes, requests], [0, 0, bytes, 0]);
  t.deepEqual(site.asked(), ['HEAD /v2/library/app/manifests/v1']);
});

test('what two images share is counted once', async (t) => {
  const site = await Site.start(t, {
    rules: [rule('library/app', { tags: { names: ['a', 'b'] } })],
    bytesPerSecond: 100,
  });
  const image = buildImage({ seed: 1, layers: [1000] });
  const other = buildImage({ seed: 1, layers: [1000, 500] });
  site.registry.addImage('library/app', 'a', image);
  site.registry.addImage('library/app', 'b', other);
  const { totals } = await site.sync.plan();
  const fetchBytes = 1500 + image.config.size + other.config.size;
  t.like(totals, { images: 2, toFetch: 2, fetchBytes, requests: 4 });
  t.is(totals.seconds, Math.ceil(fetchBytes / 100));
});

test('a tag that is to move although all is held is something to do', async (t) => {
  const site = await Site.start(t, {
    rules: [rule('library/app', { tags: { names: ['v1', 'v2'] } })],
  });
  const [one, two] = [1, 2].map((seed) => buildImage({ seed, layers: [100] }));
  if (!one || !two) throw new Error('no images');
  site.registry.addImage('library/app', 'v1', one);
  site.registry.addImage('library/app', 'v2', two);
  await site.run();
  site.registry.tag('library/app', 'v1', two.manifest);
  const { images, totals } = await site.sync.plan();
  t.deepEqual(
    images.map(({ tag, action, before, blobs }) => ({ tag, action, before, blobs })),
    [
      { tag: 'v1', action: 'fetch', before: one.manifest.digest, blobs: 0 },
      { tag: 'v2', action: 'keep', before: undefined, blobs: 0 },
    ],
  );
  t.is(totals.toFetch, 1);
  const { images: counts, bytes } = await site.run();
  t.deepEqual({ counts, bytes }, { counts: { fetched: 1, kept: 1, failed: 0 }, bytes: 0 });
});

test('a lock is replayed with what is in it and nothing else', async (t) => {
  const site = await Site.start(t, {
    rules: [
      rule('library/app', { tags: { globs: ['v*'] }, platforms: ['linux/amd64'] }),
      rule('library/app', { tags: { names: ['v1'] }, platforms: ['linux/arm64'] }),
    ],
  });
  const [amd64, arm64] = ['amd64', 'arm64'].map((architecture) => {
    const platform = { os: 'linux', architecture };
    return { image: buildImage({ seed: architecture, layers: [100], platform }), platform };
  });
  if (!amd64 || !arm64) throw new Error('no images');
  const index = buildIndex([amd64, arm64]);
  site.registry.addIndex('library/app', 'v1', index);
  const { lock } = await site.sync.plan();
  site.registry.addImage('library/app', 'v1', buildImage({ seed: 'newer', layers: [100] }));
  site.registry.addImage('library/app', 'v2', buildImage({ seed: 'new', layers: [100] }));
  site.asked();
  const report = await site.run(JSON.parse(JSON.stringify(lock)));
  t.deepEqual(report.images, { fetched: 1, kept: 0, failed: 0 });
  const blobs = [...amd64.image.blobs, ...arm64.image.blobs];
  t.deepEqual(
    site.asked(),
    blobs.map(({ digest }) => `GET /v2/library/app/blobs/${digest}`).toSorted(),
  );
  const { images } = await site.sync.status();
  t.deepEqual(
    images.map(({ tag, digest, state, platforms }) => ({ tag, digest, state, platforms })),
    [
      {
        tag: 'v1',
        digest: index.manifest.digest,
        state: 'ready',
        platforms: ['linux/amd64', 'linux/arm64'],
      },
    ],
  );
});

test('a lock of what could not be resolved lets go of nothing', async (t) => {
  const site = await Site.start(t, {
    rules: [rule('library/app', { tags: { names: ['v1', 'v2'] }, removed: 'release' })],
  });
  for (const tag of ['v1', 'v2']) {
    site.registry.addImage('library/app', tag, buildImage({ seed: tag, layers: [100] }));
  }
  await site.run();
  site.registry.status('v2', 403, { times: Infinity });
  const { lock } = await site.sync.plan();
  t.deepEqual(
    lock.images.map(({ tag }) => tag),
    ['v1'],
  );
  const { released } = await site.run(lock);
  t.deepEqual(
    released.map(({ tag, action, why }) => ({ tag, action, why })),
    [{ tag: 'v2', action: 'guarded', why: 'the lock leaves it out' }],
  );
  t.is(site.pins.length, 2);
});

test('a lock that names the host in capitals means the same images', async (t) => {
  const site = await Site.start(t, { rules: [rule('library/app', { tags: { names: ['v1'] } })] });
  site.registry.addImage('library/app', 'v1', buildImage({ seed: 1, layers: [10] }));
  const { lock, images } = await site.sync.plan();
  const [entry] = lock.images;
  const shouted = entry!.image.replace(UPSTREAM, UPSTREAM.toUpperCase());
  const document = { ...lock, images: [{ ...entry, image: shouted }] };
  t.deepEqual((await site.sync.plan(document)).images, images);
  t.true((await site.run(document)).isOk);
  t.deepEqual(site.pins, [`${entry!.image}@${entry!.digest}`]);
});

test('what is no lock of these rules is refused with the place in it', async (t) => {
  const tags = { names: ['v1'] };
  const site = await Site.start(t, {
    rules: [rule('library/app', { tags }), rule('library/**', { tags })],
  });
  site.registry.addImage('library/app', 'v1', buildImage({ seed: 1, layers: [10] }));
  const { lock } = await site.sync.plan();
  const [image] = lock.images;
  const upwards = image!.image.replace('app', '../etc');
  const loud = image!.image.replace('app', 'App');
  const withImage = (change: object) => ({ ...lock, images: [image, { ...image, ...change }] });
  const cases: [unknown, RegExp][] = [
    [null, /^lock\.version: /],
    [{ ...lock, version: 2 }, /^lock\.version: /],
    [{ ...lock, images: undefined }, /^lock: damaged; make a new one/],
    [{ ...lock, images: [null] }, /^lock: damaged/],
    [{ ...lock, createdAt: 'soon' }, /^lock: damaged/],
    [{ ...lock, rules: 'sha256:0' }, /^lock\.rules: the rules have changed .*"sync plan --lock"/],
    [
      withImage({ rule: 'sync.rules[7]' }),
      /^lock\.images\[1\]\.rule: there is no sync\.rules\[7\]/,
    ],
    [withImage({ digest: 'sha256:1' }), /^lock\.images\[1\]\.digest: "sha256:1" is not a digest$/],
    [withImage({ digest: 7 }), /^lock\.images\[1\]\.digest: "7" is not a digest$/],
    [withImage({ tag: 'not a tag' }), /^lock\.images\[1\]\.tag: "not a tag" is not a tag$/],
    [withImage({ tag: 'v9' }), /^lock\.images\[1\]: sync\.rules\[0\] does not select /],
    [withImage({ image: 'ghcr.io/other' }), /^lock\.images\[1\]: sync\.rules\[0\] does not /],
    [
      withImage({ image: upwards, rule: 'sync.rules[1]' }),
      /^lock\.images\[1\]\.image: "[^"]+\/library\/\.\.\/etc" is not an image$/,
    ],
    [
      withImage({ image: loud }),
      /^lock\.images\[1\]\.image: "[^"]+\/library\/App" is not an image; write [^"]+\/library\/app$/,
    ],
  ];
  for (const [document, message] of cases) {
    await t.throwsAsync(site.sync.plan(document), { name: 'RegistryError', message });
    if (document !== null) t.throws(() => site.sync.run(document), { message });
  }
  t.is(site.sync.runState.running, undefined);
});

test('what cannot be resolved is said, and the rest is planned', async (t) => {
  const site = await Site.start(t, {
    rules: [
      rule('library/app', { tags: { names: ['v1', 'v9'] } }),
      rule('library/none', { tags: { globs: ['*'] } }),
      rule('library/empty', { tags: { globs: ['*'] } }),
      rule('library/denied', { tags: { globs: ['*'] } }),
      rule('other/*', { tags: { names: ['v1'] } }),
      rule('library/app', { digests: [`sha256:${'0'.repeat(64)}`], tags: { names: ['v1'] } }),
    ],
  });
  const { registry } = site;
  registry.addImage('library/app', 'v1', buildImage({ seed: 1, layers: [10] }), { name: 'app' });
  registry.addImage('library/empty', undefined, buildImage({ seed: 2, layers: [10] }));
  registry.status('/v2/library/denied/tags/list', 403);
  registry.status('/v2/_catalog', 404);
  const { images, problems } = await site.sync.plan();
  t.deepEqual(
    images.map(({ tag }) => tag),
    ['v1'],
  );
  t.deepEqual(problems, [
    { rule: 'sync.rules[0]', image: `${APP}:v9`, reason: 'the upstream has no such tag' },
    { rule: 'sync.rules[1]', image: `${UPSTREAM}/library/none`, reason: 'no such repository' },
    {
      rule: 'sync.rules[2]',
      image: `${UPSTREAM}/library/empty`,
      reason: 'the list of tags is empty',
    },
    {
      rule: 'sync.rules[3]',
      image: `${UPSTREAM}/library/denied`,
      reason: problems[3]?.reason ?? '',
    },
    {
      rule: 'sync.rules[4]',
      image: `${UPSTREAM}/other/*`,
      reason: `${UPSTREAM} does not list its repositories: write each one by name`,
    },
    {
      rule: 'sync.rules[5]',
      image: `${APP}@sha256:${'0'.repeat(64)}`,
      reason: 'the upstream has no such manifest',
    },
  ]);
  t.regex(problems[3]?.reason ?? '', /^hub\.example: .*403/);
  const report = await site.run();
  t.false(report.isOk);
  t.deepEqual(report.images, { fetched: 1, kept: 0, failed: 2 });
});

test('an upstream that fails is a problem of each image, and asked no more than that', async (t) => {
  const site = await Site.start(t, {
    rules: [rule('library/app', { tags: { names: ['v1', 'v2'] } })],
  });
  const { host } = site.registry;
  await site.registry.refuse();
  const { images, problems } = await site.sync.plan();
  t.deepEqual(images, []);
  const reason = `${UPSTREAM}: no connection to ${host} (ECONNREFUSED)`;
  const told = problems.map((each) => ({
    ...each,
    // The second one may not have been asked at all.
    reason: each.reason.replace(/, for \d+ s$/, ''),
  }));
  t.deepEqual(
    told.toSorted((a, b) => (a.image < b.image ? -1 : 1)),
    ['v1', 'v2'].map((tag) => ({ rule: 'sync.rules[0]', image: `${APP}:${tag}`, reason })),
  );
});

test('a pattern of repositories means what the catalog lists', async (t) => {
  const site = await Site.start(t, {
    rules: [rule('team/{a,b}-*', { tags: { names: ['v1'] } })],
  });
  for (const name of ['team/a-x', 'team/b-y', 'team/c-z', 'teams/a-x', 'team/a-x/deep']) {
    site.registry.addImage(name, 'v1', buildImage({ seed: name, layers: [10] }));
  }
  const { images } = await site.sync.plan();
  t.deepEqual(
    images.map(({ image }) => image),
    [`${UPSTREAM}/team/a-x`, `${UPSTREAM}/team/b-y`],
  );
});

test('the newest by creation: by the annotation, else by the config of the first platform', async (t) => {
  const site = await Site.start(t, {
    rules: [rule('library/app', { tags: { newest: { count: 2, by: 'created' } } })],
  });
  const created = (date: string) => ({ 'org.opencontainers.image.created': date });
  for (const [tag, date] of [
    ['b', '2031-01-01T00:00:00Z'],
    ['a', '2019-01-01T00:00:00Z'],
  ] as const) {
    const image = buildImage({ seed: tag, layers: [10], annotations: created(date) });
    site.registry.addImage('library/app', tag, image, { name: tag });
  }
  // Its config says 2020.
  const platform = { os: 'linux', architecture: 'amd64' };
  const index = buildIndex([{ image: buildImage({ seed: 'c', layers: [10] }), platform }]);
  site.registry.addIndex('library/app', 'c', index, { name: 'c' });
  const { images } = await site.sync.plan();
  t.deepEqual(
    images.map(({ tag }) => tag),
    ['b', 'c'],
  );
  t.deepEqual(site.asked(), [
    'GET /v2/library/app/blobs/<c.0.config>',
    'GET /v2/library/app/manifests/<a>',
    'GET /v2/library/app/manifests/<b>',
    'GET /v2/library/app/manifests/<c.0>',
    'GET /v2/library/app/manifests/<c>',
    'GET /v2/library/app/tags/list?n=1000',
    'HEAD /v2/library/app/manifests/a',
    'HEAD /v2/library/app/manifests/b',
    'HEAD /v2/library/app/manifests/c',
  ]);
});

test('a config that is larger than any manifest is not fetched for its time', async (t) => {
  const site = await Site.start(t, {
    rules: [rule('library/app', { tags: { newest: { count: 1, by: 'created' } } })],
  });
  const { registry } = site;
  registry.addImage('library/app', 'a', buildImage({ seed: 'a', layers: [10] }), { name: 'a' });
  const config = storeJson(
    { created: '2031-01-01T00:00:00Z', padding: 'x'.repeat(MAX_MANIFEST_BYTES) },
    MEDIA_TYPES.config,
  );
  registry.addBlob('library/app', config, { name: 'config' });
  const manifest = { schemaVersion: 2, config: descriptorOf(config), layers: [] };
  registry.addManifest('library/app', storeJson(manifest, MEDIA_TYPES.manifest), {
    tags: ['b'],
    name: 'b',
  });
  const { images } = await site.sync.plan();
  t.deepEqual(
    images.map(({ tag }) => tag),
    ['a'],
  );
  t.false(site.asked().join().includes('blobs/<config>'));
});

test('an image of none of the chosen platforms is a problem, not ready', async (t) => {
  const site = await Site.start(t, {
    rules: [rule('library/app', { tags: { names: ['v1'] }, platforms: ['linux/arm64/v8'] })],
  });
  const children = ['amd64', 's390x'].map((architecture) => ({
    image: buildImage({ seed: architecture, layers: [10] }),
    platform: { os: 'linux', architecture },
  }));
  site.registry.addIndex('library/app', 'v1', buildIndex(children));
  const reason = 'it is not for linux/arm64/v8';
  const report = await site.run();
  t.deepEqual(report.failures, [{ rule: 'sync.rules[0]', image: `${APP}:v1`, reason }]);
  const { counts, images } = await site.sync.status();
  t.deepEqual(counts, { ready: 0, partial: 1, stale: 0, unresolved: 0 });
  t.is(images[0]?.reason, 'it is for none of the platforms of its rule');
});

test('a variant that is written and left out are one for 64-bit ARM', async (t) => {
  const site = await Site.start(t, {
    rules: [rule('library/app', { tags: { names: ['v1', 'v2'] }, platforms: ['linux/arm64/v8'] })],
  });
  for (const [tag, variant] of [
    ['v1', {}],
    ['v2', { variant: 'v8' }],
  ] as const) {
    const platform = { os: 'linux', architecture: 'arm64', ...variant };
    const image = buildImage({ seed: tag, layers: [10], platform });
    site.registry.addIndex('library/app', tag, buildIndex([{ image, platform }]));
  }
  t.true((await site.run()).isOk);
  t.deepEqual((await site.sync.status()).counts, { ready: 2, partial: 0, stale: 0, unresolved: 0 });
});
