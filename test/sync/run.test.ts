import { gzipSync } from 'node:zlib';
import test from 'ava';
import type { SyncProblem } from '../../src/api/sync-api.ts';
import { until } from '../helpers/until.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildImage, buildIndex, type Image } from '../helpers/image.ts';
import { UPSTREAM } from '../helpers/scene.ts';
import { rule } from './rules.ts';
import { Site, START } from './site.ts';

const APP = `${UPSTREAM}/library/app`;
const REPOSITORY = 'library/app';
const named = (...names: string[]) => rule(REPOSITORY, { tags: { names } });

function image(seed: string, layers: readonly number[] = [500], architecture = 'amd64'): Image {
  return buildImage({ seed, layers, platform: { os: 'linux', architecture } });
}

test('nothing has changed over 1,000 tags: one HEAD a tag and nothing else', async (t) => {
  const tags = Array.from({ length: 500 }, (_, each) => `v${each}`);
  const site = await Site.start(t, {
    rules: [
      rule('library/named', { tags: { names: tags }, referrers: true }),
      rule('team/*', { tags: { globs: ['v*'] }, referrers: true }),
    ],
    registryOptions: { pageSize: 200 },
    concurrency: 8,
  });
  const { registry } = site;
  const images = Array.from({ length: 10 }, (_, each) => image(`image ${each}`, [10]));
  for (const repository of ['library/named', 'team/one']) {
    for (const [each, tag] of tags.entries()) {
      registry.addImage(repository, tag, images[each % 10] ?? image('none'));
    }
  }
  const first = await site.run();
  t.deepEqual([first.isOk, first.images], [true, { fetched: 1000, kept: 0, failed: 0 }]);
  registry.clear();
  const second = await site.run();
  t.deepEqual([second.isOk, second.images], [true, { fetched: 0, kept: 1000, failed: 0 }]);
  t.is(second.bytes, 0);
  const asked = site.asked();
  const [, second200 = '', third200 = ''] = [0, 200, 400].map((at) => tags.toSorted()[at - 1]);
  t.deepEqual(
    asked.filter((line) => !line.startsWith('HEAD')),
    [
      'GET /v2/_catalog?n=1000',
      'GET /v2/team/one/tags/list?n=1000',
      `GET /v2/team/one/tags/list?n=200&last=${second200}`,
      `GET /v2/team/one/tags/list?n=200&last=${third200}`,
    ].toSorted(),
  );
  const heads = tags.flatMap((tag) => [
    `HEAD /v2/library/named/manifests/${tag}`,
    `HEAD /v2/team/one/manifests/${tag}`,
  ]);
  t.deepEqual(
    asked.filter((line) => line.startsWith('HEAD')),
    heads.toSorted(),
  );
});

test('the tag moves when all of it is here, and means the old image until then', async (t) => {
  const site = await Site.start(t, { rules: [named('v1')] });
  const { registry } = site;
  const [old, fresh] = [image('old'), image('new', [400, 300])];
  registry.addImage(REPOSITORY, 'v1', old);
  await site.run();
  registry.addImage(REPOSITORY, 'v1', fresh, { name: 'new' });
  const gate = registry.hold(fresh.layer(1));
  site.sync.run();
  await gate.arrived();
  // Offline, as far as this question goes: the mirror must have its own answer.
  registry.status('v1', 503, { times: 20 });
  t.true((await site.manifest(REPOSITORY, 'v1')).body.equals(old.manifest.bytes));
  registry.heal();
  gate.open();
  t.true((await site.ended()).isOk);
  await registry.refuse();
  t.true((await site.manifest(REPOSITORY, 'v1')).body.equals(fresh.manifest.bytes));
});

test('children come before their index, and nothing held is fetched', async (t) => {
  const site = await Site.start(t, { rules: [named('v1', 'v2')], concurrency: 1 });
  const { registry } = site;
  const shared = image('shared', [700]);
  const platform = { os: 'linux', architecture: 'amd64' };
  registry.addIndex(REPOSITORY, 'v1', buildIndex([{ image: shared, platform }]), { name: 'v1' });
  registry.addImage(REPOSITORY, 'v2', shared, { name: 'app' });
  t.is((await site.blob(REPOSITORY, shared.layer(0).digest)).status, 200);
  // The client has its last byte before the blob is on record.
  await until('no download runs', () => site.engine.mirror.activity.downloads === 0);
  registry.clear();
  const report = await site.run();
  t.deepEqual([report.isOk, report.bytes], [true, shared.config.size]);
  t.deepEqual(site.asked(), [
    'GET /v2/library/app/blobs/<app.config>',
    'GET /v2/library/app/manifests/<app>',
    'GET /v2/library/app/manifests/<v1>',
    'HEAD /v2/library/app/manifests/v1',
    'HEAD /v2/library/app/manifests/v2',
  ]);
});

