import test from 'ava';
import type { SyncReport, SyncRunState, SyncStatus } from '../../src/api/sync-api.ts';
import type { WarmState } from '../../src/api/warm-api.ts';
import { get, type ClientAnswer } from '../helpers/client.ts';
import { buildImage, buildIndex } from '../helpers/image.ts';
import { REPOSITORY, UPSTREAM } from '../helpers/scene.ts';
import { until } from '../helpers/until.ts';
import { rule, syncConfig } from '../sync/rules.ts';
import { messageOf, startGuarded, type Guarded } from './guarded.ts';
import { startScanned } from './scanned.ts';
import { KeyHolder } from './signing.ts';

const SIGNED = 'library/signed';

async function statusOf({ mirror }: Pick<Guarded, 'mirror'>): Promise<SyncStatus> {
  const { body } = await get(`${mirror.server.adminUrl}/api/v1/sync`);
  return JSON.parse(String(body)) as SyncStatus;
}

async function post(
  { mirror }: Pick<Guarded, 'mirror'>,
  path: string,
  body: string,
): Promise<ClientAnswer> {
  const headers = { 'content-type': 'application/json' };
  const url = `${mirror.server.adminUrl}/api/v1/${path}`;
  return get(url, { method: 'POST', headers, body });
}

/** A whole run, of all or of some images. */
async function runOf(
  scene: Guarded,
  wish: { images?: readonly string[] } = {},
): Promise<SyncReport> {
  const { body } = await post(scene, 'sync/run', JSON.stringify(wish));
  return endOf(scene, JSON.parse(String(body)) as SyncRunState);
}

async function endOf(scene: Guarded, { id }: Pick<SyncRunState, 'id'>): Promise<SyncReport> {
  return until('the run is over', async () => {
    const path = id === undefined ? 'sync/run' : `sync/run/${id}`;
    const answer = await get(`${scene.mirror.server.adminUrl}/api/v1/${path}`);
    const state = JSON.parse(String(answer.body)) as SyncRunState;
    return state.running ? undefined : state.last;
  });
}

for (const referrers of [true, false]) {
  for (const way of ['attach', 'attachByTag'] as const) {
    test(`what may not be pulled is not ready, with the reason; what sync has brought the signature of is: referrers ${referrers}, ${way}`, async (t) => {
      const rules = [REPOSITORY, SIGNED].map((image) =>
        rule(image, { tags: { names: ['latest'] }, referrers }),
      );
      const scene = await startGuarded(t, { sync: syncConfig(rules) });
      const { registry, image, mirror, signer, admission } = scene;
      registry.addImage(SIGNED, 'latest', image);
      signer[way](registry, SIGNED, image.manifest);
      await post(scene, 'sync/run', '{}');
      await until('both are here', async () => {
        const { images } = await statusOf(scene);
        const isWhole = images.every(({ missing, bytes }) => bytes > 0 && missing.length === 0);
        return images.length === 2 && isWhole && images.some(({ state }) => state === 'ready');
      });
      const { images } = await statusOf(scene);
      const told = images.map(({ image: name, state, reason }) => ({ name, state, reason }));
      t.like(
        told.find(({ name }) => name.endsWith(REPOSITORY)),
        {
          state: 'partial',
          reason:
            'it may not be pulled: admission.rules[0] is not met by what is held: it has no signature',
        },
      );
      t.is(told.find(({ name }) => name.endsWith(SIGNED))?.state, 'ready');
      // What is ready is pulled without the upstream, and the other one is not.
      const upstreams = { [UPSTREAM]: { url: registry.url } };
      t.is((await mirror.reload({ upstreams, admission, offline: true })).status, 200);
      t.is((await scene.ask(`/v2/${SIGNED}/manifests/latest`)).status, 200);
      t.is((await scene.manifest('latest')).status, 403);
    });
  }
}

