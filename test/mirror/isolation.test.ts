import { mock } from 'node:test';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { get, open, TruncatedError } from '../helpers/client.ts';
import { MINUTE, SECOND, type Clock } from '../helpers/clock.ts';
import { FakeRegistry, type FakeRegistryOptions } from '../helpers/fake-registry.ts';
import { buildImage, type Image, type Stored } from '../helpers/image.ts';
import { startMirror, type TestMirror } from '../helpers/mirror.ts';
import { idle, refusalOf, startScene, told, type Ask } from '../helpers/scene.ts';

const HTML = '<!doctype html><h1>Sign in</h1>';
const always = { times: Infinity };

interface House {
  /** The upstreams `one.example` and `two.example`. */
  readonly one: FakeRegistry;
  readonly two: FakeRegistry;
  readonly mirror: TestMirror;
  readonly ask: Ask;
}

async function startHouse(
  t: ExecutionContext,
  tags: { readonly ttlMs?: number } = {},
): Promise<House> {
  const one = await FakeRegistry.start(t);
  const two = await FakeRegistry.start(t);
  const mirror = await startMirror(t, {
    upstreams: { 'one.example': { url: one.url, tags }, 'two.example': { url: two.url, tags } },
  });
  return { one, two, mirror, ask: async (path, request) => get(`${mirror.url}${path}`, request) };
}

function manifestOf(upstream: string, repository: string, reference: string): string {
  return `/v2/${upstream}/${repository}/manifests/${reference}`;
}

function blobOf(upstream: string, repository: string, { digest }: Stored): string {
  return `/v2/${upstream}/${repository}/blobs/${digest}`;
}

// Two upstreams

test('the same repository and tag on two upstreams are two images', async (t) => {
  const { one, two, ask } = await startHouse(t, { ttlMs: MINUTE });
  const mine = buildImage({ seed: 'mine', layers: [10] });
  const theirs = buildImage({ seed: 'theirs', layers: [10] });
  one.addImage('team/app', 'latest', mine, { name: 'mine' });
  two.addImage('team/app', 'latest', theirs, { name: 'theirs' });
  const pulls = [
    ['one.example', mine],
    ['two.example', theirs],
    ['one.example', mine],
  ] as const;
  for (const [upstream, image] of pulls) {
    const answer = await ask(manifestOf(upstream, 'team/app', 'latest'));
    t.deepEqual(answer.body, image.manifest.bytes);
    t.is(answer.headers['oci-namespace'], upstream);
    const layer = await ask(blobOf(upstream, 'team/app', image.layer(0)));
    t.deepEqual(layer.body, image.layer(0).bytes);
  }
  t.deepEqual(one.conversation(), [
    'HEAD /v2/team/app/manifests/latest',
    'GET /v2/team/app/manifests/<mine>',
    'GET /v2/team/app/blobs/<mine.layer0>',
  ]);
  t.deepEqual(two.conversation(), [
    'HEAD /v2/team/app/manifests/latest',
    'GET /v2/team/app/manifests/<theirs>',
    'GET /v2/team/app/blobs/<theirs.layer0>',
  ]);
});

test('what one upstream does not have is not looked for on another', async (t) => {
  const { one, two, mirror, ask } = await startHouse(t);
  const theirs = buildImage({ seed: 'theirs', layers: [10] });
  one.addImage('team/other', 'latest', buildImage({ seed: 'other', layers: [10] }));
  two.addImage('team/app', 'latest', theirs, { name: 'theirs' });
  t.is((await ask(manifestOf('two.example', 'team/app', 'latest'))).status, 200);
  t.is((await ask(blobOf('two.example', 'team/app', theirs.layer(0)))).status, 200);
  await idle(mirror);
  two.clear();
  t.deepEqual(refusalOf(await ask(manifestOf('one.example', 'team/app', 'latest'))), {
    status: 404,
    code: 'MANIFEST_UNKNOWN',
    message: 'one.example has no manifest latest in team/app',
    detail: { upstream: 'one.example', reference: 'latest' },
  });
  const missing = await ask(blobOf('one.example', 'team/app', theirs.layer(0)));
  t.deepEqual(refusalOf(missing), {
    status: 404,
    code: 'BLOB_UNKNOWN',
    message: `one.example/team/app has no blob ${theirs.layer(0).digest}`,
    detail: { upstream: 'one.example', digest: theirs.layer(0).digest },
  });
  one.name(theirs.layer(0), 'theirs.layer0');
  t.deepEqual(one.conversation(), [
    'HEAD /v2/team/app/manifests/latest',
    'GET /v2/team/app/manifests/latest',
    'HEAD /v2/team/app/blobs/<theirs.layer0>',
  ]);
  t.deepEqual(two.conversation(), []);
});