test('a layer that two images share at the same time is fetched once', async (t) => {
  const site = await Site.start(t, { rules: [named('v1', 'v2')] });
  const { registry } = site;
  const [one, two] = [image('same', [3000, 10]), image('same', [3000, 20])];
  registry.addImage(REPOSITORY, 'v1', one);
  registry.addImage(REPOSITORY, 'v2', two);
  t.is(one.layer(0).digest, two.layer(0).digest);
  const gate = registry.hold(one.layer(0), { after: 1000 });
  site.sync.run();
  await gate.arrived();
  gate.open();
  t.true((await site.ended()).isOk);
  const lines = site.asked().filter((line) => line.endsWith(one.layer(0).digest));
  t.deepEqual(lines, [`GET /v2/library/app/blobs/${one.layer(0).digest}`]);
});

test('an image that fails stops no other, and its tag stays where it was', async (t) => {
  const site = await Site.start(t, { rules: [named('gone', 'denied', 'damaged', 'good')] });
  const { registry } = site;
  const images = Object.fromEntries(
    ['gone', 'denied', 'damaged', 'good'].map((tag) => [tag, image(tag)] as const),
  );
  for (const [tag, each] of Object.entries(images)) {
    registry.addImage(REPOSITORY, tag, each, { name: tag });
  }
  const layerOf = (tag: string) => (images[tag] ?? image(tag)).layer(0);
  registry.status(layerOf('gone'), 404, { times: Infinity });
  registry.status(layerOf('denied'), 403, { times: Infinity });
  registry.corrupt(layerOf('damaged'), { times: Infinity });
  const report = await site.run();
  t.false(report.isOk);
  t.deepEqual(report.images, { fetched: 1, kept: 0, failed: 3 });
  const failures = report.failures.toSorted((a, b) => (a.image < b.image ? -1 : 1));
  t.deepEqual(
    failures.map((each) => each.image),
    ['damaged', 'denied', 'gone'].map((tag) => `${APP}:${tag}`),
  );
  const [damaged, denied, gone] = failures.map(({ reason }) => reason);
  t.regex(damaged ?? '', /sha256:/);
  t.regex(denied ?? '', /^hub\.example: .*403/);
  t.is(gone, `the upstream has no ${layerOf('gone').digest}`);
  const status = await site.sync.status();
  t.deepEqual(status.counts, { ready: 1, partial: 3, stale: 0, unresolved: 0 });
  t.deepEqual(
    status.images.filter(({ state }) => state === 'partial').map(({ missing }) => missing),
    ['damaged', 'denied', 'gone'].map((tag) => [{ digest: layerOf(tag).digest, size: 500 }]),
  );
  registry.heal();
  t.true((await site.run()).isOk);
});

test('a 503 and a lost connection are tried again, with pauses that grow', async (t) => {
  const site = await Site.start(t, { rules: [named('v1')] });
  const { registry, timer } = site;
  const app = image('app', [500]);
  registry.addImage(REPOSITORY, 'v1', app);
  // Each attempt of an image is some attempts of its transfer.
  registry.status(app.layer(0), 503, { times: Infinity });
  const began = timer.now();
  site.sync.run();
  await site.waiting();
  await timer.advance(4_999);
  t.is(timer.waiting, 1);
  await timer.advance(1);
  await site.waiting();
  registry.heal();
  registry.drop();
  await timer.advance(15_000);
  await site.waiting();
  await registry.accept();
  await timer.advance(45_000);
  t.true((await site.ended()).isOk);
  t.is(timer.now() - began, 65_000);
});

test('what fails to the end is given up after four attempts', async (t) => {
  const site = await Site.start(t, { rules: [named('v1')] });
  const app = image('app');
  site.registry.addImage(REPOSITORY, 'v1', app);
  site.registry.status(app.layer(0), 503, { times: Infinity });
  const { failures, startedAt, endedAt } = await site.run();
  t.is(failures.length, 1);
  t.regex(failures[0]?.reason ?? '', /^hub\.example: .*503/);
  t.is(endedAt - startedAt, 65_000);
});

test('a 429 in the middle is waited out as long as the upstream asks', async (t) => {
  const site = await Site.start(t, { rules: [named('v1', 'v2', 'v3')], concurrency: 1 });
  const { registry } = site;
  for (const tag of ['v1', 'v2', 'v3']) registry.addImage(REPOSITORY, tag, image(tag));
  registry.status('v2', 429, { headers: { 'retry-after': '90' } });
  const report = await site.run();
  t.deepEqual([report.isOk, report.images], [true, { fetched: 3, kept: 0, failed: 0 }]);
  t.is(report.endedAt - report.startedAt, 90_000);
});

