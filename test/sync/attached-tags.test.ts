import test, { type ExecutionContext } from 'ava';
import { HOUR } from '../helpers/clock.ts';
import type { FakeRegistryOptions } from '../helpers/fake-registry.ts';
import { buildImage, fallbackIndex, fallbackTag, type Image } from '../helpers/image.ts';
import { rule, type RuleOptions } from './rules.ts';
import { Site, type SiteOptions } from './site.ts';

const REPOSITORY = 'library/app';
const LIST = 'GET /v2/library/app/tags/list?n=1000';
const NAMES = ['v0', 'v1', 'v2', 'v3', 'v4'];

function image(seed: string): Image {
  return buildImage({ seed, layers: [50], platform: { os: 'linux', architecture: 'amd64' } });
}

interface SceneOptions extends Pick<SiteOptions, 'isJudged'> {
  readonly tags: NonNullable<RuleOptions['tags']>;
  readonly registry?: FakeRegistryOptions;
}

/** Five images, of which none has anything attached. */
async function start(t: ExecutionContext, { tags, registry: options, ...rest }: SceneOptions) {
  const site = await Site.start(t, {
    rules: [rule(REPOSITORY, { tags, referrers: true })],
    registryOptions: { referrers: 'none', ...options },
    upstream: { tags: { negativeTtlMs: 30_000 } },
    ...rest,
  });
  const images = NAMES.map((tag) => image(tag));
  for (const [at, tag] of NAMES.entries()) {
    site.registry.addImage(REPOSITORY, tag, images[at]!, { name: tag });
  }
  return { site, images };
}

/** What was asked about what is attached to images; lists as well. */
function searches(site: Site): string[] {
  return site.asked().filter((line) => /sha256-|referrers|tags\/list/.test(line));
}

/** Those of the lines that were not asked. */
function missing(site: Site, lines: readonly string[]): string[] {
  const asked = new Set(site.asked());
  return lines.filter((line) => !asked.has(line));
}

/** Signs as cosign does without the referrers API. */
function sign(site: Site, { manifest }: Image): string {
  const tag = `${manifest.digest.replace(':', '-')}.sig`;
  site.registry.addImage(REPOSITORY, tag, image(`signature of ${manifest.digest}`), {
    name: 'signature',
  });
  return tag;
}

/** The questions about one image where no list answers them. */
function byName(name: string): string[] {
  const tag = `<sha256-${name}>`;
  return ['', '.att', '.sbom', '.sig'].map(
    (suffix) => `HEAD /v2/library/app/manifests/${tag}${suffix}`,
  );
}

const ALL_BY_NAME = NAMES.flatMap(byName);

test('what a list of tags does not have is not asked for: without the referrers API', async (t) => {
  const { site, images } = await start(t, { tags: { globs: ['v*'] } });
  sign(site, images[2]!);
  t.true((await site.run()).isOk);
  const [probe, ...rest] = site
    .asked()
    .toSorted((a, b) => Number(b.includes('referrers')) - Number(a.includes('referrers')));
  // Once of the repository: which image is examined first is left open.
  t.regex(probe!, /^GET \/v2\/library\/app\/referrers\/<v\d>$/);
  t.deepEqual(
    rest.filter((line) => !line.includes('/referrers/')).toSorted(),
    [
      LIST,
      ...NAMES.map((tag) => `HEAD /v2/library/app/manifests/${tag}`),
      ...NAMES.map((tag) => `GET /v2/library/app/manifests/<${tag}>`),
      ...NAMES.flatMap((tag) => [
        `GET /v2/library/app/blobs/<${tag}.config>`,
        `GET /v2/library/app/blobs/<${tag}.layer0>`,
      ]),
      'HEAD /v2/library/app/manifests/<sha256-v2>.sig',
      'GET /v2/library/app/manifests/<signature>',
      'GET /v2/library/app/blobs/<signature.config>',
      'GET /v2/library/app/blobs/<signature.layer0>',
    ].toSorted(),
  );
  t.true((await site.run()).isOk);
  t.deepEqual(
    site.asked(),
    [LIST, ...NAMES.map((tag) => `HEAD /v2/library/app/manifests/${tag}`)].toSorted(),
  );
});

test('what a list of tags does not have is not asked for: with the referrers API', async (t) => {
  const { site } = await start(t, { tags: { globs: ['v*'] }, registry: { referrers: 'api' } });
  t.true((await site.run()).isOk);
  t.deepEqual(
    searches(site),
    [LIST, ...NAMES.map((tag) => `GET /v2/library/app/referrers/<${tag}>`)].toSorted(),
  );
  t.true((await site.run()).isOk);
  t.deepEqual(searches(site), [LIST]);
});