test('with one upstream gone its tags are not taken from another', async (t) => {
  const { one, two, ask } = await startHouse(t);
  two.addImage('team/app', 'latest', buildImage({ seed: 'theirs', layers: [10] }));
  t.is((await ask(manifestOf('two.example', 'team/app', 'latest'))).status, 200);
  two.clear();
  await one.refuse();
  t.is((await ask(manifestOf('one.example', 'team/app', 'latest'))).status, 502);
  t.is((await ask('/v2/one.example/team/app/tags/list')).status, 502);
  t.deepEqual(two.conversation(), []);
});

test('a 404 of one upstream leaves what another one sent of a blob', async (t) => {
  const { one, two, mirror, ask } = await startHouse(t);
  const image = buildImage({ seed: 'app', layers: [300_000] });
  one.addImage('team/app', 'latest', image, { name: 'app' });
  two.addImage('team/app', 'latest', buildImage({ seed: 'other', layers: [10] }));
  const layer = image.layer(0);
  one.cut(layer, { after: 100_000 });
  one.status(layer, 403);
  await t.throwsAsync(ask(blobOf('one.example', 'team/app', layer)), {
    instanceOf: TruncatedError,
  });
  await idle(mirror);
  t.is((await ask(blobOf('two.example', 'team/app', layer))).status, 404);
  await idle(mirror);
  one.clear();
  t.deepEqual((await ask(blobOf('one.example', 'team/app', layer))).body, layer.bytes);
  t.deepEqual(one.conversation(), [`GET /v2/team/app/blobs/<app.layer0> bytes=100000-`]);
});

test('a 404 of one repository leaves what came of a blob through another one', async (t) => {
  const { one, mirror, ask } = await startHouse(t);
  const image = buildImage({ seed: 'app', layers: [300_000] });
  one.addImage('team/app', 'latest', image, { name: 'app' });
  one.addImage('team/other', 'latest', buildImage({ seed: 'other', layers: [10] }));
  const layer = image.layer(0);
  one.cut(layer, { after: 100_000 });
  one.status(layer, 403);
  await t.throwsAsync(ask(blobOf('one.example', 'team/app', layer)), {
    instanceOf: TruncatedError,
  });
  await idle(mirror);
  one.status(layer, 404);
  t.is((await ask(blobOf('one.example', 'team/other', layer))).status, 404);
  await idle(mirror);
  one.clear();
  t.deepEqual((await ask(blobOf('one.example', 'team/app', layer))).body, layer.bytes);
  t.deepEqual(one.conversation(), [`GET /v2/team/app/blobs/<app.layer0> bytes=100000-`]);
});

test('a 404 of one upstream is not believed of another', async (t) => {
  const one = await FakeRegistry.start(t);
  const two = await FakeRegistry.start(t);
  const image = buildImage({ seed: 'app', layers: [10] });
  two.addImage('team/app', 'latest', image);
  const tags = { negativeTtlMs: MINUTE };
  const mirror = await startMirror(t, {
    upstreams: { 'one.example': { url: one.url, tags }, 'two.example': { url: two.url, tags } },
  });
  const paths = [
    (upstream: string) => manifestOf(upstream, 'team/app', 'latest'),
    (upstream: string) => manifestOf(upstream, 'team/app', image.manifest.digest),
    (upstream: string) => blobOf(upstream, 'team/app', image.layer(0)),
  ];
  for (const path of paths) {
    t.is((await get(mirror.url + path('one.example'))).status, 404);
    t.is((await get(mirror.url + path('two.example'))).status, 200);
  }
});

// A private repository

interface Vault {
  readonly clock: Clock;
  readonly registry: FakeRegistry;
  readonly mirror: TestMirror;
  readonly secret: Image;
  readonly ask: Ask;
}

/** The image `team/private:latest` is held, and `team/public` exists beside it. */
async function startVault(t: ExecutionContext, options: FakeRegistryOptions = {}): Promise<Vault> {
  const { registry, mirror, ask, clock } = await startScene(t, { registry: options });
  const secret = buildImage({ seed: 'secret', layers: [1000] });
  registry.addImage('team/private', 'latest', secret, { name: 'secret' });
  registry.addImage('team/public', 'latest', buildImage({ seed: 'public', layers: [10] }));
  t.is((await ask('/v2/team/private/manifests/latest')).status, 200);
  for (const { digest } of secret.blobs) {
    t.is((await ask(`/v2/team/private/blobs/${digest}`)).status, 200);
  }
  await idle(mirror);
  registry.clear();
  return { registry, mirror, secret, ask, clock };
}

