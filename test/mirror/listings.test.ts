import test from 'ava';
import type { ClientAnswer } from '../helpers/client.ts';
import { HOUR, MINUTE, SECOND } from '../helpers/clock.ts';
import type { FakeRegistry } from '../helpers/fake-registry.ts';
import {
  buildArtifact,
  fallbackIndex,
  fallbackTag,
  MEDIA_TYPES,
  referrerDescriptor,
  type Image,
  type Stored,
} from '../helpers/image.ts';
import {
  REPOSITORY,
  UPSTREAM,
  idle,
  refusalOf,
  staleWarning,
  startScene,
  told,
} from '../helpers/scene.ts';

/** Handled a moment late is handled too late: outside of a test the process is gone by then. */
const unhandled: unknown[] = [];
process.on('unhandledRejection', (reason) => unhandled.push(reason));

const LIST = `/v2/${REPOSITORY}/tags/list`;
const ASKED = `GET ${LIST}?n=1000`;
const TTL = { ttlMs: 5 * MINUTE };
const always = { times: Infinity };

function json(answer: ClientAnswer): unknown {
  return JSON.parse(answer.body.toString());
}

function tagsOf(answer: ClientAnswer): unknown {
  return (json(answer) as { tags: unknown }).tags;
}

function tagMany(registry: FakeRegistry, { manifest }: Image, tags: readonly string[]): void {
  registry.untag(REPOSITORY, 'latest');
  for (const tag of tags) registry.tag(REPOSITORY, tag, manifest);
}

// Tags

test('tags are those of the upstream, in byte order', async (t) => {
  const { registry, image, ask } = await startScene(t);
  tagMany(registry, image, ['b', 'a', 'B', '10', '9', '_x', 'a-1', 'a.1']);
  const answer = await ask(LIST);
  t.is(answer.status, 200);
  t.is(answer.headers['content-type'], 'application/json');
  t.is(answer.headers['content-length'], String(answer.body.length));
  t.is(answer.headers.link, undefined);
  t.deepEqual(json(answer), {
    name: REPOSITORY,
    tags: ['10', '9', 'B', '_x', 'a', 'a-1', 'a.1', 'b'],
  });
  t.deepEqual(registry.conversation(), [ASKED]);
});

for (const links of ['relative', 'absolute', 'internal'] as const) {
  test(`the upstream's pages are joined, with ${links} links between them`, async (t) => {
    const { registry, image, ask } = await startScene(t, { registry: { pageSize: 2, links } });
    tagMany(registry, image, ['a', 'b', 'c', 'd', 'e']);
    t.deepEqual(tagsOf(await ask(LIST)), ['a', 'b', 'c', 'd', 'e']);
    t.deepEqual(registry.conversation(), [
      ASKED,
      `GET ${LIST}?n=2&last=b`,
      `GET ${LIST}?n=2&last=d`,
    ]);
  });
}

const PAGES: [query: string, tags: string[], link?: string][] = [
  ['', ['a', 'b', 'c', 'd', 'e']],
  ['?n=2', ['a', 'b'], `<${LIST}?n=2&last=b>; rel="next"`],
  ['?n=2&last=b', ['c', 'd'], `<${LIST}?n=2&last=d>; rel="next"`],
  ['?n=2&last=d', ['e']],
  ['?n=5', ['a', 'b', 'c', 'd', 'e']],
  ['?n=4', ['a', 'b', 'c', 'd'], `<${LIST}?n=4&last=d>; rel="next"`],
  ['?n=1000000', ['a', 'b', 'c', 'd', 'e']],
  ['?n=0', []],
  ['?last=c', ['d', 'e']],
  ['?last=bb', ['c', 'd', 'e']],
  ['?last=z', []],
  ['?n=2&last=z', []],
  ['?n=2&last=', ['a', 'b'], `<${LIST}?n=2&last=b>; rel="next"`],
  [`?n=2&ns=${UPSTREAM}`, ['a', 'b'], `<${LIST}?n=2&last=b&ns=${UPSTREAM}>; rel="next"`],
];

