import { createHash } from 'node:crypto';
import { Worker } from 'node:worker_threads';
import { gunzipSync } from 'node:zlib';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { createCertificates } from './certificate.ts';
import { TruncatedError, get, open, rawRequest } from './client.ts';
import type { ClientAnswer, GetOptions } from './client.ts';
import { FakeRegistry } from './fake-registry.ts';
import type { FakeRegistryOptions } from './fake-registry.ts';
import { Gate } from './gate.ts';
import { MEDIA_TYPES, buildImage, buildIndex, randomBytes } from './image.ts';
import type { Image, Stored } from './image.ts';

interface World {
  readonly registry: FakeRegistry;
  readonly image: Image;
  readonly layer: Stored;
  readonly manifestUrl: string;
  readonly layerUrl: string;
}

async function start(t: ExecutionContext, options: FakeRegistryOptions = {}): Promise<World> {
  const registry = await FakeRegistry.start(t, options);
  const image = buildImage({ seed: 1, layers: [1000, 2000] });
  registry.addImage('library/app', 'latest', image, { name: 'app' });
  const layer = image.layer(0);
  return {
    registry,
    image,
    layer,
    manifestUrl: `${registry.url}/v2/library/app/manifests/latest`,
    layerUrl: `${registry.url}/v2/library/app/blobs/${layer.digest}`,
  };
}

function ranged(range: string, headers: Record<string, string> = {}): GetOptions {
  return { headers: { Range: range, ...headers } };
}

function json(answer: ClientAnswer): unknown {
  return JSON.parse(answer.body.toString());
}

function errorCode(answer: ClientAnswer): string | undefined {
  return (json(answer) as { errors: { code: string }[] }).errors[0]?.code;
}

function location(answer: ClientAnswer): string {
  return answer.headers.location ?? '';
}

async function truncated(t: ExecutionContext, running: Promise<unknown>): Promise<TruncatedError> {
  return t.throwsAsync(running, { instanceOf: TruncatedError });
}

// Generated content

test('the same seed gives the same bytes, another seed others', (t) => {
  t.deepEqual(randomBytes(7, 1000), randomBytes(7, 1000));
  t.deepEqual(randomBytes(7, 1000).subarray(0, 10), randomBytes(7, 10));
  t.notDeepEqual(randomBytes(7, 1000), randomBytes(8, 1000));
  t.is(
    buildImage({ seed: 1, layers: [5] }).manifest.digest,
    buildImage({ seed: 1, layers: [5] }).manifest.digest,
  );
});

test('a manifest that is serialised again is another manifest', (t) => {
  const { manifest } = buildImage({ seed: 1, layers: [5] });
  const again = JSON.parse(manifest.bytes.toString()) as unknown;
  for (const space of [undefined, 2, 3, '\t']) {
    t.not(JSON.stringify(again, null, space), manifest.bytes.toString().trim());
  }
});

test('digests and sizes in a manifest and in an index are those of the content', (t) => {
  const image = buildImage({ seed: 1, layers: [10, 20], docker: true });
  const { layers, mediaType } = JSON.parse(image.manifest.bytes.toString()) as {
    layers: { digest: string; size: number }[];
    mediaType: string;
  };
  t.is(mediaType, image.manifest.mediaType);
  t.deepEqual(
    layers.map(({ digest, size }) => [digest, size]),
    image.layers.map(({ bytes }) => [
      `sha256:${createHash('sha256').update(bytes).digest('hex')}`,
      bytes.length,
    ]),
  );
  const index = buildIndex([{ image, platform: { os: 'linux', architecture: 'arm64' } }]);
  const { manifests } = JSON.parse(index.manifest.bytes.toString()) as { manifests: unknown };
  t.deepEqual(manifests, [
    {
      mediaType: image.manifest.mediaType,
      digest: image.manifest.digest,
      size: image.manifest.size,
      platform: { os: 'linux', architecture: 'arm64' },
    },
  ]);
});

// Gates