const REFUSALS: Record<string, { strike: (registry: FakeRegistry) => void; status: number }> = {
  'says 404': { strike: () => undefined, status: 404 },
  'says 401': { strike: (registry) => registry.status(/public/, 401, always), status: 403 },
  'says 403': { strike: (registry) => registry.status(/public/, 403, always), status: 403 },
  'limits the rate': { strike: (registry) => registry.status(/public/, 429, always), status: 429 },
  fails: { strike: (registry) => registry.status(/public/, 500, always), status: 502 },
  'answers a sign-in page with 200': {
    strike: (registry) =>
      registry.status(/public/, 200, { ...always, body: HTML, contentType: 'text/html' }),
    status: 502,
  },
  'redirects to a sign-in page': {
    strike: (registry) => {
      registry.status(/public/, 302, { ...always, headers: { Location: '/sign-in' } });
      registry.status('/sign-in', 200, { ...always, body: HTML, contentType: 'text/html' });
    },
    status: 502,
  },
};

for (const [claim, { strike, status }] of Object.entries(REFUSALS)) {
  for (const method of ['GET', 'HEAD']) {
    test(`${method} of a private blob through another repository is ${status} when the upstream ${claim}`, async (t) => {
      const { registry, secret, ask, clock } = await startVault(t);
      strike(registry);
      const answer = await ask(`/v2/team/public/blobs/${secret.layer(0).digest}`, { method });
      t.is(answer.status, status);
      t.false(answer.body.includes(secret.layer(0).bytes));
      registry.heal();
      clock.advance(MINUTE);
      const again = await ask(`/v2/team/public/blobs/${secret.layer(0).digest}`, { method });
      t.is(again.status, 404, 'and nothing was learnt from it');
    });

    test(`${method} of a private manifest through another repository is ${status} when the upstream ${claim}`, async (t) => {
      const { registry, secret, ask, clock } = await startVault(t);
      strike(registry);
      const answer = await ask(`/v2/team/public/manifests/${secret.manifest.digest}`, { method });
      t.is(answer.status, status);
      t.false(answer.body.includes(secret.config.digest));
      registry.heal();
      clock.advance(MINUTE);
      const again = await ask(`/v2/team/public/manifests/${secret.manifest.digest}`, { method });
      t.is(again.status, 404, 'and nothing was learnt from it');
    });
  }
}

test('a private blob that another repository does not have is 404 after one question', async (t) => {
  const { registry, secret, ask } = await startVault(t);
  t.deepEqual(refusalOf(await ask(`/v2/team/public/blobs/${secret.layer(0).digest}`)), {
    status: 404,
    code: 'BLOB_UNKNOWN',
    message: `hub.example/team/public has no blob ${secret.layer(0).digest}`,
    detail: { upstream: 'hub.example', digest: secret.layer(0).digest },
  });
  t.deepEqual(registry.conversation(), ['HEAD /v2/team/public/blobs/<secret.layer0>']);
});

test('HEAD of a private blob that another repository does not have is 404 after one question', async (t) => {
  const { registry, secret, ask } = await startVault(t);
  const path = `/v2/team/public/blobs/${secret.layer(0).digest}`;
  t.is((await ask(path, { method: 'HEAD' })).status, 404);
  t.deepEqual(registry.conversation(), ['HEAD /v2/team/public/blobs/<secret.layer0>']);
});

test('a private manifest that another repository does not have is 404 once GET has said so', async (t) => {
  const { registry, secret, ask } = await startVault(t);
  const answer = await ask(`/v2/team/public/manifests/${secret.manifest.digest}`);
  t.is(answer.status, 404);
  t.deepEqual(registry.conversation(), [
    'HEAD /v2/team/public/manifests/<secret>',
    'GET /v2/team/public/manifests/<secret>',
  ]);
});

test('a private image is still served through its own repository, with the upstream gone', async (t) => {
  const { registry, secret, ask } = await startVault(t);
  t.is((await ask(`/v2/team/public/blobs/${secret.layer(0).digest}`)).status, 404);
  await registry.refuse();
  t.is((await ask('/v2/team/private/manifests/latest')).status, 200);
  const answer = await ask(`/v2/team/private/blobs/${secret.layer(0).digest}`);
  t.deepEqual(answer.body, secret.layer(0).bytes);
});

