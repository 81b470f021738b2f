/** Whoever has access to the store's folder, or to the machine, gets nothing of it and nothing through it. */
import { createHash } from 'node:crypto';
import {
  chmod,
  link,
  lstat,
  mkdir,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { dirname, join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { get, type ClientAnswer } from '../helpers/client.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildImage, type Image, type Stored } from '../helpers/image.ts';
import { blobPath, createTempFolder, startMirror, type TestMirror } from '../helpers/mirror.ts';
import { MirrorProcess } from '../helpers/process.ts';

const SECRET = 'a secret of somebody else\n';

interface World {
  readonly registry: FakeRegistry;
  readonly image: Image;
  readonly storePath: string;
  /** A file outside of the store. */
  readonly secret: string;
  readonly start: () => Promise<TestMirror>;
  readonly pull: (mirror: Pick<TestMirror, 'url'>) => Promise<void>;
}

/** An image of two layers at an upstream, and a store, which may be full of it already. */
async function setUp(t: ExecutionContext): Promise<World> {
  const registry = await FakeRegistry.start(t);
  const image = buildImage({ seed: t.title, layers: [200_000, 1000] });
  registry.addImage('team/app', 'v1', image, { name: 'app' });
  const storePath = join(await createTempFolder(t), 'store');
  const secret = join(await createTempFolder(t), 'secret');
  await writeFile(secret, SECRET);
  const start = async (): Promise<TestMirror> =>
    startMirror(t, { storePath, upstreams: { 'docker.io': { url: registry.url } } });
  const pull = async ({ url }: Pick<TestMirror, 'url'>): Promise<void> => {
    const app = `${url}/v2/team/app`;
    t.true((await get(`${app}/manifests/v1`)).body.equals(image.manifest.bytes));
    for (const { digest, bytes } of image.blobs) {
      t.true((await get(`${app}/blobs/${digest}`)).body.equals(bytes));
    }
  };
  return { registry, image, storePath, secret, start, pull };
}

async function askLayer({ url }: TestMirror, { digest }: Stored): Promise<ClientAnswer> {
  return get(`${url}/v2/team/app/blobs/${digest}`);
}

/** Every path below the store with its mode, which others may use. */
async function openToOthers(path: string): Promise<string[]> {
  const names = await readdir(path, { recursive: true });
  const found = await Promise.all(
    ['.', ...names].map(async (name) => ({
      name,
      // What is gone by now is open to nobody.
      mode: (await lstat(join(path, name)).catch(() => undefined))?.mode ?? 0,
    })),
  );
  return found
    .filter(({ mode }) => (mode & 0o077) !== 0)
    .map(({ name, mode }) => `${name} ${(mode & 0o777).toString(8)}`);
}

/** What stands at a path outside of the store, byte for byte and bit for bit. */
async function fingerprint(path: string): Promise<string> {
  const { mode } = await lstat(path);
  const bytes = (await lstat(path)).isDirectory() ? await readdir(path) : await readFile(path);
  return `${mode} ${createHash('sha256').update(String(bytes)).digest('hex')}`;
}

test('nobody but its user reads a store, whatever the mask of the process', async (t) => {
  const { registry, image, pull } = await setUp(t);
  const folder = await createTempFolder(t);
  const upstreams = { 'docker.io': { url: registry.url } };
  const mirror = await MirrorProcess.start(t, folder, { upstreams }, { mask: '000' });
  await pull(mirror);
  t.deepEqual(await openToOthers(join(folder, 'store')), []);
  t.is(await mirror.end('SIGTERM'), 0);
  const again = await MirrorProcess.start(t, folder, { upstreams }, { mask: '000' });
  await pull(again);
  t.deepEqual(await openToOthers(join(folder, 'store')), []);
  t.is(await again.end('SIGTERM'), 0);
  t.true((await lstat(blobPath(join(folder, 'store'), image.config.digest))).isFile());
});

test('a store that was open to others is closed when it is opened, down to its files', async (t) => {
  const { storePath, start, pull } = await setUp(t);
  const first = await start();
  await pull(first);
  await first.stop();
  const stranger = join(storePath, 'of-somebody-else');
  await writeFile(stranger, '');
  for (const name of ['.', ...(await readdir(storePath, { recursive: true }))]) {
    const path = join(storePath, name);
    await chmod(path, (await lstat(path)).isDirectory() ? 0o755 : 0o444);
  }
  const second = await start();
  t.deepEqual(await openToOthers(storePath), ['of-somebody-else 444']);
  await pull(second);
});

test('the path of a store may be a link, which stays as it is', async (t) => {
  const { storePath, start, pull } = await setUp(t);
  const elsewhere = `${storePath}-elsewhere`;
  await mkdir(elsewhere, { mode: 0o755 });
  await symlink(elsewhere, storePath);
  const mirror = await start();
  await pull(mirror);
  await mirror.idle();
  await pull(mirror);
  t.is(await readlink(storePath), elsewhere);
  t.deepEqual(
    (await readdir(elsewhere)).filter((name) => name === 'blobs'),
    ['blobs'],
  );
});

for (const [what, plant] of [
  ['a link', async (secret: string, path: string) => symlink(secret, path)],
  ['a link to a device', async (_: string, path: string) => symlink('/dev/zero', path)],
  ['a folder', async (_: string, path: string) => mkdir(path)],
] as const) {
  test(`${what} in the place of a held blob is not served, and the blob is fetched anew`, async (t) => {
    const { image, storePath, secret, start, pull } = await setUp(t);
    const mirror = await start();
    await pull(mirror);
    await mirror.idle();
    const layer = image.layer(0);
    const path = blobPath(storePath, layer.digest);
    await rm(path);
    await writeFile(secret, Buffer.alloc(layer.size, SECRET));
    const before = await fingerprint(secret);
    await plant(secret, path);
    const { body, headers } = await askLayer(mirror, layer);
    t.true(body.equals(layer.bytes));
    t.is(headers['cache-status'], 'entrepot; fwd=miss; stored');
    await mirror.idle();
    t.true((await lstat(path)).isFile());
    t.is(await fingerprint(secret), before);
  });
}

test('a folder of blobs that is a link is neither read, written nor emptied through', async (t) => {
  const { image, storePath, start, pull } = await setUp(t);
  const mirror = await start();
  await pull(mirror);
  await mirror.idle();
  const layer = image.layer(0);
  const shard = dirname(blobPath(storePath, layer.digest));
  const outside = join(await createTempFolder(t), 'outside');
  await rename(shard, outside);
  const file = join(outside, layer.digest.slice(7));
  await chmod(file, 0o600);
  await writeFile(file, Buffer.alloc(layer.size, SECRET));
  await symlink(outside, shard);
  const before = [await fingerprint(outside), await fingerprint(file)];
  for (const _ of [1, 2]) {
    const { status, body } = await askLayer(mirror, layer);
    t.is(status, 200);
    t.true(body.equals(layer.bytes));
    await mirror.idle();
  }
  await mirror.server.store.care.budget.evict(Infinity);
  t.deepEqual([await fingerprint(outside), await fingerprint(file)], before);
  await rm(shard);
});

for (const [what, plant] of [
  ['a link', symlink],
  ['a second name', link],
] as const) {
  test(`${what} of another file in the place of a partial one is not written through`, async (t) => {
    const { image, storePath, secret, start } = await setUp(t);
    const mirror = await start();
    const layer = image.layer(0);
    const partial = join(storePath, 'ingest', `${layer.digest.replace(':', '-')}@docker.io`);
    // A first part of it that the transfer would go on with.
    await writeFile(secret, layer.bytes.subarray(0, 1000));
    await plant(secret, partial);
    const before = await fingerprint(secret);
    t.true((await askLayer(mirror, layer)).body.equals(layer.bytes));
    await mirror.idle();
    t.is(await fingerprint(secret), before);
    t.true((await lstat(blobPath(storePath, layer.digest))).isFile());
  });

  test(`${what} of another file in the place of the store's small ones is not written through`, async (t) => {
    const { storePath, secret, start, pull } = await setUp(t);
    const first = await start();
    await pull(first);
    await first.stop();
    const before = await fingerprint(secret);
    for (const name of [
      'journal',
      'format',
      'catalog.reserve',
      'catalog.holder',
      'journal.new',
      'sync.json',
      'sync.json.new',
      'site.key',
      'site.key.new',
    ]) {
      await rm(join(storePath, name), { force: true });
      await plant(secret, join(storePath, name));
    }
    const second = await start();
    await pull(second);
    await second.server.store.catalog.keepReserve();
    await second.server.store.journal.compactFrom(second.server.catalog);
    t.is((await fetch(`${second.server.adminUrl}/api/v1/inventory`)).status, 200);
    await second.idle();
    t.is(await fingerprint(secret), before);
    t.is((await readFile(secret)).toString(), SECRET);
  });
}

test('a link below the catalog is not followed: the catalog is made anew', async (t) => {
  const { storePath, secret, start, pull } = await setUp(t);
  const first = await start();
  await pull(first);
  await first.stop();
  const before = await fingerprint(secret);
  // The next files that LevelDB makes.
  for (const number of ['000007', '000008', '000009', '000010']) {
    for (const suffix of ['log', 'ldb']) {
      await symlink(secret, join(storePath, 'catalog', `${number}.${suffix}`)).catch(
        () => undefined,
      );
    }
  }
  const second = await start();
  await pull(second);
  await second.idle();
  t.is(await fingerprint(secret), before);
  t.true(second.log.some(({ msg }) => msg === 'the catalog was made anew'));
});

test('a folder of the store that is a link is refused at the start, and said', async (t) => {
  const { storePath, start } = await setUp(t);
  const outside = await createTempFolder(t);
  await mkdir(storePath);
  await symlink(outside, join(storePath, 'ingest'));
  await t.throwsAsync(start(), { code: 'EFOREIGN' });
  t.deepEqual(await readdir(outside), []);
});