test('clients page through the tags with n and last', async (t) => {
  const { registry, image, ask } = await startScene(t, { tags: TTL });
  tagMany(registry, image, ['a', 'b', 'c', 'd', 'e']);
  for (const [query, tags, link] of PAGES) {
    const answer = await ask(`${LIST}${query}`);
    t.is(answer.status, 200, query);
    t.deepEqual(tagsOf(answer), tags, query);
    t.is(answer.headers.link as string | undefined, link, query);
  }
  t.deepEqual(registry.conversation(), [ASKED], 'and the upstream is asked once');
});

test('following the links from page to page gives every tag once', async (t) => {
  const { registry, image, ask } = await startScene(t, { tags: TTL });
  const tags = Array.from({ length: 23 }, (_, turn) => `v${turn}`);
  tagMany(registry, image, tags);
  const found: unknown[] = [];
  for (let path: string | undefined = `${LIST}?n=5`; path !== undefined;) {
    const answer: ClientAnswer = await ask(path);
    found.push(...(tagsOf(answer) as string[]));
    path = /^<([^>]+)>; rel="next"$/.exec(String(answer.headers.link ?? ''))?.[1];
  }
  t.deepEqual(found, tags.toSorted());
});

for (const n of ['-1', 'x', '1.5', '1e3', '0x10', '%20']) {
  test(`n=${n} is 400 and nobody is asked`, async (t) => {
    const { registry, ask } = await startScene(t);
    const answer = await ask(`${LIST}?n=${n}`);
    t.like(refusalOf(answer), { status: 400, code: 'PAGINATION_NUMBER_INVALID' });
    t.deepEqual(registry.conversation(), []);
  });
}

test('an answer has at most a thousand tags', async (t) => {
  const { registry, image, ask } = await startScene(t);
  tagMany(
    registry,
    image,
    Array.from({ length: 1001 }, (_, turn) => `v${1000 + turn}`),
  );
  const answer = await ask(`${LIST}?n=5000`);
  t.is((tagsOf(answer) as string[]).length, 1000);
  t.is(answer.headers.link, `<${LIST}?n=1000&last=v1999>; rel="next"`);
});

test('a repository without tags has an empty list, not null', async (t) => {
  const { registry, ask } = await startScene(t);
  registry.untag(REPOSITORY, 'latest');
  t.deepEqual(json(await ask(LIST)), { name: REPOSITORY, tags: [] });
});

test('a tag that no registry may have is left out of the list', async (t) => {
  const { registry, ask } = await startScene(t);
  registry.status(LIST, 200, {
    body: JSON.stringify({ name: REPOSITORY, tags: ['good', 'not good', '', '-x', 'a/b'] }),
    contentType: 'application/json',
  });
  const answer = await ask(LIST);
  t.is(answer.status, 200);
  t.deepEqual(tagsOf(answer), ['good']);
});

test('HEAD of a list has its headers and no body', async (t) => {
  const { ask } = await startScene(t);
  const whole = await ask(LIST);
  const head = await ask(LIST, { method: 'HEAD' });
  t.is(head.status, 200);
  t.is(head.headers['content-length'], whole.headers['content-length']);
  t.is(head.body.length, 0);
});

test('within its ttl a list is not asked for again; past it, it is', async (t) => {
  const { registry, image, ask, clock } = await startScene(t, { tags: TTL });
  t.deepEqual(told(await ask(LIST)), { status: 200, cache: 'entrepot; fwd=miss' });
  registry.tag(REPOSITORY, 'new', image.manifest);
  clock.advance(TTL.ttlMs - 1);
  const known = await ask(LIST);
  t.deepEqual(told(known), { status: 200, cache: 'entrepot; hit', age: '299' });
  t.deepEqual(tagsOf(known), ['latest']);
  clock.advance(1);
  t.deepEqual(tagsOf(await ask(LIST)), ['latest', 'new']);
  t.deepEqual(registry.conversation(), [ASKED, ASKED]);
});