test('a private blob is not served through another upstream', async (t) => {
  const { one, two, mirror, ask } = await startHouse(t);
  const secret = buildImage({ seed: 'secret', layers: [1000] });
  one.addImage('team/app', 'latest', secret);
  two.addImage('team/app', 'latest', buildImage({ seed: 'public', layers: [10] }));
  two.name(secret.layer(0), 'secret.layer0');
  two.name(secret.manifest, 'secret');
  t.is((await ask(manifestOf('one.example', 'team/app', 'latest'))).status, 200);
  t.is((await ask(blobOf('one.example', 'team/app', secret.layer(0)))).status, 200);
  await idle(mirror);
  t.is((await ask(blobOf('two.example', 'team/app', secret.layer(0)))).status, 404);
  t.is((await ask(manifestOf('two.example', 'team/app', secret.manifest.digest))).status, 404);
  await two.refuse();
  t.is((await ask(blobOf('two.example', 'team/app', secret.layer(0)))).status, 502);
  t.is((await ask(manifestOf('two.example', 'team/app', secret.manifest.digest))).status, 502);
});

test('a repository that needs a login stays closed although another one is open', async (t) => {
  const auth = { kind: 'bearer', private: ['team/private'] } as const;
  const { registry, mirror, ask, image } = await startScene(t, { registry: { auth } });
  registry.addImage('team/private', 'latest', image);
  t.is((await ask('/v2/library/app/manifests/latest')).status, 200);
  t.is((await ask(`/v2/library/app/blobs/${image.layer(0).digest}`)).status, 200);
  await idle(mirror);
  registry.clear();
  const blob = await ask(`/v2/team/private/blobs/${image.layer(0).digest}`);
  t.deepEqual(refusalOf(blob), {
    status: 403,
    code: 'DENIED',
    message: `hub.example: ${registry.host} refused access anonymously (401): UNAUTHORIZED: unauthorized`,
    detail: { upstream: 'hub.example', fault: 'unauthorized', upstreamStatus: 401 },
  });
  const manifest = await ask(`/v2/team/private/manifests/${image.manifest.digest}`);
  t.is(manifest.status, 403);
});

// What other repositories may read

test('a blob that the upstream shows to be in the other repository too is served without another GET', async (t) => {
  const { registry, secret, ask } = await startVault(t);
  registry.addBlob('team/public', secret.layer(0));
  const path = `/v2/team/public/blobs/${secret.layer(0).digest}`;
  const first = await ask(path);
  t.deepEqual(told(first), { status: 200, cache: 'entrepot; hit' });
  t.deepEqual(first.body, secret.layer(0).bytes);
  t.deepEqual(registry.conversation(), ['HEAD /v2/team/public/blobs/<secret.layer0>']);
  await registry.refuse();
  t.deepEqual((await ask(path)).body, secret.layer(0).bytes, 'and the proof is remembered');
});

test('HEAD of a blob held through another repository asks the upstream once', async (t) => {
  const { registry, secret, ask } = await startVault(t);
  registry.addBlob('team/public', secret.layer(0));
  const path = `/v2/team/public/blobs/${secret.layer(0).digest}`;
  const answer = await ask(path, { method: 'HEAD' });
  t.is(answer.status, 200);
  t.is(answer.headers['content-length'], '1000');
  t.is((await ask(path)).status, 200);
  t.deepEqual(registry.conversation(), ['HEAD /v2/team/public/blobs/<secret.layer0>']);
});

test('a manifest that the upstream shows to be in the other repository too is served without a GET', async (t) => {
  const { registry, secret, ask } = await startVault(t);
  registry.addImage('team/public', 'copy', secret);
  const answer = await ask('/v2/team/public/manifests/copy');
  t.deepEqual(answer.body, secret.manifest.bytes);
  t.is(answer.headers['content-type'], secret.manifest.mediaType);
  t.deepEqual(registry.conversation(), [
    'HEAD /v2/team/public/manifests/copy',
    'HEAD /v2/team/public/manifests/<secret>',
  ]);
});

test('a base layer listed by a manifest of the other repository is served while the upstream is down', async (t) => {
  const { registry, secret, ask } = await startVault(t);
  registry.addImage('team/public', 'based', secret, { name: 'secret' });
  t.is((await ask('/v2/team/public/manifests/based')).status, 200);
  registry.clear();
  await registry.refuse();
  const answer = await ask(`/v2/team/public/blobs/${secret.layer(0).digest}`);
  t.is(answer.status, 200);
  t.deepEqual(answer.body, secret.layer(0).bytes);
});

