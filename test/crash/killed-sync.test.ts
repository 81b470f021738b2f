import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import type { SyncRunState, SyncStatus } from '../../src/api/sync-api.ts';
import { Chance } from './chance.ts';
import { ChildMirror, type Settings } from './child-mirror.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildImage } from '../helpers/image.ts';
import {
  createConfig,
  createTempFolder,
  listPartials,
  partialPath,
  startMirror,
  TEST_TIMING,
} from '../helpers/mirror.ts';
import { UPSTREAM } from '../helpers/scene.ts';
import { rule, syncConfig } from '../sync/rules.ts';

const REPOSITORY = 'library/app';
const ROUNDS = 10;
const MAX_TRIES = 60;

/** A registry of images with a signature each, some of which they share. */
async function createWorld(t: ExecutionContext) {
  const registry = await FakeRegistry.start(t);
  for (let each = 0; each < 8; each += 1) {
    const image = buildImage({ seed: `image ${each}`, layers: [150_000, 60_000, 3_000] });
    registry.addImage(REPOSITORY, `v${each}`, image);
    const signature = buildImage({ seed: `signature ${each % 3}`, layers: [500] });
    registry.addImage(REPOSITORY, `${image.manifest.digest.replace(':', '-')}.sig`, signature);
  }
  const wanted = rule(REPOSITORY, { tags: { globs: ['v*'] }, referrers: true, freshMs: Infinity });
  const sync = syncConfig([wanted], { schedule: '0 0 1 1 *' });
  const upstreams = { [UPSTREAM]: { url: registry.url } };
  const settings = async (): Promise<Settings> => {
    const folder = await createTempFolder(t);
    return {
      config: createConfig(join(folder, 'store'), { upstreams, sync }),
      timing: TEST_TIMING,
      factsFile: join(folder, 'facts'),
      logFile: join(folder, 'log'),
    };
  };
  return { registry, settings, upstreams, sync };
}

async function start(t: ExecutionContext, settings: Settings): Promise<ChildMirror> {
  const mirror = await ChildMirror.start(settings);
  if (typeof mirror === 'string') throw new Error(`the mirror did not start: ${mirror}`);
  t.teardown(async () => mirror.kill());
  return mirror;
}

async function read<Document>(url: string): Promise<Document> {
  const response = await fetch(url);
  return (await response.json()) as Document;
}

/** Resolves when a run of this process has come to its end. */
async function finished({ adminUrl }: ChildMirror): Promise<void> {
  for (;;) {
    const { running, last } = await read<SyncRunState>(`${adminUrl}/api/v1/sync/run`);
    if (last && !running) return;
    await pause(10);
  }
}

async function listBlobs(storePath: string): Promise<string[]> {
  const entries = await readdir(join(storePath, 'blobs'), { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map(({ name }) => `sha256:${name}`)
    .toSorted();
}

/** What the site holds in the end, whatever happened on the way. */
async function describe(mirror: ChildMirror, storePath: string): Promise<object> {
  const { counts, images, unresolved } = await read<SyncStatus>(`${mirror.adminUrl}/api/v1/sync`);
  const { pins } = await read<{ pins: { origin: string; image: string }[] }>(
    `${mirror.adminUrl}/api/v1/pins`,
  );
  return {
    counts,
    unresolved,
    images: images.map((image) => ({ ...image, checkedAt: 0 })),
    pins: pins.map(({ origin, image }) => `${origin} ${image}`).toSorted(),
    blobs: await listBlobs(storePath),
  };
}

/** What the process left: the lengths of the partial files, and the blobs that are whole. */
async function inspect(storePath: string) {
  const names = await listPartials(storePath);
  const sizes = new Map<string, number>();
  for (const name of names) {
    const [, encoded, upstream] = /^sha256-([0-9a-f]{64})@(.+)$/.exec(name) ?? [];
    if (encoded === undefined) continue;
    const digest = `sha256:${encoded}`;
    sizes.set(digest, (await stat(partialPath(storePath, digest, upstream))).size);
  }
  return { sizes, held: new Set(await listBlobs(storePath)) };
}

type Left = Awaited<ReturnType<typeof inspect>>;

/** Requests for blobs that ask again for what was there. */
function repeated(registry: FakeRegistry, { sizes, held }: Left): string[] {
  const blobs = registry.requests.filter(({ path }) => path.includes('/blobs/'));
  const seen = new Set<string>();
  return blobs.flatMap((request) => {
    const digest = request.path.slice(request.path.lastIndexOf('/') + 1);
    const size = sizes.get(digest) ?? 0;
    const isResumed = request.range === (size > 0 ? `bytes=${size}-` : undefined);
    const isRight = !held.has(digest) && !seen.has(digest) && isResumed;
    seen.add(digest);
    return isRight ? [] : [`${String(request)}, of which ${size} bytes were there`];
  });
}

async function undisturbed(t: ExecutionContext, settings: Settings): Promise<object> {
  const mirror = await start(t, settings);
  await finished(mirror);
  const end = await describe(mirror, settings.config.store.path);
  t.is(await mirror.stop(), '0');
  return end;
}

test('killed at random moments it ends as if undisturbed, with nothing fetched twice', async (t) => {
  const { registry, settings, upstreams, sync } = await createWorld(t);
  const expected = await undisturbed(t, await settings());
  const mine = await settings();
  const { path: storePath } = mine.config.store;
  const chance = new Chance(20_301_231);
  const wrong: string[] = [];
  let left: Left = { sizes: new Map(), held: new Set() };
  for (let round = 0; round < ROUNDS; round += 1) {
    registry.clear();
    registry.slow(/\/blobs\//, { bytesPerSecond: 2_000_000, times: Infinity });
    const mirror = await start(t, mine);
    // Some moment in the middle of the next transfers; past the last one the run may end first.
    await Promise.race([
      registry.seen(/\/blobs\//, chance.between(1, 5)),
      finished(mirror).catch(() => undefined),
    ]);
    await pause(chance.between(0, 40));
    t.is(await mirror.kill(), 'SIGKILL');
    wrong.push(...repeated(registry, left));
    left = await inspect(storePath);
  }
  registry.heal();
  registry.clear();
  const last = await start(t, mine);
  await finished(last);
  wrong.push(...repeated(registry, left));
  t.deepEqual(wrong, []);
  t.deepEqual(await describe(last, storePath), expected);
  t.is(await last.stop(), '0');
  // Its end checks every file and record, and that no partial file is left.
  const check = await startMirror(t, { upstreams, sync, storePath });
  await check.stop();
});

for (const step of ['commit.verified', 'commit.synced', 'commit.renamed', 'commit.done']) {
  test(`killed again and again at ${step} it ends as if undisturbed`, async (t) => {
    const { settings, upstreams, sync } = await createWorld(t);
    const expected = await undisturbed(t, await settings());
    const mine = await settings();
    const { path: storePath } = mine.config.store;
    let kills = 0;
    for (let round = 0; round < MAX_TRIES; round += 1) {
      const mirror = await ChildMirror.start({ ...mine, killAt: { step, count: 14 } });
      if (typeof mirror === 'string') {
        kills += 1;
        continue;
      }
      const end = await Promise.race([mirror.gone, finished(mirror).catch(() => mirror.gone)]);
      if (end === undefined) {
        t.deepEqual(await describe(mirror, storePath), expected);
        t.is(await mirror.stop(), '0');
        break;
      }
      kills += 1;
    }
    t.true(kills > 1 && kills < MAX_TRIES);
    const check = await startMirror(t, { upstreams, sync, storePath });
    await check.stop();
  });
}
