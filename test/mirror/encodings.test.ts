import { stat } from 'node:fs/promises';
import {
  brotliCompressSync,
  deflateRawSync,
  deflateSync,
  gzipSync,
  zstdCompressSync,
} from 'node:zlib';
import test, { type ExecutionContext } from 'ava';
import { get, TruncatedError, type ClientAnswer } from '../helpers/client.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import {
  buildBlob,
  buildImage,
  MEDIA_TYPES,
  randomBytes,
  store,
  type Image,
  type Stored,
} from '../helpers/image.ts';
import { createTempFolder, partialPath, startMirror, type TestMirror } from '../helpers/mirror.ts';
import { idle, REPOSITORY, startScene, UPSTREAM } from '../helpers/scene.ts';
import { until } from '../helpers/until.ts';

const always = { times: Infinity } as const;
const asItIs = (bytes: Buffer): Buffer => bytes;
const PATH = `/v2/${REPOSITORY}`;

/** A layer as most are, which is itself what its wrong header says. */
const GZIPPED = store(gzipSync(randomBytes('layer', 3000)), `${MEDIA_TYPES.layer}+gzip`);

interface World {
  readonly registry: FakeRegistry;
  readonly mirror: TestMirror;
  readonly image: Image;
  readonly ask: (path: string, method?: string) => Promise<ClientAnswer>;
}

interface WorldOptions {
  readonly redirect?: boolean;
  readonly layers?: readonly (number | Stored)[];
  readonly store?: Parameters<typeof startMirror>[1]['store'];
}

async function setUp(t: ExecutionContext, options: WorldOptions = {}): Promise<World> {
  const { redirect = false, layers = [GZIPPED, 2000] } = options;
  const registry = await FakeRegistry.start(t, {
    auth: { kind: 'bearer' },
    ...(redirect && { redirectBlobs: 307 }),
  });
  const image = buildImage({ seed: t.title, layers });
  registry.addImage(REPOSITORY, 'v1', image, { name: 'app' });
  const mirror = await startMirror(t, {
    upstreams: { [UPSTREAM]: { url: registry.url, hydrate: 'off' } },
    ...(options.store && { store: options.store }),
  });
  const ask: World['ask'] = async (path, method = 'GET') => {
    const answer = await get(`${mirror.url}${PATH}/${path}`, { method });
    t.is(answer.headers['content-encoding'], undefined, path);
    return answer;
  };
  return { registry, mirror, image, ask };
}

/** Pulls all of it by tag, with the lists that tools ask for beside it. */
async function pull(t: ExecutionContext, { ask, image }: World): Promise<void> {
  const manifest = await ask('manifests/v1');
  t.deepEqual(manifest.body, image.manifest.bytes);
  t.is(manifest.headers['content-type'], image.manifest.mediaType);
  for (const { digest, bytes } of image.blobs) {
    t.deepEqual((await ask(`blobs/${digest}`)).body, bytes);
  }
  const tags = JSON.parse((await ask('tags/list')).body.toString()) as { tags: string[] };
  t.deepEqual(tags.tags, ['v1']);
  t.is((await ask(`referrers/${image.manifest.digest}`)).status, 200);
}

/** Blobs as they were asked for. */
function blobRequests({ registry }: World): string[] {
  return registry.conversation(({ path }) => path.includes('/blobs/'));
}

const ONE_FETCH = ['config', 'layer0', 'layer1'].map((name) => `GET ${PATH}/blobs/<app.${name}>`);

for (const header of [
  'aws-chunked',
  '',
  'binary',
  'utf-8',
  'identity',
  'gzip',
  'gzip, aws-chunked',
  'x-gzip',
  'deflate',
  'br',
  'zstd',
  'compress',
]) {
  test(`right bytes under Content-Encoding: ${header} are taken as they are`, async (t) => {
    const world = await setUp(t);
    world.registry.encode(/./, header, { ...always, by: asItIs });
    world.registry.encode(/./, header, { ...always, by: asItIs, method: 'HEAD' });
    await pull(t, world);
    t.deepEqual(blobRequests(world), ONE_FETCH);
    const asked = world.registry.requests.map(({ acceptEncoding }) => acceptEncoding);
    t.deepEqual(new Set(asked), new Set(['identity']));
  });
}