test('twenty clients that want one list at once cost one question', async (t) => {
  const { registry, ask } = await startScene(t, { tags: TTL });
  const gate = registry.hold(LIST, { before: 'headers' });
  const answering = Promise.all(Array.from({ length: 20 }, async () => ask(LIST)));
  await gate.arrived();
  gate.open();
  for (const answer of await answering) t.deepEqual(tagsOf(answer), ['latest']);
  t.deepEqual(registry.conversation(), [ASKED]);
});

test('a repository that the upstream does not have is 404', async (t) => {
  const { registry, ask } = await startScene(t);
  t.deepEqual(refusalOf(await ask('/v2/library/nothing/tags/list')), {
    status: 404,
    code: 'NAME_UNKNOWN',
    message: `${UPSTREAM} has no repository library/nothing`,
    detail: { upstream: UPSTREAM, name: 'library/nothing' },
  });
  t.deepEqual(registry.conversation(), ['GET /v2/library/nothing/tags/list?n=1000']);
});

test('that a repository is missing is believed for the negative ttl, not for the ttl', async (t) => {
  const { registry, image, ask, clock } = await startScene(t, {
    tags: { ttlMs: HOUR, negativeTtlMs: 30 * SECOND },
  });
  const path = '/v2/library/soon/tags/list';
  t.is((await ask(path)).status, 404);
  registry.addImage('library/soon', 'latest', image);
  clock.advance(30 * SECOND - 1);
  t.is((await ask(path)).status, 404);
  t.is(registry.conversation().length, 1);
  clock.advance(1);
  t.is((await ask(path)).status, 200);
});

// Tags, without the upstream

test('while the upstream is down the last list it gave stands in', async (t) => {
  const { registry, image, ask, clock } = await startScene(t, { tags: TTL });
  registry.tag(REPOSITORY, 'other', image.manifest);
  await ask(LIST);
  await registry.refuse();
  clock.advance(HOUR);
  const answer = await ask(LIST);
  t.deepEqual(told(answer), {
    status: 200,
    cache: 'entrepot; hit; detail=stale',
    age: '3600',
    warning: staleWarning(`${UPSTREAM}: no connection to ${registry.host} (ECONNREFUSED)`),
  });
  t.deepEqual(tagsOf(answer), ['latest', 'other']);
});

test('while the upstream is down the held tags stand in for a list that was never asked for', async (t) => {
  const { registry, image, ask, manifest } = await startScene(t);
  for (const tag of ['b', 'a', 'unheld']) registry.tag(REPOSITORY, tag, image.manifest);
  for (const tag of ['latest', 'b', 'a']) await manifest(tag);
  await registry.refuse();
  const answer = await ask(LIST);
  t.is(answer.headers['cache-status'], 'entrepot; hit; detail=stale');
  t.deepEqual(tagsOf(answer), ['a', 'b', 'latest']);
});

test('a list that can be stood in for is answered while the upstream still hangs', async (t) => {
  const { registry, ask, manifest } = await startScene(t, { tags: { revalidateTimeoutMs: 40 } });
  await manifest('latest');
  const gate = registry.hang(LIST);
  const answering = ask(LIST);
  await gate.arrived();
  const answer = await answering;
  t.is(gate.waiting, 1);
  t.deepEqual(tagsOf(answer), ['latest']);
  t.is(answer.headers.warning, staleWarning(`${UPSTREAM}: no answer within 40 ms`));
  gate.open();
});