test('a 429 for a layer is waited out as well', async (t) => {
  const site = await Site.start(t, { rules: [named('v1')] });
  const app = image('app');
  site.registry.addImage(REPOSITORY, 'v1', app);
  site.registry.status(app.layer(0), 429, { headers: { 'retry-after': '90' } });
  const report = await site.run();
  t.true(report.isOk);
  t.is(report.endedAt - report.startedAt, 90_000);
});

test('an upstream that is down costs the pauses of one question, not of each', async (t) => {
  const tags = Array.from({ length: 40 }, (_, each) => `v${each}`);
  const site = await Site.start(t, { rules: [named(...tags)] });
  site.registry.status(/^\/v2\//, 503, { times: Infinity });
  const { failures, startedAt, endedAt } = await site.run();
  t.is(failures.length, 40);
  // Eight are asked at a time; without it, each eight would cost this much.
  t.true(endedAt - startedAt < 2 * 65_000);
});

test('one that cannot be reached delays no other, and its images fail with the cause', async (t) => {
  const other = await FakeRegistry.start(t);
  const { digest } = image('of the other').manifest;
  const there = 'other.local/library/app';
  const site = await Site.start(t, {
    rules: [
      rule('', { image: there, tags: { names: ['v1'] }, digests: [digest] }),
      rule('', { image: there, tags: { globs: ['*'] } }),
      named('v1'),
    ],
    others: { 'other.local': { url: other.url } },
  });
  site.registry.addImage(REPOSITORY, 'v1', image('app'));
  await other.refuse();
  const report = await site.run();
  const reason = `other.local: no connection to ${other.host} (ECONNREFUSED)`;
  t.deepEqual(
    { ...report, failures: report.failures.map(withoutOutage).toSorted(byRule) },
    {
      startedAt: START,
      endedAt: START,
      isOk: false,
      images: { fetched: 1, kept: 0, failed: 2 },
      bytes: report.bytes,
      failures: [
        { rule: 'sync.rules[0]', image: `${there}:v1`, reason },
        { rule: 'sync.rules[0]', image: `${there}@${digest}`, reason },
        { rule: 'sync.rules[1]', image: there, reason },
      ],
      released: [],
    },
  );
  t.is((await site.sync.explain(`${APP}:v1`))?.state, 'ready');
});

test('one that accepts and never answers delays no other longer than the client insists', async (t) => {
  const other = await FakeRegistry.start(t);
  const there = 'other.local/library/app';
  const site = await Site.start(t, {
    rules: [rule('', { image: there, tags: { names: ['v1'] } }), named('v1')],
    others: { 'other.local': { url: other.url } },
    timing: { headersMs: 1_000, firstByteMs: 1_000, attemptsMs: 1_500 },
  });
  site.registry.addImage(REPOSITORY, 'v1', image('app'));
  other.addImage(REPOSITORY, 'v1', image('of the other'));
  other.hang('v1', { times: Infinity });
  const { failures, images, endedAt } = await site.run();
  t.deepEqual(images, { fetched: 1, kept: 0, failed: 1 });
  const reason = `other.local: no answer from ${other.host} within 1000 ms`;
  t.deepEqual(failures, [{ rule: 'sync.rules[0]', image: `${there}:v1`, reason }]);
  t.is(endedAt, START);
});

/** The later questions to one that is down are not asked at all. */
function withoutOutage({ reason, ...rest }: SyncProblem): SyncProblem {
  return { ...rest, reason: reason.replace(/, for \d+ s$/, '') };
}

function byRule(a: SyncProblem, b: SyncProblem): number {
  return a.rule < b.rule ? -1 : 1;
}

test('a tag that moves during a run is right at the next one', async (t) => {
  const site = await Site.start(t, { rules: [named('v1')] });
  const { registry } = site;
  const [one, two] = [image('one'), image('two')];
  registry.addImage(REPOSITORY, 'v1', one);
  const gate = registry.hold(one.layer(0));
  site.sync.run();
  await gate.arrived();
  registry.addImage(REPOSITORY, 'v1', two);
  // A client hears of it and gets it before the run ends: the run must not turn it back.
  await site.timer.advance(1000);
  t.true((await site.manifest(REPOSITORY, 'v1')).body.equals(two.manifest.bytes));
  gate.open();
  t.true((await site.ended()).isOk);
  registry.status('v1', 503, { times: Infinity });
  t.true((await site.manifest(REPOSITORY, 'v1')).body.equals(two.manifest.bytes));
  registry.heal();
  t.true((await site.run()).isOk);
  t.like((await site.sync.explain(`${APP}:v1`)) ?? {}, {
    digest: two.manifest.digest,
    state: 'ready',
  });
});

test('where HEAD of manifests is refused sync asks each tag by GET, once a run, and keeps what that brought', async (t) => {
  const site = await Site.start(t, { rules: [named('v1', 'v2')] });
  const { registry } = site;
  registry.addImage(REPOSITORY, 'v1', image('v1'), { name: 'v1' });
  registry.addImage(REPOSITORY, 'v2', image('v2'), { name: 'v2' });
  registry.status(/\/manifests\//, 405, { method: 'HEAD', times: Infinity });
  t.true((await site.run()).isOk);
  const asked = site.asked();
  t.deepEqual(
    asked.filter((line) => line.startsWith('GET') && line.includes('/manifests/')),
    [`GET /v2/${REPOSITORY}/manifests/v1`, `GET /v2/${REPOSITORY}/manifests/v2`],
  );
  t.is(asked.filter((line) => line.includes('/blobs/')).length, 4);
  const moved = image('moved');
  registry.addImage(REPOSITORY, 'v2', moved, { name: 'moved' });
  t.true((await site.run()).isOk);
  t.deepEqual(site.asked(), [
    `GET /v2/${REPOSITORY}/blobs/<moved.config>`,
    `GET /v2/${REPOSITORY}/blobs/<moved.layer0>`,
    `GET /v2/${REPOSITORY}/manifests/v1`,
    `GET /v2/${REPOSITORY}/manifests/v2`,
  ]);
  t.deepEqual((await site.manifest(REPOSITORY, 'v2')).body, moved.manifest.bytes);
});

test('a tag that HEADs for ever say not to have moved is synced a day later', async (t) => {
  const site = await Site.start(t, { rules: [named('v1')] });
  const { registry, timer } = site;
  const before = image('before');
  registry.addImage(REPOSITORY, 'v1', before, { name: 'before' });
  await site.run();
  const moved = image('moved');
  registry.addImage(REPOSITORY, 'v1', moved, { name: 'moved' });
  const headers = {
    'Docker-Content-Digest': before.manifest.digest,
    'Content-Type': before.manifest.mediaType,
    'Content-Length': String(before.manifest.size),
  };
  const lie = { method: 'HEAD', times: Infinity, headers, body: '' } as const;
  registry.status('v1', 200, lie);
  site.asked();
  const known = await site.run();
  t.is(known.images.kept, 1);
  t.deepEqual(site.asked(), [`HEAD /v2/${REPOSITORY}/manifests/v1`]);
  await timer.advance(24 * 3_600_000);
  t.is((await site.run()).images.fetched, 1);
  t.deepEqual(site.asked(), [
    `GET /v2/${REPOSITORY}/blobs/<moved.config>`,
    `GET /v2/${REPOSITORY}/blobs/<moved.layer0>`,
    `GET /v2/${REPOSITORY}/manifests/v1`,
  ]);
  t.is((await site.run()).images.kept, 1);
  t.deepEqual((await site.manifest(REPOSITORY, 'v1')).body, moved.manifest.bytes);
});

for (const [header, isEncoded] of [
  ['aws-chunked', false],
  ['gzip', false],
  ['gzip', true],
] as const) {
  const what = isEncoded ? 'encoded' : 'raw';
  test(`${what} bytes as ${header} under a wrong type are synced right, with one fetch each`, async (t) => {
    const site = await Site.start(t, { rules: [named('v1')] });
    const { registry } = site;
    const app = image('app');
    registry.addImage(REPOSITORY, 'v1', app, { name: 'app' });
    const by = isEncoded ? gzipSync : (bytes: Buffer) => bytes;
    registry.encode(/./, header, { times: Infinity, by });
    registry.contentType(/manifests/, 'text/plain', { times: Infinity });
    t.true((await site.run()).isOk);
    t.deepEqual(
      site.asked().filter((line) => line.includes('/blobs/')),
      [`GET /v2/${REPOSITORY}/blobs/<app.config>`, `GET /v2/${REPOSITORY}/blobs/<app.layer0>`],
    );
    t.is((await site.sync.status()).images[0]?.state, 'ready');
    const manifest = await site.manifest(REPOSITORY, 'v1');
    t.is(manifest.headers['content-type'], app.manifest.mediaType);
    t.deepEqual((await site.blob(REPOSITORY, app.layer(0).digest)).body, app.layer(0).bytes);
  });
}