test('where a rule names its tags, the first few are asked for, and then one list', async (t) => {
  const { site } = await start(t, { tags: { names: NAMES }, registry: { referrers: 'api' } });
  t.true((await site.run()).isOk);
  const asked = searches(site).filter((line) => !line.includes('/referrers/'));
  t.is(asked.filter((line) => line.startsWith('HEAD')).length, 8, 'of two images');
  t.deepEqual(
    asked.filter((line) => line.startsWith('GET')),
    [LIST],
  );
  t.true((await site.run()).isOk);
  t.deepEqual(
    site.asked(),
    NAMES.map((tag) => `HEAD /v2/library/app/manifests/${tag}`),
  );
});

test('a signature that appears later is found by the next list', async (t) => {
  const { site, images } = await start(t, { tags: { globs: ['v*'] } });
  await site.run();
  site.registry.clear();
  const signature = sign(site, images[3]!);
  await site.timer.advance(HOUR);
  t.true((await site.run()).isOk);
  t.deepEqual(
    site.asked().filter((line) => !/v\d$/.test(line)),
    [
      'GET /v2/library/app/blobs/<signature.config>',
      'GET /v2/library/app/blobs/<signature.layer0>',
      'GET /v2/library/app/manifests/<signature>',
      LIST,
      'HEAD /v2/library/app/manifests/<sha256-v3>.sig',
    ].toSorted(),
  );
  await site.registry.refuse();
  t.is((await site.manifest(REPOSITORY, signature)).status, 200);
});

test('a referrer under the fallback tag that appears later is found by the next list', async (t) => {
  const { site, images } = await start(t, { tags: { globs: ['v*'] } });
  await site.run();
  const referrer = image('referrer');
  site.registry.addImage(REPOSITORY, undefined, referrer, { name: 'referrer' });
  const index = fallbackIndex([referrer]);
  site.registry.addManifest(REPOSITORY, index, { tags: [fallbackTag(images[1]!.manifest.digest)] });
  site.registry.clear();
  t.true((await site.run()).isOk);
  t.true(site.asked().includes('GET /v2/library/app/manifests/<referrer>'));
});

test('a signature that appears later is found a day later where no list is asked for', async (t) => {
  const { site, images } = await start(t, { tags: { names: ['v1'] } });
  await site.run();
  const signature = sign(site, images[1]!);
  await site.timer.advance(25 * HOUR);
  t.true((await site.run()).isOk);
  await site.registry.refuse();
  t.is((await site.manifest(REPOSITORY, signature)).status, 200);
});

const CUT = 'a page as long as was asked for, with nothing behind it';
const DOUBTFUL = {
  [CUT]: { links: 'none' },
  'a copy that a cache kept': { listAge: 60 },
} as const;

for (const [what, options] of Object.entries(DOUBTFUL)) {
  test(`a list that may lack tags answers for none: ${what}`, async (t) => {
    const { site } = await start(t, { tags: { globs: ['v*'] }, registry: options });
    if (options === DOUBTFUL[CUT]) {
      for (let more = 0; more < 995; more += 1) {
        site.registry.tag(REPOSITORY, `w${more}`, image('v0').manifest);
      }
    }
    t.true((await site.run()).isOk);
    t.deepEqual(missing(site, ALL_BY_NAME), []);
  });
}

test('a list without a tag that is there answers for none', async (t) => {
  const { site } = await start(t, { tags: { names: NAMES } });
  site.registry.status(/tags\/list/, 200, {
    body: JSON.stringify({ name: REPOSITORY, tags: ['other'] }),
    contentType: 'application/json',
  });
  t.true((await site.run()).isOk);
  t.deepEqual(missing(site, ALL_BY_NAME), []);
});

test('a list counts no longer than a 404 would', async (t) => {
  const { site, images } = await start(t, { tags: { globs: ['v*'] } });
  const gate = site.registry.hang('v4', { method: 'HEAD' });
  site.sync.run();
  await gate.arrived();
  // The negative ttl.
  await site.timer.advance(30_000);
  sign(site, images[0]!);
  gate.open();
  t.true((await site.ended()).isOk);
  const asked = searches(site);
  t.deepEqual(
    asked.filter((line) => line === LIST),
    [LIST, LIST],
  );
  t.true(asked.some((line) => line.includes('sha256-')));
});

test('a long list is read for no more than it saves', async (t) => {
  const { site, images } = await start(t, { tags: { names: NAMES }, registry: { pageSize: 1 } });
  for (const each of Array.from({ length: 20 }, (_, at) => `w${at}`)) {
    site.registry.tag(REPOSITORY, each, images[0]!.manifest);
  }
  t.true((await site.run()).isOk);
  const asked = site.registry.conversation();
  t.is(asked.filter((line) => line.includes('tags/list')).length, 10);
  t.deepEqual(missing(site, ALL_BY_NAME), []);
});

test('of an image that admission judges no list is believed that nothing is attached', async (t) => {
  const { site, images } = await start(t, { tags: { globs: ['v*'] }, isJudged: true });
  sign(site, images[2]!);
  t.true((await site.run()).isOk);
  t.deepEqual(missing(site, ALL_BY_NAME), byName('v2').slice(0, 3));
});