test('a gate tells how many wait at it and lets all of them go', async (t) => {
  const gate = new Gate();
  const passed = Promise.all([gate.pass(), gate.pass()]);
  await gate.arrived(2);
  t.is(gate.waiting, 2);
  gate.open();
  await passed;
  await gate.pass();
  t.is(gate.waiting, 0);
});

test('a waiter that goes away leaves the gate', async (t) => {
  const gate = new Gate();
  await gate.pass(Promise.resolve());
  t.is(gate.waiting, 0);
  t.false(gate.isOpen);
});

// Content

test('the request record has what the mirror sent and what it was answered', async (t) => {
  const { registry, layerUrl } = await start(t);
  await get(layerUrl, ranged('bytes=5-9', { Accept: 'a/b', 'User-Agent': 'tester/1' }));
  const [request] = registry.requests;
  t.is(await request?.finished, 'complete');
  t.like(request, {
    origin: 'registry',
    method: 'GET',
    range: 'bytes=5-9',
    accept: 'a/b',
    userAgent: 'tester/1',
    authorization: 'none',
    status: 206,
    bytesSent: 5,
  });
  t.is(registry.connections, 1);
});

test('a manifest whose type is not accepted is 404', async (t) => {
  const { manifestUrl } = await start(t);
  t.is((await get(manifestUrl, { headers: { Accept: MEDIA_TYPES.index } })).status, 404);
  const both = `${MEDIA_TYPES.index}, ${MEDIA_TYPES.manifest};q=0.5`;
  t.is((await get(manifestUrl, { headers: { Accept: both } })).status, 200);
});

test('If-Range with another entity tag gets everything', async (t) => {
  const { layer, layerUrl } = await start(t);
  const other = await get(layerUrl, ranged('bytes=5-9', { 'If-Range': '"other"' }));
  t.is(other.status, 200);
  const same = await get(layerUrl, ranged('bytes=5-9', { 'If-Range': `"${layer.digest}"` }));
  t.is(same.status, 206);
});

test('a repository without tags lists null, the catalog lists repositories', async (t) => {
  const { registry, image } = await start(t);
  registry.addManifest('untagged', image.manifest);
  t.deepEqual(json(await get(`${registry.url}/v2/untagged/tags/list`)), {
    name: 'untagged',
    tags: null,
  });
  t.deepEqual(json(await get(`${registry.url}/v2/_catalog`)), {
    repositories: ['library/app', 'untagged'],
  });
});

test('a referrers API can also lead to a sign-in page', async (t) => {
  const { registry, image } = await start(t, { referrers: 'html' });
  const url = `${registry.url}/v2/library/app/referrers/${image.manifest.digest}`;
  const answer = await get(url);
  t.is(answer.status, 302);
  const page = await get(new URL(location(answer), url));
  t.is(page.headers['content-type'], 'text/html; charset=utf-8');
});

test('an index brings its images along', async (t) => {
  const { registry, image } = await start(t);
  const index = buildIndex([{ image, platform: { os: 'linux', architecture: 'amd64' } }]);
  registry.addIndex('multi', 'v1', index, { name: 'multi' });
  t.deepEqual((await get(`${registry.url}/v2/multi/manifests/v1`)).body, index.manifest.bytes);
  await get(`${registry.url}/v2/multi/manifests/${image.manifest.digest}`);
  t.is(registry.conversation().at(-1), 'GET /v2/multi/manifests/<multi.0>');
});

// Redirects

test('a redirected blob comes from the storage origin, in ranges too', async (t) => {
  const { registry, layer, layerUrl } = await start(t, { redirectBlobs: 307 });
  const answer = await get(layerUrl);
  t.is(answer.status, 307);
  t.not(new URL(location(answer)).host, registry.host);
  t.deepEqual((await get(location(answer))).body, layer.bytes);
  const part = await get(location(answer), ranged('bytes=10-19'));
  t.deepEqual(part.body, layer.bytes.subarray(10, 20));
  t.is((await get(layerUrl, { method: 'HEAD' })).status, 200);
  t.deepEqual(registry.conversation(), [
    'GET /v2/library/app/blobs/<app.layer0>',
    'GET storage /blobs/<app.layer0>',
    'GET storage /blobs/<app.layer0> bytes=10-19',
    'HEAD /v2/library/app/blobs/<app.layer0>',
  ]);
});