const CODINGS: Record<string, (bytes: Buffer) => Buffer> = {
  gzip: gzipSync,
  'x-gzip': gzipSync,
  'GZIP, aws-chunked': gzipSync,
  deflate: deflateSync,
  Deflate: deflateRawSync,
  br: brotliCompressSync,
  zstd: zstdCompressSync,
  'gzip, br': (bytes) => brotliCompressSync(gzipSync(bytes)),
};

for (const [header, by] of Object.entries(CODINGS)) {
  test(`what is encoded as ${header} although nobody asked for it is decoded`, async (t) => {
    const world = await setUp(t);
    world.registry.encode(/./, header, { ...always, by });
    world.registry.encode(/./, header, { ...always, by, method: 'HEAD' });
    await pull(t, world);
    t.deepEqual(blobRequests(world), ONE_FETCH);
  });
}

for (const [what, by] of [
  ['raw', asItIs],
  ['encoded', gzipSync],
] as const) {
  const bothWays = `${what} bytes as gzip without a length`;
  for (const hasRanges of [true, false]) {
    const cost = hasRanges ? 'a byte by range tells, once' : 'a wrong guess costs one fetch';
    test(`${bothWays}: ${cost}, and nothing of the next blob`, async (t) => {
      const world = await setUp(t);
      const { registry, image, ask } = world;
      await ask('manifests/v1');
      registry.encode(/blobs/, 'gzip', { ...always, by });
      registry.omitHeaders(/blobs/, ['content-length'], always);
      if (!hasRanges) registry.ignoreRange(/blobs/, always);
      const other = registry.addBlob(REPOSITORY, buildBlob('other', 500), { name: 'other' });
      for (const blob of [image.layer(0), image.layer(1), other]) {
        t.deepEqual((await ask(`blobs/${blob.digest}`)).body, blob.bytes);
      }
      const first = `GET ${PATH}/blobs/<app.layer0>`;
      t.deepEqual(blobRequests(world), [
        first,
        `${first} bytes=0-0`,
        ...(what === 'raw' && !hasRanges ? [first] : []),
        `GET ${PATH}/blobs/<app.layer1>`,
        `GET ${PATH}/blobs/<other>`,
      ]);
    });
  }

  test(`${what} bytes as gzip of a size that nobody knows: the same`, async (t) => {
    const world = await setUp(t);
    const { registry, image, ask } = world;
    await ask('tags/list');
    registry.encode(/blobs/, 'gzip', { ...always, by });
    for (const { digest, bytes } of image.layers) {
      t.deepEqual((await ask(`blobs/${digest}`)).body, bytes);
    }
    const first = `GET ${PATH}/blobs/<app.layer0>`;
    const second = `GET ${PATH}/blobs/<app.layer1>`;
    t.deepEqual(blobRequests(world), what === 'raw' ? [first, second] : [first, first, second]);
  });
}

test('storage behind a redirect is remembered apart from the registry', async (t) => {
  const world = await setUp(t, { redirect: true });
  const { registry, image, ask } = world;
  registry.encode(/blobs/, 'gzip', { ...always, origin: 'storage' });
  for (const { digest, bytes } of image.layers) {
    t.deepEqual((await ask(`blobs/${digest}`)).body, bytes);
  }
  const stored = registry.conversation(({ origin }) => origin === 'storage');
  t.deepEqual(stored, [
    'GET storage /blobs/<app.layer0>',
    'GET storage /blobs/<app.layer0>',
    'GET storage /blobs/<app.layer1>',
  ]);
});