const FAULTS: [
  claim: string,
  strike: (registry: FakeRegistry) => unknown,
  status: number,
  code: string,
][] = [
  ['is down', async (registry) => registry.refuse(), 502, 'UNAVAILABLE'],
  [
    'answers 503',
    (registry) => registry.status(/\/(tags|referrers|manifests)\//, 503, always),
    503,
    'UNAVAILABLE',
  ],
  [
    'answers 429',
    (registry) => registry.status(/\/(tags|referrers|manifests)\//, 429, always),
    429,
    'TOOMANYREQUESTS',
  ],
  [
    'answers 403',
    (registry) => registry.status(/\/(tags|referrers|manifests)\//, 403, always),
    403,
    'DENIED',
  ],
];

for (const [claim, strike, status, code] of FAULTS) {
  test(`lists of which nothing is held are refused truly when the upstream ${claim}`, async (t) => {
    const { registry, image, ask } = await startScene(t);
    await strike(registry);
    for (const path of [LIST, `/v2/${REPOSITORY}/referrers/${image.manifest.digest}`]) {
      const answer = await ask(path);
      t.like(refusalOf(answer), { status, code });
      t.true(String(refusalOf(answer)['message']).startsWith(`${UPSTREAM}: `));
    }
  });
}

test('JSON that is no list of tags is 502', async (t) => {
  const { registry, ask } = await startScene(t);
  for (const body of ['[]x', '"tags"', 'null', '{"tags":"latest"}']) {
    registry.status(LIST, 200, { body, contentType: 'application/json' });
    t.like(refusalOf(await ask(LIST)), { status: 502, code: 'UNAVAILABLE' }, body);
  }
});

test('a page of HTML instead of tags is 502, and is not passed on', async (t) => {
  const { registry, ask } = await startScene(t);
  registry.status(LIST, 200, { ...always, body: '<h1>Sign in</h1>', contentType: 'text/html' });
  t.deepEqual(refusalOf(await ask(LIST)), {
    status: 502,
    code: 'UNAVAILABLE',
    message: `${UPSTREAM}: ${registry.host} sent an HTML page`,
    detail: { upstream: UPSTREAM, fault: 'bad-response', upstreamStatus: 200 },
  });
});

// Referrers

const SIGNATURE = 'application/example.signature';
const SBOM = 'application/example.sbom';

function buildReferrers(subject: Stored): { signature: Image; sbom: Image } {
  const signature = buildArtifact({
    seed: 'signature',
    artifactType: SIGNATURE,
    subject,
    annotations: { 'example.created': '2020-01-01T00:00:00Z' },
  });
  return { signature, sbom: buildArtifact({ seed: 'sbom', artifactType: SBOM, subject }) };
}

function indexOf(...images: Image[]): object {
  const manifests = images
    .map(({ manifest }) => referrerDescriptor(manifest))
    .toSorted((a, b) => (a.digest < b.digest ? -1 : 1));
  return { schemaVersion: 2, mediaType: MEDIA_TYPES.index, manifests };
}

/** As the mirror may give them in any order, by digest. */
function referrersOf(answer: ClientAnswer): object {
  const index = json(answer) as { manifests: { digest: string }[] };
  return {
    ...index,
    manifests: index.manifests.toSorted((a, b) => (a.digest < b.digest ? -1 : 1)),
  };
}

test('referrers come from the API of the upstream', async (t) => {
  const { registry, image, ask } = await startScene(t);
  const { signature, sbom } = buildReferrers(image.manifest);
  for (const referrer of [signature, sbom]) registry.addImage(REPOSITORY, undefined, referrer);
  const answer = await ask(`/v2/${REPOSITORY}/referrers/${image.manifest.digest}`);
  t.is(answer.status, 200);
  t.is(answer.headers['content-type'], MEDIA_TYPES.index);
  t.is(answer.headers['oci-filters-applied'], undefined);
  t.is(answer.headers['content-length'], String(answer.body.length));
  t.deepEqual(referrersOf(answer), indexOf(signature, sbom));
  t.deepEqual(registry.conversation(), [
    `GET /v2/${REPOSITORY}/referrers/<app>`,
    `HEAD /v2/${REPOSITORY}/manifests/<sha256-app>`,
  ]);
});

test('referrers are joined from the pages of the upstream', async (t) => {
  const { registry, image, ask } = await startScene(t, {
    registry: { pageSize: 1, links: 'internal' },
  });
  const { signature, sbom } = buildReferrers(image.manifest);
  for (const referrer of [signature, sbom]) registry.addImage(REPOSITORY, undefined, referrer);
  const answer = await ask(`/v2/${REPOSITORY}/referrers/${image.manifest.digest}`);
  t.deepEqual(referrersOf(answer), indexOf(signature, sbom));
  t.is(registry.conversation().length, 3);
});

test('artifactType filters, one or several, and the answer says that it did', async (t) => {
  const { registry, image, ask } = await startScene(t, { tags: TTL });
  const { signature, sbom } = buildReferrers(image.manifest);
  for (const referrer of [signature, sbom]) registry.addImage(REPOSITORY, undefined, referrer);
  const path = `/v2/${REPOSITORY}/referrers/${image.manifest.digest}`;
  const cases: [query: string, images: Image[]][] = [
    [`?artifactType=${SIGNATURE}`, [signature]],
    [`?artifactType=${SBOM}`, [sbom]],
    [`?artifactType=${SBOM.toUpperCase()}`, []],
    [`?artifactType=${SIGNATURE}&artifactType=${SBOM}`, [signature, sbom]],
    ['?artifactType=application/example', []],
  ];
  for (const [query, images] of cases) {
    const answer = await ask(path + query);
    t.is(answer.headers['oci-filters-applied'], 'artifactType', query);
    t.deepEqual(referrersOf(answer), indexOf(...images), query);
  }
  t.deepEqual(registry.conversation(), [
    `GET /v2/${REPOSITORY}/referrers/<app>`,
    `HEAD /v2/${REPOSITORY}/manifests/<sha256-app>`,
  ]);
});

for (const referrers of ['none', 'html'] as const) {
  const way = referrers === 'none' ? 'has no such API' : 'redirects to a sign-in page';
  const first =
    referrers === 'none'
      ? [`GET /v2/${REPOSITORY}/referrers/<app>`]
      : [`GET /v2/${REPOSITORY}/referrers/<app>`, 'GET /sign-in'];

  test(`referrers come from the fallback tag when the upstream ${way}`, async (t) => {
    const { registry, image, ask } = await startScene(t, { registry: { referrers } });
    const { signature, sbom } = buildReferrers(image.manifest);
    registry.addManifest(REPOSITORY, fallbackIndex([signature, sbom]), {
      tags: [fallbackTag(image.manifest.digest)],
    });
    const answer = await ask(`/v2/${REPOSITORY}/referrers/${image.manifest.digest}`);
    t.is(answer.status, 200);
    t.is(answer.headers['content-type'], MEDIA_TYPES.index);
    t.deepEqual(referrersOf(answer), indexOf(signature, sbom));
    t.deepEqual(registry.conversation(), [
      ...first,
      `HEAD /v2/${REPOSITORY}/manifests/<sha256-app>`,
      `GET /v2/${REPOSITORY}/manifests/<sha256-app>`,
    ]);
  });

  test(`no fallback tag is an empty list when the upstream ${way}`, async (t) => {
    const { registry, image, ask } = await startScene(t, { registry: { referrers } });
    const answer = await ask(`/v2/${REPOSITORY}/referrers/${image.manifest.digest}`);
    t.is(answer.status, 200);
    t.deepEqual(json(answer), indexOf());
    t.deepEqual(registry.conversation(), [
      ...first,
      `HEAD /v2/${REPOSITORY}/manifests/<sha256-app>`,
    ]);
  });
}

for (const status of [400, 405, 406]) {
  test(`referrers come from the fallback tag when the upstream answers ${status}`, async (t) => {
    const { registry, image, ask } = await startScene(t);
    const { signature } = buildReferrers(image.manifest);
    registry.addManifest(REPOSITORY, fallbackIndex([signature]), {
      tags: [fallbackTag(image.manifest.digest)],
    });
    registry.status(/\/referrers\//, status, always);
    const answer = await ask(`/v2/${REPOSITORY}/referrers/${image.manifest.digest}`);
    t.deepEqual(referrersOf(answer), indexOf(signature));
  });
}

test('a fallback tag that is no index is an empty list', async (t) => {
  const { registry, image, ask } = await startScene(t, { registry: { referrers: 'none' } });
  registry.tag(REPOSITORY, fallbackTag(image.manifest.digest), image.manifest);
  const answer = await ask(`/v2/${REPOSITORY}/referrers/${image.manifest.digest}`);
  t.is(answer.status, 200);
  t.deepEqual(json(answer), indexOf());
});

test('the fallback tag itself is served as the manifest that it is', async (t) => {
  const { registry, image, manifest } = await startScene(t, { registry: { referrers: 'none' } });
  const { signature } = buildReferrers(image.manifest);
  const index = fallbackIndex([signature]);
  const tag = fallbackTag(image.manifest.digest);
  registry.addManifest(REPOSITORY, index, { tags: [tag] });
  t.deepEqual((await manifest(tag)).body, index.bytes);
});

test('a digest that nobody refers to has an empty list', async (t) => {
  const { ask } = await startScene(t);
  for (const digest of [`sha256:${'0'.repeat(64)}`, `sha512:${'0'.repeat(128)}`]) {
    const answer = await ask(`/v2/${REPOSITORY}/referrers/${digest}`);
    t.is(answer.status, 200);
    t.is(answer.headers['content-type'], MEDIA_TYPES.index);
    t.deepEqual(json(answer), indexOf());
  }
});

test('referrers of what is no digest are 400, and nobody is asked', async (t) => {
  const { registry, ask } = await startScene(t);
  for (const reference of ['latest', 'sha256:abc', 'md5:d41d8cd98f00b204e9800998ecf8427e']) {
    const answer = await ask(`/v2/${REPOSITORY}/referrers/${reference}`);
    t.like(refusalOf(answer), { status: 400, code: 'DIGEST_INVALID' });
  }
  t.deepEqual(registry.conversation(), []);
});

test('while the upstream is down the held referrers stand in', async (t) => {
  const { registry, image, ask, manifest } = await startScene(t);
  const { signature, sbom } = buildReferrers(image.manifest);
  for (const referrer of [signature, sbom]) registry.addImage(REPOSITORY, undefined, referrer);
  await manifest(signature.manifest.digest);
  await registry.refuse();
  const answer = await ask(`/v2/${REPOSITORY}/referrers/${image.manifest.digest}`);
  t.is(answer.status, 200);
  t.is(answer.headers['cache-status'], 'entrepot; hit; detail=stale');
  t.deepEqual(referrersOf(answer), indexOf(signature));
});

test('while the upstream is down the last list of referrers it gave stands in', async (t) => {
  const { registry, image, ask } = await startScene(t);
  const { signature, sbom } = buildReferrers(image.manifest);
  for (const referrer of [signature, sbom]) registry.addImage(REPOSITORY, undefined, referrer);
  const path = `/v2/${REPOSITORY}/referrers/${image.manifest.digest}`;
  await ask(path);
  await registry.refuse();
  t.deepEqual(referrersOf(await ask(path)), indexOf(signature, sbom));
});

test('while the upstream is down an empty list that it gave stands in too', async (t) => {
  const { registry, image, ask } = await startScene(t);
  const path = `/v2/${REPOSITORY}/referrers/${image.manifest.digest}`;
  await ask(path);
  await registry.refuse();
  const answer = await ask(path);
  t.is(answer.status, 200);
  t.is(answer.headers['cache-status'], 'entrepot; hit; detail=stale');
  t.deepEqual(json(answer), indexOf());
});

test('lists of another repository or upstream do not stand in', async (t) => {
  const { registry, image, ask, mirror } = await startScene(t);
  const { signature } = buildReferrers(image.manifest);
  registry.addImage(REPOSITORY, undefined, signature);
  registry.addImage('library/other', 'other', image);
  const tail = `referrers/${image.manifest.digest}`;
  t.deepEqual(referrersOf(await ask(`/v2/${REPOSITORY}/${tail}`)), indexOf(signature));
  t.deepEqual(referrersOf(await ask(`/v2/library/other/${tail}`)), indexOf());
  t.deepEqual(tagsOf(await ask(LIST)), ['latest']);
  t.deepEqual(tagsOf(await ask('/v2/library/other/tags/list')), ['other']);
  await idle(mirror);
});

test.after('no failure of a list was left unhandled', (t) => {
  t.deepEqual(unhandled, []);
});