test('storage refuses a second way to authenticate, a wrong signature and an expired one', async (t) => {
  const { registry, layerUrl } = await start(t, { redirectBlobs: 302 });
  const address = location(await get(layerUrl));
  const twice = await get(address, { headers: { Authorization: 'Bearer x' } });
  t.is(twice.status, 400);
  t.is(twice.headers['content-type'], 'application/xml');
  t.is((await get(address.replace('signature-', 'forged-'))).status, 403);
  t.is((await get(address)).status, 200);
  registry.expireSignatures();
  t.is((await get(address)).status, 403);
});

test('manifests can be redirected too', async (t) => {
  const { image, manifestUrl } = await start(t, { redirectManifests: 307 });
  const answer = await get(manifestUrl, { method: 'HEAD' });
  t.is(answer.status, 307);
  const manifest = await get(location(answer));
  t.is(manifest.headers['content-type'], MEDIA_TYPES.manifest);
  t.deepEqual(manifest.body, image.manifest.bytes);
});

test('a fault on redirected content meets the storage origin, and the redirect when asked to', async (t) => {
  const { registry, layer, layerUrl } = await start(t, { redirectBlobs: 307 });
  registry.cut(layer, { after: 100 });
  const address = location(await get(layerUrl));
  t.is((await truncated(t, get(address))).received.length, 100);
  registry.status((request) => request.path.includes(layer.digest), 503, { origin: 'registry' });
  t.is((await get(layerUrl)).status, 503);
});

// Authentication

const bearer = { kind: 'bearer', username: 'ann', password: 'secret' } as const;

async function fetchToken(registry: FakeRegistry, options: GetOptions = {}): Promise<GetOptions> {
  const scope = 'repository:library/app:pull';
  const answer = await get(`${registry.url}/token?service=fake-registry&scope=${scope}`, options);
  const { token } = json(answer) as { token: string };
  return { headers: { Authorization: `Bearer ${token}` } };
}

test('an anonymous token without rights is issued and then insufficient', async (t) => {
  const { registry, manifestUrl } = await start(t, { auth: bearer });
  const answer = await get(manifestUrl, await fetchToken(registry));
  t.is(answer.status, 401);
  t.regex(answer.headers['www-authenticate'] ?? '', /error="insufficient_scope"$/);
});

test('anonymous tokens reach what is not private', async (t) => {
  const auth = { ...bearer, anonymous: true, private: ['library/app'] };
  const { registry, image, manifestUrl } = await start(t, { auth });
  registry.addImage('open', 'v1', image);
  t.is((await get(manifestUrl, await fetchToken(registry))).status, 401);
  const token = await get(`${registry.url}/token?service=fake-registry&scope=repository:open:pull`);
  const headers = { Authorization: `Bearer ${(json(token) as { token: string }).token}` };
  t.is((await get(`${registry.url}/v2/open/manifests/v1`, { headers })).status, 200);
});

test('a token endpoint can refuse by itself', async (t) => {
  const { registry } = await start(t, { auth: { ...bearer, refuses: 'token' } });
  t.is((await get(`${registry.url}/token?scope=repository:library/app:pull`)).status, 401);
});

test('a missing repository can hide behind 401', async (t) => {
  const { registry } = await start(t, { auth: { kind: 'bearer', hidesMissing: true } });
  const token = await fetchToken(registry);
  t.is((await get(`${registry.url}/v2/library/nope/manifests/latest`, token)).status, 401);
});

