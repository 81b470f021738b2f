/** What an upstream refuses by another 4xx than 401, 403, 404 and 429: its words reach the client. */
import test, { type ExecutionContext } from 'ava';
import { get } from '../helpers/client.ts';
import { Clock, HOUR } from '../helpers/clock.ts';
import type { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildImage, buildIndex } from '../helpers/image.ts';
import { startMirror } from '../helpers/mirror.ts';
import { refusalOf, REPOSITORY, startScene, UPSTREAM } from '../helpers/scene.ts';

const always = { times: Infinity };
const POLICY = `current image with 3 vulnerabilities cannot be pulled due to ${'the configured policy '.repeat(15)}`;

function refuse(registry: FakeRegistry, what: string | RegExp, status: number): void {
  const body = JSON.stringify({ errors: [{ code: 'POLICY', message: POLICY.trim() }] });
  registry.status(what, status, { ...always, contentType: 'application/json', body });
}

function refusal(registry: FakeRegistry, status: number, code = 'DENIED'): object {
  return {
    status: code === 'DENIED' ? 403 : 404,
    code,
    message: `${UPSTREAM}: ${registry.host} answered ${status}: POLICY: ${POLICY.trim()}`,
    detail: { upstream: UPSTREAM, fault: 'refused', upstreamStatus: status },
  };
}

for (const status of [400, 402, 405, 406, 409, 412, 416, 418, 422, 451]) {
  test(`${status} of a manifest, blob or list is 403 in the upstream's words, no outage, and not remembered`, async (t) => {
    const { registry, mirror, image, manifest, blob, ask } = await startScene(t, {
      tags: { negativeTtlMs: HOUR },
    });
    refuse(registry, new RegExp(`^/v2/${REPOSITORY}/`), status);
    const list = `/v2/${REPOSITORY}/tags/list`;
    const digest = image.manifest.digest;
    const answers = [
      await manifest('latest'),
      await manifest(digest),
      await blob(image.layer(0)),
      await ask(list),
    ];
    for (const answer of answers) t.deepEqual(refusalOf(answer), refusal(registry, status));
    for (const reference of ['latest', digest]) {
      t.is((await manifest(reference, { method: 'HEAD' })).status, 403);
    }
    t.is((await blob(image.layer(0), { method: 'HEAD' })).status, 403);
    t.is((await ask(list, { method: 'HEAD' })).status, 403);
    t.deepEqual(mirror.server.activity().questions, 0);
    registry.heal();
    t.is((await manifest(digest)).status, 200);
    t.is((await manifest('latest')).status, 200);
    t.is((await blob(image.layer(0))).status, 200);
    t.is((await ask(list)).status, 200);
    t.false(mirror.log.some(({ msg }) => msg === 'the upstream is down'));
  });
}

test('a refused HEAD is asked for its words by GET once, and a held tag stands in as after a 403', async (t) => {
  const { registry, manifest } = await startScene(t);
  await manifest('latest');
  registry.clear();
  refuse(registry, 'latest', 451);
  const held = await manifest('latest');
  t.is(held.status, 200);
  t.is(held.headers['cache-status'], 'entrepot; hit; detail=stale');
  t.true(held.headers['warning']?.includes(POLICY.slice(0, 60)));
  t.deepEqual(registry.conversation(), [
    `HEAD /v2/${REPOSITORY}/manifests/latest`,
    `GET /v2/${REPOSITORY}/manifests/latest`,
  ]);
});

test('referrers that a policy refuses are refused too; where a router refuses the path, the tag tells', async (t) => {
  const { registry, image, ask } = await startScene(t);
  const path = `/v2/${REPOSITORY}/referrers/${image.manifest.digest}`;
  refuse(registry, /referrers/, 451);
  t.deepEqual(refusalOf(await ask(path)), refusal(registry, 451));
  registry.heal();
  refuse(registry, /referrers/, 400);
  t.is((await ask(path)).status, 200);
});

test('410 is an absence in words: 404, remembered as one, and a held tag is gone', async (t) => {
  const { registry, image, clock, manifest, blob, ask } = await startScene(t, {
    tags: { negativeTtlMs: HOUR },
  });
  await manifest('latest');
  refuse(registry, new RegExp(`^/v2/${REPOSITORY}/`), 410);
  t.deepEqual(refusalOf(await manifest('latest')), refusal(registry, 410, 'MANIFEST_UNKNOWN'));
  t.deepEqual(refusalOf(await manifest('other')), refusal(registry, 410, 'MANIFEST_UNKNOWN'));
  t.deepEqual(refusalOf(await blob(image.layer(0))), refusal(registry, 410, 'BLOB_UNKNOWN'));
  const list = await ask(`/v2/${REPOSITORY}/tags/list`);
  t.deepEqual(refusalOf(list), refusal(registry, 410, 'NAME_UNKNOWN'));
  registry.clear();
  for (const tag of ['latest', 'other']) {
    t.deepEqual(refusalOf(await manifest(tag)), refusal(registry, 410, 'MANIFEST_UNKNOWN'));
    t.is((await manifest(tag, { method: 'HEAD' })).status, 404);
  }
  t.deepEqual(refusalOf(await blob(image.layer(0))), refusal(registry, 410, 'BLOB_UNKNOWN'));
  t.is((await blob(image.layer(0), { method: 'HEAD' })).status, 404);
  t.deepEqual(registry.conversation(), []);
  for (const method of ['HEAD', 'GET'] as const) {
    const { digest } = buildImage({ seed: method, layers: [] }).manifest;
    t.is((await manifest(digest, { method })).status, 404);
    registry.clear();
    t.deepEqual(refusalOf(await manifest(digest)), refusal(registry, 410, 'MANIFEST_UNKNOWN'));
    t.deepEqual(registry.conversation(), []);
  }
  clock.advance(2 * HOUR);
  await registry.refuse();
  t.is((await manifest('latest')).status, 404);
});