test('a run of sync counts what may not be pulled as failed, each time, and says which and why', async (t) => {
  const rules = [REPOSITORY, SIGNED].map((image) => rule(image, { tags: { names: ['latest'] } }));
  const scene = await startGuarded(t);
  const { registry, image, mirror, signer, admission } = scene;
  registry.addImage(SIGNED, 'latest', image);
  signer.attach(registry, SIGNED, image.manifest);
  const refused = `${UPSTREAM}/${REPOSITORY}:latest`;
  const failure = {
    rule: 'sync.rules[0]',
    image: refused,
    reason: 'it may not be pulled: admission.rules[0] is not met: it has no signature',
  };
  // The run that begins with the rules is the first one.
  const gate = registry.hold(image.layer(0));
  const upstreams = { [UPSTREAM]: { url: registry.url } };
  const sync = syncConfig(rules);
  t.is((await mirror.reload({ upstreams, admission, sync })).status, 200);
  await gate.arrived();
  await post(scene, 'sync/run', '{}');
  gate.open();
  const first = await endOf(scene, {});
  t.deepEqual([first.isOk, first.failures], [false, [failure]]);
  t.deepEqual(first.images, { fetched: 1, kept: 0, failed: 1 });
  const again = await runOf(scene);
  t.deepEqual([again.isOk, again.failures], [false, [failure]]);
  t.deepEqual(again.images, { fetched: 0, kept: 1, failed: 1 });
  await mirror.logged('not synced', 2);
  const some = await runOf(scene, { images: [refused] });
  t.deepEqual([some.isOk, some.images.failed], [false, 1]);
  // Once it is signed nothing is wrong any more.
  signer.attach(registry, REPOSITORY, image.manifest);
  scene.clock.advance(31_000);
  t.deepEqual((await runOf(scene)).images, { fetched: 0, kept: 2, failed: 0 });
});

test('of one that somebody else has signed what is held says the same as its pull, also offline', async (t) => {
  const rules = [rule(REPOSITORY, { tags: { names: ['latest'] } })];
  const scene = await startGuarded(t, { sync: syncConfig(rules) });
  const { registry, image, mirror, admission } = scene;
  new KeyHolder().attachByTag(registry, REPOSITORY, image.manifest);
  await post(scene, 'sync/run', '{}');
  const reason = 'the signature is of no key that counts here, or what it signs was changed';
  await until('it is here', async () => {
    const { images } = await statusOf(scene);
    return images.some((each) => each.reason?.endsWith(reason));
  });
  t.true(messageOf(await scene.manifest('latest')).includes(reason));
  const upstreams = { [UPSTREAM]: { url: registry.url } };
  t.is((await mirror.reload({ upstreams, admission, offline: true })).status, 200);
  t.true(messageOf(await scene.manifest('latest')).includes(reason));
});

test('sync has what it brings scanned, and judges the platforms that are wanted alone', async (t) => {
  const [sound, other] = ['clean', 'vulnerable'].map((seed) => buildImage({ seed, layers: [100] }));
  const index = buildIndex([
    { image: sound!, platform: { os: 'linux', architecture: 'arm64' } },
    { image: other!, platform: { os: 'linux', architecture: 'amd64' } },
  ]);
  const wants = { tags: { names: ['latest'] } };
  const sync = syncConfig([
    rule('library/all', wants),
    rule('library/arm', { ...wants, platforms: ['linux/arm64'] }),
  ]);
  const scene = await startScanned(t, { sync });
  const { registry, scanner } = scene;
  const { digest } = other!.manifest;
  scanner.findings.set(digest, [{ id: 'CVE-2024-45491', fix: '1' }]);
  registry.addIndex('library/all', 'latest', index);
  registry.addIndex('library/arm', 'latest', index);
  await post(scene, 'sync/run', '{}');
  await until('the run is over', async () => {
    const { run, images } = await statusOf(scene);
    return images.length === 2 && !run.running && run.last !== undefined;
  });
  const { images } = await statusOf(scene);
  const [all, arm] = ['all', 'arm'].map((name) => images.find(({ image }) => image.endsWith(name)));
  t.is(all!.state, 'partial');
  t.regex(all!.reason!, new RegExp(`its part ${digest}: it may not be pulled: .*CVE-2024-45491`));
  t.is(arm!.state, 'ready', arm!.reason);
});

test('an image that may not be pulled is not warm, with the reason', async (t) => {
  const scene = await startGuarded(t);
  const { registry, image, signer } = scene;
  registry.addImage(SIGNED, 'latest', image);
  signer.attach(registry, SIGNED, image.manifest);
  const images = [REPOSITORY, SIGNED].map((each) => `${UPSTREAM}/${each}:latest`);
  const { body } = await post(scene, 'warm', JSON.stringify({ images }));
  const { id } = JSON.parse(String(body)) as WarmState;
  const report = await until('all are fetched', async () => {
    const answer = await get(`${scene.mirror.server.adminUrl}/api/v1/warm/${id}`);
    return (JSON.parse(String(answer.body)) as WarmState).last;
  });
  const told = report.images.map(({ state, reason }) => ({ state, ...(reason && { reason }) }));
  t.deepEqual(told, [
    {
      state: 'failed',
      reason: 'it may not be pulled: admission.rules[0] is not met: it has no signature',
    },
    { state: 'ready' },
  ]);
});