test('a token of another scope, an expired one and a revoked one are refused', async (t) => {
  let now = 0;
  const auth = { kind: 'bearer', expiresIn: 60 } as const;
  const { registry, image, manifestUrl } = await start(t, { auth, now: () => now });
  registry.addImage('other', 'v1', image);
  const token = await fetchToken(registry);
  t.is((await get(`${registry.url}/v2/other/manifests/v1`, token)).status, 401);
  t.is((await get(manifestUrl, token)).status, 200);
  now = 60_000;
  const expired = await get(manifestUrl, token);
  t.is(expired.status, 401);
  t.regex(expired.headers['www-authenticate'] ?? '', /error="invalid_token"$/);
  const fresh = await fetchToken(registry);
  registry.revokeTokens();
  t.is((await get(manifestUrl, fresh)).status, 401);
  t.is(registry.requests.at(-1)?.authorization, 'bearer:unknown');
});

test('expires_in can be left out, and a token for another service is worth nothing', async (t) => {
  const { registry, manifestUrl } = await start(t, { auth: { kind: 'bearer', expiresIn: null } });
  const scope = 'scope=repository:library/app:pull';
  const answer = await get(`${registry.url}/token?service=elsewhere&${scope}`);
  const { token, ...rest } = json(answer) as { token: string };
  t.deepEqual(Object.keys(rest), ['access_token']);
  const headers = { Authorization: `Bearer ${token}` };
  t.is((await get(manifestUrl, { headers })).status, 401);
});

test('the realm can be another host, or anything', async (t) => {
  const { registry, manifestUrl } = await start(t, {
    auth: { kind: 'bearer', realmHost: 'localhost' },
  });
  const challenge = (await get(manifestUrl)).headers['www-authenticate'] ?? '';
  const realm = /realm="([^"]+)"/.exec(challenge)?.[1] ?? '';
  t.regex(realm, /^http:\/\/localhost:\d+\/token$/);
  t.is((await get(realm)).status, 200);
  t.is(registry.requests.at(-1)?.origin, 'token');
  const evil = await start(t, { auth: { kind: 'bearer', realm: 'https://evil.invalid/t' } });
  const other = await get(evil.manifestUrl);
  t.regex(other.headers['www-authenticate'] ?? '', /realm="https:\/\/evil\.invalid\/t"/);
});

test('a fault on content does not meet the challenge on the way to it', async (t) => {
  const { registry, manifestUrl } = await start(t, { auth: { kind: 'bearer' } });
  registry.status('latest', 500);
  t.is((await get(manifestUrl)).status, 401);
  t.is((await get(manifestUrl, await fetchToken(registry))).status, 500);
});

test('a fault on a path meets also the token endpoint', async (t) => {
  const { registry } = await start(t, { auth: { kind: 'bearer' } });
  registry.status('/token', 503, { body: '<h1>busy</h1>', contentType: 'text/html' });
  const answer = await get(`${registry.url}/token`);
  t.is(answer.status, 503);
  t.is(answer.headers['content-type'], 'text/html');
  t.is(answer.body.toString(), '<h1>busy</h1>');
});

// Faults

test('hold keeps the headers back until the gate opens', async (t) => {
  const { registry, layer, layerUrl } = await start(t);
  const gate = registry.hold(layer);
  const answer = get(layerUrl);
  await gate.arrived();
  t.is(registry.requests[0]?.status, undefined);
  gate.open();
  t.deepEqual((await answer).body, layer.bytes);
  t.is((await get(layerUrl)).status, 200);
});

test('hold keeps back the bytes after the first ten', async (t) => {
  const { registry, layer, layerUrl } = await start(t);
  const gate = registry.hold(layer, { after: 10 });
  const answer = await open(layerUrl);
  await gate.arrived();
  t.deepEqual(await answer.read(10), layer.bytes.subarray(0, 10));
  t.is(registry.requests[0]?.bytesSent, 10);
  gate.open();
  t.deepEqual(await answer.rest(), layer.bytes.subarray(10));
});

test('a hold for good counts all who wait', async (t) => {
  const { registry, layer, layerUrl } = await start(t);
  const gate = registry.hold(layer, { times: Infinity });
  const answers = Promise.all([get(layerUrl), get(layerUrl), get(layerUrl)]);
  await gate.arrived(3);
  gate.open();
  t.is((await answers).length, 3);
});