for (const status of [412, 451, 410]) {
  test(`all who wait for an answer of ${status} hear the same words, without a secret`, async (t) => {
    const { registry, manifest, blob, image } = await startScene(t);
    const secret = `token=${'S3cr3t'.repeat(4)}`;
    const body = JSON.stringify({ errors: [{ code: 'POLICY', message: `no, see /x?${secret}` }] });
    const gate = registry.hold(({ method }) => method === 'GET', { before: 'headers' });
    registry.status(/./, status, { ...always, contentType: 'application/json', body });
    const asking = [1, 2, 3].map(async () => manifest('latest'));
    const blobs = [1, 2, 3].map(async () => blob(image.layer(0)));
    await gate.arrived();
    gate.open();
    for (const wanted of [asking, blobs]) {
      const answers = (await Promise.all(wanted)).map(refusalOf);
      t.is(new Set(answers.map((answer) => JSON.stringify(answer))).size, 1);
      const message = String(answers[0]?.['message']);
      t.true(message.includes(`answered ${status}: POLICY: no, see /x?`), message);
      t.false(message.includes('S3cr3t'), message);
    }
  });
}

for (const [form, contentType, body] of [
  [
    'a problem document',
    'application/problem+json',
    '{"title":"No","detail":"not in this country"}',
  ],
  ['a message alone', 'application/json', '{"message":"not in this country"}'],
] as const) {
  test(`words of an upstream in ${form} reach the client, those of a page do not`, async (t) => {
    const { registry, manifest } = await startScene(t);
    registry.status(/manifests/, 451, { ...always, contentType, body });
    const { message } = refusalOf(await manifest('latest'));
    t.is(message, `${UPSTREAM}: ${registry.host} answered 451: not in this country`);
    registry.heal();
    registry.status(/manifests/, 451, { ...always, contentType: 'text/html', body: '<p>no</p>' });
    const page = refusalOf(await manifest('latest'));
    t.is(page['message'], `${UPSTREAM}: ${registry.host} answered 451`);
  });
}

/** A mirror that has this one as its upstream. */
async function child(t: ExecutionContext, url: string): Promise<string> {
  const upstreams = { parent: { url, namespace: UPSTREAM } };
  return (await startMirror(t, { upstreams, clock: new Clock() })).url;
}

test('through a parent mirror a refusal keeps its meaning and its words', async (t) => {
  const { registry, mirror, image } = await startScene(t);
  const url = await child(t, mirror.url);
  refuse(registry, new RegExp(`^/v2/${REPOSITORY}/`), 412);
  const paths = ['manifests/latest', `blobs/${image.layer(0).digest}`, 'tags/list'];
  for (const path of paths) {
    const answer = await get(`${url}/v2/${REPOSITORY}/${path}`);
    const { status, message } = refusalOf(answer);
    t.is(status, 403, path);
    t.true(String(message).includes(`answered 412: POLICY: ${POLICY.trim()}`), String(message));
  }
  const { status } = await get(`${url}/v2/${REPOSITORY}/manifests/latest`, { method: 'HEAD' });
  t.is(status, 403);
});

test('a platform that nobody pulled is said by name while the upstream is stopped', async (t) => {
  const { registry, manifest } = await startScene(t);
  const [amd, arm] = ['amd', 'arm'].map((seed) => buildImage({ seed, layers: [10] }));
  const index = buildIndex([
    { image: amd!, platform: { os: 'linux', architecture: 'amd64' } },
    { image: arm!, platform: { os: 'linux', architecture: 'arm64', variant: 'v8' } },
  ]);
  registry.addIndex(REPOSITORY, 'multi', index);
  t.is((await manifest('multi')).status, 200);
  const digest = arm!.manifest.digest;
  const without = `; ${UPSTREAM}/${REPOSITORY} is mirrored here without linux/arm64/v8`;
  registry.clear();
  registry.status(digest, 500, always);
  const { code, message } = refusalOf(await manifest(digest));
  t.is(code, 'UNAVAILABLE');
  t.is(message, `${UPSTREAM}: ${registry.host} answered 500: UNKNOWN: unknown${without}`);
  await registry.refuse();
  const away = await manifest(digest);
  t.is(away.status, 502);
  t.true(String(refusalOf(away)['message']).endsWith(`(ECONNREFUSED)${without}`));
  t.is((await manifest(digest, { method: 'HEAD' })).status, 502);
  const unlisted = await manifest(`sha256:${'0'.repeat(64)}`);
  t.false(unlisted.body.includes('is mirrored here without'));
});