// Serial: it has the timers of the whole process, whose other waits are longer.
test.serial(
  'a base layer listed by a manifest of the other repository is served while the upstream hangs',
  async (t) => {
    const revalidateTimeoutMs = 10 * SECOND;
    const { registry, mirror, ask } = await startScene(t, { tags: { revalidateTimeoutMs } });
    const image = buildImage({ seed: 'based', layers: [1000] });
    registry.addImage('team/private', 'latest', image, { name: 'based' });
    registry.addImage('team/public', 'latest', image);
    t.is((await ask(`/v2/team/private/blobs/${image.layer(0).digest}`)).status, 200);
    t.is((await ask('/v2/team/public/manifests/latest')).status, 200);
    await idle(mirror);
    registry.clear();
    const gate = registry.hang(/^\/v2\/team\//);
    registry.cut('/v2/', { after: 'request' });
    mock.timers.enable({ apis: ['setTimeout'] });
    t.teardown(() => mock.timers.reset());
    const answering = ask(`/v2/team/public/blobs/${image.layer(0).digest}`);
    await gate.arrived();
    mock.timers.tick(revalidateTimeoutMs);
    t.deepEqual((await answering).body, image.layer(0).bytes);
    mock.timers.reset();
    gate.open();
    t.deepEqual(registry.conversation(), ['HEAD /v2/team/public/blobs/<based.layer0>', 'GET /v2/']);
  },
);

test('a layer listed by a manifest is not served when the upstream says that the repository lacks it', async (t) => {
  const { registry, secret, ask } = await startVault(t);
  registry.addManifest('team/public', secret.manifest, { tags: ['listing'] });
  t.is((await ask('/v2/team/public/manifests/listing')).status, 200);
  registry.clear();
  t.is((await ask(`/v2/team/public/blobs/${secret.layer(0).digest}`)).status, 404);
  t.deepEqual(registry.conversation(), [
    'HEAD /v2/team/public/blobs/<secret.layer0>',
    'GET /v2/team/public/blobs/<secret.layer0> bytes=0-0',
  ]);
});

// A transfer that is still running

test('a running transfer is joined through another repository once the upstream shows it there', async (t) => {
  const { registry, mirror, ask } = await startScene(t);
  const image = buildImage({ seed: 'running', layers: [1000] });
  const layer = image.layer(0);
  registry.addImage('team/private', 'latest', image, { name: 'running' });
  registry.addBlob('team/public', layer);
  const gate = registry.hold(layer, { after: 10, method: 'GET' });
  const first = await open(`${mirror.url}/v2/team/private/blobs/${layer.digest}`);
  await gate.arrived();
  const second = await open(`${mirror.url}/v2/team/public/blobs/${layer.digest}`);
  t.is(second.status, 200);
  t.is(second.headers['cache-status'], 'entrepot; fwd=miss; collapsed');
  gate.open();
  t.deepEqual(await first.rest(), layer.bytes);
  t.deepEqual(await second.rest(), layer.bytes);
  t.is((await ask(`/v2/team/public/blobs/${layer.digest}`)).status, 200);
  t.deepEqual(registry.conversation(), [
    'GET /v2/team/private/blobs/<running.layer0>',
    'HEAD /v2/team/public/blobs/<running.layer0>',
  ]);
});

test('a running transfer gives no byte to another repository that the upstream does not show to have it', async (t) => {
  const { registry, mirror, ask } = await startScene(t);
  const image = buildImage({ seed: 'running', layers: [1000] });
  const layer = image.layer(0);
  registry.addImage('team/private', 'latest', image, { name: 'running' });
  registry.addImage('team/public', 'latest', buildImage({ seed: 'public', layers: [10] }));
  const gate = registry.hold(layer, { after: 10, method: 'GET' });
  const first = await open(`${mirror.url}/v2/team/private/blobs/${layer.digest}`);
  await gate.arrived();
  t.is((await ask(`/v2/team/public/blobs/${layer.digest}`)).status, 404);
  gate.open();
  t.deepEqual(await first.rest(), layer.bytes);
  t.deepEqual(registry.conversation(), [
    'GET /v2/team/private/blobs/<running.layer0>',
    'HEAD /v2/team/public/blobs/<running.layer0>',
  ]);
});