test('a client that leaves is seen, and leaves the gate', async (t) => {
  const { registry, layer, layerUrl } = await start(t);
  const gate = registry.hold(layer, { after: 10 });
  const answer = await open(layerUrl);
  await gate.arrived();
  answer.destroy();
  t.is(await registry.requests[0]?.finished, 'aborted');
  await answer.closed;
  t.is(gate.waiting, 0);
});

test('cut sends exactly so many bytes, and Range gets the rest', async (t) => {
  const { registry, layer, layerUrl } = await start(t);
  registry.cut(layer, { after: 300 });
  const error = await truncated(t, get(layerUrl));
  t.deepEqual(error.received, layer.bytes.subarray(0, 300));
  t.is(error.status, 200);
  t.is(error.headers['content-length'], '1000');
  t.deepEqual((await get(layerUrl, ranged('bytes=300-'))).body, layer.bytes.subarray(300));
  t.like(registry.requests[0], { bytesSent: 300, status: 200 });
  t.is(await registry.requests[0]?.finished, 'aborted');
});

test('cut can come before any answer', async (t) => {
  const { registry, layer, layerUrl } = await start(t);
  registry.cut(layer, { after: 'request', method: 'HEAD' });
  await t.throwsAsync(get(layerUrl, { method: 'HEAD' }), { code: 'ECONNRESET' });
  t.is((await get(layerUrl, { method: 'HEAD' })).status, 200);
});

test('a hold and a cut can meet the same answer', async (t) => {
  const { registry, layer, layerUrl } = await start(t);
  const gate = registry.hold(layer, { after: 10 });
  registry.cut(layer, { after: 20 });
  const answer = await open(layerUrl);
  await gate.arrived();
  gate.open();
  t.is((await truncated(t, answer.rest())).received.length, 20);
});

test('failures are met one by one in the order given, and a HEAD meets none of the body', async (t) => {
  const { registry, layer, layerUrl } = await start(t);
  registry.cut(layer, { after: 1, times: 2 });
  registry.status(layer, 500);
  registry.cut(layer, { after: 2 });
  t.is((await get(layerUrl, { method: 'HEAD' })).status, 500);
  const received: number[] = [];
  for (let count = 0; count < 3; count++) {
    received.push((await truncated(t, get(layerUrl))).received.length);
  }
  t.deepEqual(received, [1, 1, 2]);
  t.is((await get(layerUrl)).status, 200);
});

test('a fault for good lasts until heal', async (t) => {
  const { registry, manifestUrl } = await start(t);
  registry.status('library/app:latest', 500, { times: Infinity });
  t.is((await get(manifestUrl)).status, 500);
  t.is((await get(manifestUrl)).status, 500);
  registry.heal();
  t.is((await get(manifestUrl)).status, 200);
});

test('a digest means a manifest also when a tag asks for it; another tag is not meant', async (t) => {
  const { registry, image, manifestUrl } = await start(t);
  registry.status('v1', 500);
  t.is((await get(manifestUrl)).status, 200);
  registry.status(image.manifest.digest, 502);
  t.is((await get(manifestUrl)).status, 502);
});

test('status carries headers, and an error that fits', async (t) => {
  const { registry, manifestUrl } = await start(t);
  registry.status('latest', 429, { headers: { 'Retry-After': '7' } });
  const answer = await get(manifestUrl);
  t.is(answer.headers['retry-after'], '7');
  t.is(errorCode(answer), 'TOOMANYREQUESTS');
  registry.status('latest', 200, { body: '<html>', contentType: 'text/html' });
  const page = await get(manifestUrl);
  t.is(page.status, 200);
  t.is(page.headers['content-length'], '6');
  t.is(page.headers['docker-content-digest'], undefined);
});

test('corrupt changes one byte, also within a range, and passes by ranges without it', async (t) => {
  const { registry, layer, layerUrl } = await start(t);
  const wrong = Buffer.from(layer.bytes);
  wrong[500] = (wrong[500] ?? 0) ^ 0xff;
  registry.corrupt(layer, { at: 500, times: 2 });
  const other = await get(layerUrl, ranged('bytes=0-499'));
  t.deepEqual(other.body, layer.bytes.subarray(0, 500));
  t.deepEqual((await get(layerUrl)).body, wrong);
  t.deepEqual((await get(layerUrl, ranged('bytes=400-599'))).body, wrong.subarray(400, 600));
  t.deepEqual((await get(layerUrl)).body, layer.bytes);
});

