/** What an operator does with a store, by the commands of docs/operations.md, and what is served then. */
import { execFile } from 'node:child_process';
import { cp, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import { verify } from '../faults/held-image.ts';
import { get } from '../helpers/client.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildArtifact, buildImage, buildIndex, type Stored } from '../helpers/image.ts';
import { createTempFolder, startMirror, type TestMirror } from '../helpers/mirror.ts';
import { readBlocks } from './document.ts';

const run = promisify(execFile);
const PAGE = join(import.meta.dirname, '..', '..', 'docs', 'operations.md');
const UPSTREAM = 'docker.io';
const PIN = { origin: 'hand', image: `${UPSTREAM}/library/app:v1`, reason: 'kept', since: 5 };
const PLATFORMS = ['amd64', 'arm64'].map((architecture) => ({ os: 'linux', architecture }));

/** The commands of the page with this one among them, typed in a shell. */
async function typeBlock(having: string, env: Record<string, string>): Promise<void> {
  const block = readBlocks(PAGE).find(({ commands }) =>
    commands.some(({ text }) => text.startsWith(having)),
  );
  const lines = block!.commands.map(({ text }) => text);
  await run('bash', ['-euc', lines.join('\n')], { env: { ...process.env, ...env } });
}

const backUp = async (store: string, backup: string): Promise<void> =>
  typeBlock('cp -au', { STORE: store, BACKUP: backup });
const restore = async (backup: string, store: string): Promise<void> =>
  typeBlock('cp -a "$BACKUP', { STORE: store, BACKUP: backup });

interface Site {
  readonly registry: FakeRegistry;
  /** Each path below `/v2/library/` that was pulled, and what it must give. */
  readonly held: Map<string, Stored>;
  readonly start: (storePath: string, offline?: boolean) => Promise<TestMirror>;
}

/** A registry with images, and mirrors before it. */
async function createSite(t: ExecutionContext): Promise<Site> {
  const registry = await FakeRegistry.start(t);
  const start: Site['start'] = async (storePath, offline = false) => {
    const mirror = await startMirror(t, {
      storePath,
      offline,
      upstreams: { [UPSTREAM]: { url: registry.url }, 'other.example': { url: registry.url } },
    });
    await mirror.server.store.care.settled;
    return mirror;
  };
  return { registry, held: new Map(), start };
}

/** An index of two platforms with a signature, pulled by tag through the mirror, all of it. */
async function pull(
  { registry, held }: Site,
  mirror: TestMirror,
  name: string,
): Promise<Map<string, Stored>> {
  const children = PLATFORMS.map((platform) => ({
    platform,
    image: buildImage({
      seed: `${name} ${platform.architecture}`,
      layers: [500_000, 3000],
      platform,
    }),
  }));
  const index = buildIndex(children);
  const signature = buildArtifact({
    seed: name,
    artifactType: 'application/vnd.example.signature',
    subject: index.manifest,
  });
  registry.addIndex(`library/${name}`, 'v1', index);
  registry.addImage(`library/${name}`, undefined, signature);
  const images = [...index.images, signature];
  const parts = new Map([
    [`${name}/manifests/v1`, index.manifest],
    ...[index.manifest, ...images.map(({ manifest }) => manifest)].map(
      (manifest) => [`${name}/manifests/${manifest.digest}`, manifest] as const,
    ),
    ...images.flatMap(({ blobs }) =>
      blobs.map((blob) => [`${name}/blobs/${blob.digest}`, blob] as const),
    ),
  ]);
  for (const path of parts.keys()) await get(`${mirror.url}/v2/library/${path}`);
  await mirror.idle();
  for (const [path, stored] of parts) held.set(path, stored);
  return parts;
}

/** The paths that the mirror does not answer with the very bytes. */
async function unserved(mirror: TestMirror, held: ReadonlyMap<string, Stored>): Promise<string[]> {
  const wrong: string[] = [];
  for (const [path, { bytes }] of held) {
    const answer = await get(`${mirror.url}/v2/library/${path}`);
    if (answer.status !== 200 || !answer.body.equals(bytes)) wrong.push(`${path} ${answer.status}`);
  }
  return wrong;
}

/** A start without any upstream, in which all of this is served, nothing is damaged, and pins are there. */
async function servesOffline(
  t: ExecutionContext,
  site: Site,
  storePath: string,
  held: ReadonlyMap<string, Stored> = site.held,
): Promise<void> {
  const mirror = await site.start(storePath, true);
  t.deepEqual(await unserved(mirror, held), []);
  const { damaged, blobs } = await verify(mirror);
  t.deepEqual(damaged, []);
  t.true(blobs > 0);
  const images = mirror.server.store.care.pins.list().map(({ image }) => image);
  t.deepEqual(images, [PIN.image]);
  await mirror.stop();
}

async function startHeld(t: ExecutionContext): Promise<{ site: Site; mirror: TestMirror }> {
  const site = await createSite(t);
  const mirror = await site.start(await createTempFolder(t));
  await pull(site, mirror, 'app');
  await mirror.server.store.care.pins.add(PIN);
  return { site, mirror };
}

test('a backup that is made while images are pulled starts elsewhere, verifies and serves what was held', async (t) => {
  const { site, mirror } = await startHeld(t);
  const [backup, restored] = [await createTempFolder(t), await createTempFolder(t)];
  const before = new Map(site.held);
  const copied = new AbortController();
  const copying = backUp(mirror.storePath, backup).finally(() => copied.abort());
  for (let count = 0; !copied.signal.aborted; count += 1) await pull(site, mirror, `new-${count}`);
  await copying;
  t.true(site.held.size > before.size);
  await restore(backup, restored);
  await servesOffline(t, site, restored, before);

  // What came during the copy is fetched where it was missed.
  const online = await site.start(restored);
  t.deepEqual(await unserved(online, site.held), []);
});

test('a backup is brought up to date by the same lines, and is exact when the server was stopped', async (t) => {
  const { site, mirror } = await startHeld(t);
  const [backup, restored] = [await createTempFolder(t), await createTempFolder(t)];
  await backUp(mirror.storePath, backup);
  await pull(site, mirror, 'tool');
  await mirror.stop();
  await backUp(mirror.storePath, backup);
  await typeBlock('cd "$BACKUP', { BACKUP: backup });
  await restore(backup, restored);
  await servesOffline(t, site, restored);
});

test('the line that looks at a backup fails at a file that is not what its name says', async (t) => {
  const { mirror } = await startHeld(t);
  const backup = await createTempFolder(t);
  await backUp(mirror.storePath, backup);
  const blobs = join(backup, 'blobs', 'sha256');
  const [first = ''] = await readdir(blobs);
  const [name = ''] = await readdir(join(blobs, first));
  await writeFile(join(blobs, first, name), 'damaged');
  const error = await t.throwsAsync<Error & { stdout: string }>(
    typeBlock('cd "$BACKUP', { BACKUP: backup }),
  );
  t.is(error?.stdout, `./${first}/${name}: FAILED\n`);
});

/** Parts of a copy that come from an earlier moment than the others. */
const EARLIER: readonly (readonly string[])[] = [
  ['catalog'],
  ['journal'],
  ['blobs'],
  ['catalog', 'journal'],
  ['blobs', 'journal'],
  ['blobs', 'catalog'],
];

for (const parts of EARLIER) {
  test(`a copy whose ${parts.join(' and ')} is of an earlier moment serves what was held then, and fetches the rest`, async (t) => {
    const { site, mirror } = await startHeld(t);
    const copy = await createTempFolder(t);
    const before = new Map(site.held);
    for (const part of parts)
      await cp(join(mirror.storePath, part), join(copy, part), { recursive: true });
    await pull(site, mirror, 'tool');
    for (const name of await readdir(mirror.storePath)) {
      if (parts.includes(name)) continue;
      await cp(join(mirror.storePath, name), join(copy, name), { recursive: true });
    }
    await servesOffline(t, site, copy, before);
    const online = await site.start(copy);
    t.deepEqual(await unserved(online, site.held), []);
  });
}

test('a copy whose catalog is of two moments is made good by the start, and serves all', async (t) => {
  const { site, mirror } = await startHeld(t);
  const copy = await createTempFolder(t);
  await mirror.stop();
  await cp(mirror.storePath, copy, { recursive: true });
  const again = await site.start(mirror.storePath);
  await pull(site, again, 'tool');
  await again.stop();
  // The list of its tables is the later one, the tables are the earlier ones.
  const [from, to] = [join(mirror.storePath, 'catalog'), join(copy, 'catalog')];
  for (const name of await readdir(from)) {
    if (/^(?:CURRENT|MANIFEST-)/.test(name)) await cp(join(from, name), join(to, name));
  }
  await cp(join(mirror.storePath, 'blobs'), join(copy, 'blobs'), { recursive: true });
  await cp(join(mirror.storePath, 'journal'), join(copy, 'journal'));
  await servesOffline(t, site, copy);
});

const COPIES: Readonly<Record<string, string>> = {
  'by cp -a to another file system': 'cp -a "$FROM/." "$TO/"',
  'without modes, times and holes': 'cp -r --no-preserve=all --sparse=never "$FROM/." "$TO/"',
  'by tar, with all open to all': 'tar -C "$FROM" -c . | tar -C "$TO" -x && chmod -R a+rwX "$TO"',
  'from a medium that can only be read': 'cp -a "$FROM/." "$TO/" && chmod -R a-w "$TO"',
  'to a folder that is called otherwise, with the old one gone':
    'mv "$FROM" "$TO/moved" && mv "$TO/moved"/* "$TO/"',
};

for (const [how, command] of Object.entries(COPIES)) {
  test(`a store that is moved ${how} is served, and takes more`, async (t) => {
    const { site, mirror } = await startHeld(t);
    await mirror.stop();
    const moved = await mkdtemp('/dev/shm/entrepot-moved-');
    t.teardown(async () => rm(moved, { recursive: true, force: true }));
    await run('bash', ['-euo', 'pipefail', '-c', command], {
      env: { ...process.env, FROM: mirror.storePath, TO: moved },
    });
    await servesOffline(t, site, moved);
    const online = await site.start(moved);
    const more = await pull(site, online, 'tool');
    await online.stop();
    await servesOffline(t, site, moved, more);
  });
}

const LOSSES: Readonly<Record<string, readonly string[]>> = {
  'its catalog': ['catalog'],
  'its journal': ['journal'],
  'its format, catalog and partial files': ['format', 'catalog', 'ingest'],
};

for (const [what, parts] of Object.entries(LOSSES)) {
  test(`a store without ${what} serves all that it held, also without an upstream`, async (t) => {
    const { site, mirror } = await startHeld(t);
    await mirror.stop();
    for (const part of parts) await rm(join(mirror.storePath, part), { recursive: true });
    await servesOffline(t, site, mirror.storePath);
  });
}

test('of a store without catalog and journal no layer is fetched again by the next pull', async (t) => {
  const { site, mirror } = await startHeld(t);
  await mirror.stop();
  for (const part of ['catalog', 'journal']) {
    await rm(join(mirror.storePath, part), { recursive: true });
  }
  site.registry.clear();
  const again = await site.start(mirror.storePath);
  t.deepEqual(await unserved(again, site.held), []);
  const blobs = [...site.held.values()].filter(({ mediaType }) => !mediaType.includes('json'));
  const sent = site.registry.bytesSent;
  t.true(sent < blobs.reduce((sum, { size }) => sum + size, 0) / 2, String(sent));
});

test('after the loss of the disk an empty folder is a store that pulls fill', async (t) => {
  const { site, mirror } = await startHeld(t);
  await mirror.stop();
  await rm(mirror.storePath, { recursive: true });
  const again = await site.start(mirror.storePath);
  t.deepEqual(await unserved(again, site.held), []);
  await again.server.store.care.pins.add(PIN);
  await again.stop();
  await servesOffline(t, site, mirror.storePath);
});