test('an encoded answer that breaks off is fetched whole: its ranges are none of the blob', async (t) => {
  const layer = buildBlob('long', 300_000);
  const world = await setUp(t, { layers: [layer] });
  const { registry, ask } = world;
  await ask('manifests/v1');
  registry.encode(/blobs/, 'gzip', always);
  registry.cut(layer, { after: 200_000 });
  t.deepEqual((await ask(`blobs/${layer.digest}`)).body, layer.bytes);
  const line = `GET ${PATH}/blobs/<app.layer0>`;
  t.deepEqual(blobRequests(world), [line, line]);
});

test('raw bytes under a wrong encoding go on by Range', async (t) => {
  const layer = buildBlob('long', 300_000);
  const world = await setUp(t, { layers: [layer] });
  const { registry, ask } = world;
  await ask('manifests/v1');
  registry.encode(/blobs/, 'gzip', { ...always, by: asItIs });
  registry.cut(layer, { after: 200_000 });
  t.deepEqual((await ask(`blobs/${layer.digest}`)).body, layer.bytes);
  const line = `GET ${PATH}/blobs/<app.layer0>`;
  t.deepEqual(blobRequests(world), [line, `${line} bytes=200000-299999`]);
});

test('a partial file of an encoded answer goes on after a restart', async (t) => {
  const registry = await FakeRegistry.start(t);
  const layer = buildBlob('long', 300_000);
  registry.addImage(REPOSITORY, 'v1', buildImage({ seed: 'app', layers: [layer] }), {
    name: 'app',
  });
  registry.encode(/blobs/, 'gzip', always);
  const storePath = await createTempFolder(t);
  const upstreams = { [UPSTREAM]: { url: registry.url, hydrate: 'off' } } as const;
  const first = await startMirror(t, { upstreams, storePath, leftovers: { partials: true } });
  const url = `${PATH}/blobs/${layer.digest}`;
  await get(`${first.url}${PATH}/manifests/v1`);
  const stalled = registry.stall(layer, { after: 200_000 });
  const broken = get(`${first.url}${url}`).catch((error: unknown) => error);
  await stalled.arrived();
  // What the registry has sent may still be on its way.
  const partial = partialPath(storePath, layer.digest, UPSTREAM);
  await until('a part is kept', async () => (await stat(partial)).size > 0);
  await first.abandon();
  t.true((await broken) instanceof Error);
  registry.clear();
  const second = await startMirror(t, { upstreams, storePath });
  const answer = await get(`${second.url}${url}`);
  t.is(answer.status, 200, answer.body.toString('latin1', 0, 300));
  t.deepEqual(answer.body, layer.bytes);
  await idle(second);
  const line = `GET ${PATH}/blobs/<app.layer0>`;
  const asked = registry.conversation();
  t.is(asked.length, 2);
  t.true(asked[0]?.startsWith(`${line} bytes=`));
  t.is(asked[1], line);
});

test('no client completes what is wrong both ways, and each way is tried once', async (t) => {
  const world = await setUp(t);
  const { registry, image, ask, mirror } = world;
  await ask('manifests/v1');
  registry.encode(/blobs/, 'gzip', { ...always, by: () => gzipSync(Buffer.alloc(3023)) });
  registry.omitHeaders(/blobs/, ['content-length'], always);
  await t.throwsAsync(ask(`blobs/${image.layer(0).digest}`), { instanceOf: TruncatedError });
  await idle(mirror);
  const line = `GET ${PATH}/blobs/<app.layer0>`;
  t.deepEqual(blobRequests(world), [line, `${line} bytes=0-0`, line]);
  registry.heal();
  t.deepEqual((await ask(`blobs/${image.layer(0).digest}`)).body, image.layer(0).bytes);
});

const BOMB = 64 * 1024 * 1024;