test('stall sends some bytes and keeps the connection', async (t) => {
  const { registry, layer, layerUrl } = await start(t);
  const gate = registry.stall(layer, { after: 100 });
  const answer = await open(layerUrl);
  t.deepEqual(await answer.read(100), layer.bytes.subarray(0, 100));
  await gate.arrived();
  t.is(registry.openSockets, 1);
  answer.destroy();
});

test('lieLength promises too much and ends early, or too little and truncates', async (t) => {
  const { registry, layer, layerUrl } = await start(t);
  registry.lieLength(layer, 50);
  const error = await truncated(t, get(layerUrl));
  t.is(error.headers['content-length'], '1050');
  t.deepEqual(error.received, layer.bytes);
  registry.lieLength(layer, -50);
  t.deepEqual((await get(layerUrl)).body, layer.bytes.subarray(0, 950));
  registry.lieLength(layer, 1, { method: 'HEAD' });
  const head = await get(layerUrl, { method: 'HEAD' });
  t.is(head.headers['content-length'], '1001');
});

test('ignoreRange answers 200 with everything, and waits for a Range request', async (t) => {
  const { registry, layer, layerUrl } = await start(t);
  registry.ignoreRange(layer);
  t.is((await get(layerUrl)).status, 200);
  const answer = await get(layerUrl, ranged('bytes=500-'));
  t.is(answer.status, 200);
  t.deepEqual(answer.body, layer.bytes);
  t.is((await get(layerUrl, ranged('bytes=500-'))).status, 206);
});

test('wrongRange answers with another range and says so', async (t) => {
  const { registry, layer, layerUrl } = await start(t);
  registry.wrongRange(layer, { shift: -100 });
  const answer = await get(layerUrl, ranged('bytes=500-599'));
  t.is(answer.headers['content-range'], 'bytes 400-499/1000');
  t.deepEqual(answer.body, layer.bytes.subarray(400, 500));
});

test('omitHeaders leaves headers out; without a length the body comes in chunks', async (t) => {
  const { registry, layer, layerUrl } = await start(t);
  registry.omitHeaders(layer, ['Content-Length', 'Docker-Content-Digest']);
  const answer = await get(layerUrl);
  t.is(answer.headers['content-length'], undefined);
  t.is(answer.headers['docker-content-digest'], undefined);
  t.is(answer.headers['transfer-encoding'], 'chunked');
  t.deepEqual(answer.body, layer.bytes);
});

test('a body in chunks that is cut is seen as cut', async (t) => {
  const { registry, layer, layerUrl } = await start(t);
  registry.omitHeaders(layer, ['Content-Length']);
  registry.cut(layer, { after: 400 });
  t.is((await truncated(t, get(layerUrl))).received.length, 400);
});

test('contentType replaces the type, on HEAD too', async (t) => {
  const { registry, manifestUrl } = await start(t);
  registry.contentType('latest', 'text/plain; charset=utf-8', { times: 2 });
  for (const method of ['HEAD', 'GET']) {
    const answer = await get(manifestUrl, { method });
    t.is(answer.headers['content-type'], 'text/plain; charset=utf-8');
  }
  t.is((await get(manifestUrl)).headers['content-type'], MEDIA_TYPES.manifest);
});

test('encode compresses what nobody wanted compressed', async (t) => {
  const { registry, image, manifestUrl } = await start(t);
  registry.encode('latest', 'gzip');
  const answer = await get(manifestUrl);
  t.is(answer.headers['content-encoding'], 'gzip');
  t.deepEqual(gunzipSync(answer.body), image.manifest.bytes);
});

