import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { parseDigest } from '../../src/oci/digest.ts';
import { parseRepository } from '../../src/oci/reference.ts';
import { get, type ClientAnswer, type GetOptions } from '../helpers/client.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildImage, type Image } from '../helpers/image.ts';
import { blobPath, createTempFolder, startMirror, type TestMirror } from '../helpers/mirror.ts';

const PUBLIC = { upstream: 'hub.example', repository: parseRepository('team/public') };

interface World {
  readonly registry: FakeRegistry;
  readonly mirror: TestMirror;
  readonly image: Image;
  /** Asks for the layer through one of the repositories. */
  readonly ask: (repository: string, options?: GetOptions) => Promise<ClientAnswer>;
}

/** An upstream with `team/private:v1`, and a store with these bytes in place of its layer, if any. */
async function setUp(t: ExecutionContext, inPlace?: (image: Image) => Buffer): Promise<World> {
  const registry = await FakeRegistry.start(t);
  const image = buildImage({ seed: t.title, layers: [30_000] });
  registry.addImage('team/private', 'v1', image, { name: 'app' });
  const storePath = await createTempFolder(t);
  const { digest } = image.layer(0);
  if (inPlace) {
    const path = blobPath(storePath, digest);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, inPlace(image));
  }
  const upstreams = { 'hub.example': { url: registry.url } };
  const mirror = await startMirror(t, { storePath, upstreams });
  await mirror.server.store.care.settled;
  const ask: World['ask'] = async (repository, options) =>
    get(`${mirror.url}/v2/${repository}/blobs/${digest}`, options);
  return { registry, mirror, image, ask };
}

async function holdPrivate(t: ExecutionContext): Promise<World> {
  const world = await setUp(t);
  t.is((await world.ask('team/private')).status, 200);
  await world.mirror.idle();
  world.registry.clear();
  return world;
}

/** Looks at files fail as on a broken disk wherever `isBroken` says so, counted from 0. */
function breakLooks({ server: { blobs } }: TestMirror, isBroken: (look: number) => boolean): void {
  const find = blobs.find.bind(blobs);
  let looks = 0;
  blobs.find = async (...args) => {
    looks += 1;
    if (!isBroken(looks - 1)) return find(...args);
    throw Object.assign(new Error('EIO: i/o error, stat'), { code: 'EIO', syscall: 'stat' });
  };
}

for (const method of ['GET', 'HEAD']) {
  test(`a file that lost its end before it was on record is fetched anew by ${method}`, async (t) => {
    const world = await setUp(t, ({ layer }) => layer(0).bytes.subarray(0, 20_000));
    const { mirror, image, ask, registry } = world;
    const layer = image.layer(0);
    const digest = parseDigest(layer.digest);
    t.is((await mirror.server.catalog.findBlob(digest))?.size, 20_000);
    const answer = await ask('team/private', { method });
    t.is(answer.status, 200);
    t.is(answer.headers['content-length'], String(layer.size));
    t.deepEqual((await ask('team/private')).body, layer.bytes);
    await mirror.idle();
    t.is((await mirror.server.catalog.findBlob(digest))?.size, layer.size);
    const aside = await readdir(join(mirror.storePath, 'quarantine'));
    t.is(aside.length, 1);
    const gets = registry.conversation(({ method: each }) => each === 'GET');
    t.deepEqual(gets, ['GET /v2/team/private/blobs/<app.layer0>']);
    registry.clear();
    t.deepEqual((await ask('team/private')).body, layer.bytes);
    t.deepEqual(registry.conversation(), []);
  });
}

test('a whole file is served although HEAD announces another length: bytes of our choosing show that it is the one', async (t) => {
  const { mirror, image, ask, registry } = await setUp(t, ({ layer }) => layer(0).bytes);
  const layer = image.layer(0);
  registry.lieLength(layer, 5, { method: 'HEAD' });
  t.deepEqual((await ask('team/private')).body, layer.bytes);
  t.deepEqual(await readdir(join(mirror.storePath, 'quarantine')), []);
  t.deepEqual((await ask('team/private')).body, layer.bytes);
  t.deepEqual(registry.conversation(), [
    'HEAD /v2/team/private/blobs/<app.layer0>',
    'GET /v2/team/private/blobs/<app.layer0> bytes=0-29999',
  ]);
});

test('a disk that fails for a moment opens no blob of another repository', async (t) => {
  const { mirror, image, ask, registry } = await holdPrivate(t);
  breakLooks(mirror, (look) => look === 0);
  t.is((await ask('team/public')).status, 404);
  t.is((await ask('team/public')).status, 404);
  t.deepEqual(registry.conversation(), [
    'HEAD /v2/team/public/blobs/<app.layer0>',
    'HEAD /v2/team/public/blobs/<app.layer0>',
  ]);
  const digest = parseDigest(image.layer(0).digest);
  t.is(await mirror.server.catalog.findLink(PUBLIC, digest), undefined);
  t.is((await ask('team/private')).status, 200);
  t.is(registry.requests.length, 2);
});

test('a blob that is found only at every second look is passed through in the end', async (t) => {
  const { mirror, image, ask, registry } = await holdPrivate(t);
  breakLooks(mirror, (look) => look % 2 === 0);
  const answer = await ask('team/private');
  t.deepEqual(answer.body, image.layer(0).bytes);
  t.is(answer.headers['cache-status'], 'entrepot; fwd=bypass');
  t.deepEqual(registry.conversation(), [
    'HEAD /v2/team/private/blobs/<app.layer0>',
    'GET /v2/team/private/blobs/<app.layer0>',
  ]);
  registry.clear();
  t.is((await ask('team/public')).status, 404);
  t.deepEqual(registry.conversation(), [
    'HEAD /v2/team/public/blobs/<app.layer0>',
    'GET /v2/team/public/blobs/<app.layer0>',
  ]);
});