test('a small answer that grows without end when it is decoded is not decoded to its end', async (t) => {
  const world = await setUp(t);
  const { registry, image, ask, mirror } = world;
  await ask('manifests/v1');
  const bomb = zstdCompressSync(Buffer.alloc(BOMB));
  for (const blob of [image.layer(0), registry.addBlob(REPOSITORY, buildBlob('x', 10))]) {
    registry.encode(blob, 'zstd', { times: 2, by: () => bomb });
    const answer = await ask(`blobs/${blob.digest}`).catch((error: unknown) => error);
    if (!(answer instanceof TruncatedError)) t.is((answer as ClientAnswer).status, 502);
    await idle(mirror);
  }
  const other = buildImage({ seed: 'v2', layers: [10] });
  registry.addImage(REPOSITORY, 'v2', other);
  registry.encode(other.manifest, 'gzip', { by: () => gzipSync(Buffer.alloc(BOMB, ' ')) });
  const refused = await ask('manifests/v2');
  t.is(refused.status, 502);
  t.true(refused.body.toString().includes('a manifest larger than'));
});

test('the length that a HEAD says of an encoded answer is not believed', async (t) => {
  const world = await setUp(t);
  const { registry, image, ask } = world;
  registry.encode(/./, 'gzip', { ...always, method: 'HEAD' });
  const manifest = await ask('manifests/v1', 'HEAD');
  t.is(manifest.headers['content-length'], String(image.manifest.size));
  const layer = await ask(`blobs/${image.layer(0).digest}`, 'HEAD');
  t.is(layer.headers['content-length'], String(image.layer(0).size));
});

for (const type of [
  'text/plain; charset=utf-8',
  'application/octet-stream',
  'application/json',
  MEDIA_TYPES.dockerList,
  `${MEDIA_TYPES.manifest}; charset=utf-8`,
  undefined,
]) {
  test(`a manifest under ${type ?? 'no type'} is served under the type that it says`, async (t) => {
    const { registry, manifest, image } = await startScene(t);
    if (type === undefined) registry.omitHeaders(/manifests/, ['content-type'], always);
    else registry.contentType(/manifests/, type, always);
    for (const reference of ['latest', image.manifest.digest]) {
      const answer = await manifest(reference);
      t.is(answer.headers['content-type'], image.manifest.mediaType);
      t.deepEqual(answer.body, image.manifest.bytes);
    }
  });
}

test('a range from the first byte of a blob without room is asked for as a range', async (t) => {
  const layer = buildBlob('large', 2_000_000);
  const world = await setUp(t, { layers: [layer], store: { maxBytes: 1_000_000 } });
  const { registry, mirror, ask } = world;
  await ask('manifests/v1');
  await ask(`blobs/${layer.digest}`);
  await idle(mirror);
  registry.clear();
  for (let client = 0; client < 3; client += 1) {
    const answer = await get(`${mirror.url}${PATH}/blobs/${layer.digest}`, {
      headers: { Range: 'bytes=0-0' },
    });
    t.is(answer.status, 206);
    t.deepEqual(answer.body, layer.bytes.subarray(0, 1));
    await idle(mirror);
  }
  const line = `GET ${PATH}/blobs/<app.layer0> bytes=0-0`;
  t.deepEqual(registry.conversation(), [line, line, line]);
  t.is(registry.bytesSent, 3);
});

test('what another upstream brought is shown by the whole where ranges are of an encoding', async (t) => {
  const [first, second] = [await FakeRegistry.start(t), await FakeRegistry.start(t)];
  const image = buildImage({ seed: t.title, layers: [300_000] });
  for (const registry of [first, second]) {
    registry.addImage(REPOSITORY, 'v1', image, { name: 'app' });
  }
  second.encode(/blobs/, 'gzip', always);
  second.encode(/blobs/, 'gzip', { ...always, method: 'HEAD' });
  const upstreams = {
    [UPSTREAM]: { url: first.url, hydrate: 'off' },
    'other.example': { url: second.url, hydrate: 'off' },
  } as const;
  const mirror = await startMirror(t, { upstreams });
  const path = `${mirror.url}${PATH}/blobs/${image.layer(0).digest}`;
  t.is((await get(path)).status, 200);
  await idle(mirror);
  const answer = await get(`${path}?ns=other.example`);
  t.deepEqual(answer.body, image.layer(0).bytes);
  const line = `${PATH}/blobs/<app.layer0>`;
  const asked = second.conversation().map((each) => each.replace(/ bytes=.*/, ' by range'));
  // The size that a HEAD tells is of the encoding, and so is each range.
  const ranges = [`GET ${line} by range`, `GET ${line} by range`];
  t.deepEqual(asked, [`HEAD ${line}`, ...ranges, `GET ${line}`, `GET ${line}`]);
});