test('seen resolves when the request arrives', async (t) => {
  const { registry, layer, layerUrl } = await start(t);
  const gate = registry.hang(layer);
  const answer = get(layerUrl);
  const [request] = await registry.seen(layer);
  t.is(request?.method, 'GET');
  gate.open();
  await answer;
});

// The whole upstream

test('refuse destroys connections and refuses new ones, accept comes back on the same port', async (t) => {
  const { registry, layer, layerUrl } = await start(t);
  const gate = registry.stall(layer, { after: 10 });
  const answer = await open(layerUrl);
  await gate.arrived();
  await registry.refuse();
  await truncated(t, answer.rest());
  await t.throwsAsync(get(layerUrl), { code: 'ECONNREFUSED' });
  t.is(registry.connections, 1);
  t.is(registry.openSockets, 0);
  await registry.accept();
  t.deepEqual((await get(layerUrl)).body, layer.bytes);
});

/** A process that starts has a copy of whatever listens here until its program runs. */
const STARTS_PROCESSES = `
  const { spawn } = require('node:child_process');
  const again = () => spawn('true').once('exit', again);
  again();
`;

test('a registry refuses and comes back whatever processes another thread starts meanwhile', async (t) => {
  const { registry, layer, layerUrl } = await start(t);
  const worker = new Worker(STARTS_PROCESSES, { eval: true });
  t.teardown(async () => worker.terminate());
  for (let turn = 0; turn < 50; turn += 1) {
    await registry.refuse();
    await t.throwsAsync(get(layerUrl), { code: 'ECONNREFUSED' });
    await registry.accept();
    t.deepEqual((await get(layerUrl)).body, layer.bytes);
  }
});

test('drop accepts and destroys', async (t) => {
  const { registry, layerUrl } = await start(t);
  registry.drop();
  await t.throwsAsync(get(layerUrl), { code: 'ECONNRESET' });
  t.is(registry.connections, 1);
  t.deepEqual(registry.conversation(), []);
  await registry.accept();
  t.is((await get(layerUrl)).status, 200);
});

test('a large blob waits for a client that does not read', async (t) => {
  const { registry } = await start(t);
  const size = 64 * 1024 * 1024;
  const blob = registry.addBlob('big', randomBytes('big', size));
  const answer = await open(`${registry.url}/v2/big/blobs/${blob.digest}`);
  t.is((await answer.read(1000)).length, 1000);
  answer.pause();
  t.true(registry.bytesSent < size);
  const digest = createHash('sha256').update(blob.bytes.subarray(0, 1000));
  for (let left = size - 1000; left > 0;) {
    const part = await answer.read(Math.min(left, 1 << 20));
    digest.update(part);
    left -= part.length;
  }
  t.is(`sha256:${digest.digest('hex')}`, blob.digest);
  t.is(registry.bytesSent, size);
});

test('two registries can have two host names', async (t) => {
  const { registry, manifestUrl } = await start(t, { host: 'localhost' });
  t.regex(registry.host, /^localhost:\d+$/);
  t.is((await get(manifestUrl)).status, 200);
});

test('TLS, with and without client certificates', async (t) => {
  const { ca, server, client } = await createCertificates();
  const plain = await start(t, { tls: server });
  t.is((await get(plain.manifestUrl, { tls: { ca } })).status, 200);
  await t.throwsAsync(get(plain.manifestUrl));
  const strict = await start(t, { tls: { ...server, ca, requestClientCert: true } });
  t.is((await get(strict.manifestUrl, { tls: { ca, ...client } })).status, 200);
  t.is(strict.registry.requests[0]?.clientCertificate, 'test client');
  await t.throwsAsync(get(strict.manifestUrl, { tls: { ca } }));
});

// The raw client

test('raw bytes are answered as they are', async (t) => {
  const { registry } = await start(t);
  const port = Number(new URL(registry.url).port);
  const request = 'GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n';
  t.regex(await rawRequest(port, request), /^HTTP\/1\.1 200 OK\r\n[\s\S]*\r\n\r\n\{\}\n$/);
  t.regex(await rawRequest(port, 'nonsense\r\n\r\n'), /^HTTP\/1\.1 400 /);
});