test('without room a byte by range tells how a blob without a length is to be read', async (t) => {
  const layer = store(gzipSync(randomBytes('large', 2_000_000)));
  const world = await setUp(t, { layers: [layer], store: { maxBytes: 1_000_000 } });
  const { registry, ask, mirror } = world;
  await ask('manifests/v1');
  registry.encode(/blobs/, 'gzip', { ...always, by: asItIs });
  registry.omitHeaders(/blobs/, ['content-length'], always);
  t.true((await ask(`blobs/${layer.digest}`)).body.equals(layer.bytes));
  await idle(mirror);
  const line = `GET ${PATH}/blobs/<app.layer0>`;
  t.deepEqual(blobRequests(world), [line, `${line} bytes=0-0`]);
});

test('without room and ranges a wrong guess cuts its client short, and the next one has it right', async (t) => {
  const layer = store(gzipSync(randomBytes('large', 2_000_000)));
  const world = await setUp(t, { layers: [layer], store: { maxBytes: 1_000_000 } });
  const { registry, ask, mirror } = world;
  await ask('manifests/v1');
  registry.encode(/blobs/, 'gzip', { ...always, by: asItIs });
  registry.omitHeaders(/blobs/, ['content-length'], always);
  registry.ignoreRange(/blobs/, always);
  await t.throwsAsync(ask(`blobs/${layer.digest}`), { instanceOf: TruncatedError });
  await idle(mirror);
  t.true((await ask(`blobs/${layer.digest}`)).body.equals(layer.bytes));
  await idle(mirror);
  const line = `GET ${PATH}/blobs/<app.layer0>`;
  t.deepEqual(blobRequests(world), [line, `${line} bytes=0-0`, line]);
});

test('a refusal that is encoded is told in the words of the registry', async (t) => {
  const { registry, ask } = await setUp(t);
  await ask('tags/list');
  registry.status('/v2/library/app/manifests/v1', 403, {
    ...always,
    body: JSON.stringify({ errors: [{ code: 'DENIED', message: 'not on a Sunday' }] }),
    contentType: 'application/json',
  });
  registry.encode('/v2/library/app/manifests/v1', 'gzip', always);
  const refused = await ask('manifests/v1');
  t.true(refused.body.toString().includes('not on a Sunday'));
});

for (const [header, by] of [
  ['aws-chunked', asItIs],
  ['gzip', asItIs],
  ['gzip', gzipSync],
] as const) {
  const what = `${by === asItIs ? 'raw' : 'encoded'} bytes as ${header}`;
  test(`${what}: a parent mirror and its child have them right, and serve them offline`, async (t) => {
    const world = await setUp(t);
    const { registry, mirror, image } = world;
    registry.encode(/./, header, { ...always, by });
    const storePath = await createTempFolder(t);
    const child = async (url: string, offline: boolean): Promise<TestMirror> =>
      startMirror(t, { storePath, offline, upstreams: { [UPSTREAM]: { url, hydrate: 'off' } } });
    const asker = (of: TestMirror) => async (path: string) => get(`${of.url}${PATH}/${path}`);
    const online = await child(mirror.url, false);
    await pull(t, { ...world, ask: asker(online) });
    await idle(online);
    t.deepEqual(blobRequests(world), ONE_FETCH);
    await online.stop();
    const held = await child('http://127.0.0.1:1', true);
    const manifest = await asker(held)('manifests/v1');
    t.deepEqual(manifest.body, image.manifest.bytes);
    t.is(manifest.headers['content-type'], image.manifest.mediaType);
    for (const { digest, bytes } of image.blobs) {
      const { headers, body } = await asker(held)(`blobs/${digest}`);
      t.deepEqual([body, headers['content-encoding']], [bytes, undefined]);
    }
  });
}
