import test, { type ExecutionContext } from 'ava';
import type { WarmReport, WarmState } from '../../src/api/warm-api.ts';
import { parseDigest } from '../../src/oci/digest.ts';
import { parseImageName, parseRepository, parseTag, splitTarget } from '../../src/oci/reference.ts';
import { Warmer } from '../../sync/warmer.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildArtifact, buildImage, buildIndex, type Image } from '../helpers/image.ts';
import { startMirror, type MirrorOptions, type TestMirror } from '../helpers/mirror.ts';
import { get } from '../helpers/client.ts';
import { UPSTREAM } from '../helpers/scene.ts';
import { until } from '../helpers/until.ts';
import { TestLog } from '../helpers/test-log.ts';
import { rule, syncConfig } from './rules.ts';
import { Site } from './site.ts';

const REPOSITORY = 'library/app';
const APP = `${UPSTREAM}/${REPOSITORY}`;
const TARGET = { upstream: UPSTREAM, repository: parseRepository(REPOSITORY) };
const PLATFORMS = ['amd64', 'arm64'].map((architecture) => ({ os: 'linux', architecture }));

function image(seed: string, layers: readonly number[] = [500]): Image {
  return buildImage({ seed, layers, platform: PLATFORMS[0]! });
}

/** What is held at a gate brings nothing, and is neither asked for again nor gives its place up for it. */
const PATIENT = { turnMs: 300_000, stallMs: 300_000 };

async function start(t: ExecutionContext, options: Partial<MirrorOptions> = {}) {
  const registry = await FakeRegistry.start(t);
  const upstreams = { [UPSTREAM]: { url: registry.url } };
  const mirror = await startMirror(t, { upstreams, timing: PATIENT, ...options });
  return { registry, mirror };
}

async function send(
  { server }: TestMirror,
  body: object,
): Promise<{ status: number; body: WarmState & { error?: string } }> {
  const answer = await fetch(`${server.adminUrl}/api/v1/warm`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  });
  return { status: answer.status, body: (await answer.json()) as WarmState };
}

async function look({ server }: TestMirror, id: string): Promise<WarmState> {
  const answer = await fetch(`${server.adminUrl}/api/v1/warm/${id}`);
  return (await answer.json()) as WarmState;
}

async function warm(mirror: TestMirror, body: object): Promise<WarmReport> {
  const begun = await send(mirror, body);
  if (begun.status !== 202) throw new Error(JSON.stringify(begun));
  let report: WarmReport | undefined;
  await until('the warm has ended', async () => {
    report = (await look(mirror, begun.body.id)).last;
    return report !== undefined;
  });
  return report!;
}

/** An index of two platforms with a signature, as `v1`. */
function addIndexed(registry: FakeRegistry) {
  const [amd64, arm64] = PLATFORMS.map((platform) =>
    buildImage({ seed: platform.architecture, layers: [4000, 300], platform }),
  ) as [Image, Image];
  const index = buildIndex([
    { image: amd64, platform: PLATFORMS[0]! },
    { image: arm64, platform: PLATFORMS[1]! },
  ]);
  registry.addIndex(REPOSITORY, 'v1', index, { name: 'index' });
  const artifactType = 'application/vnd.example.signature';
  const signature = buildArtifact({ seed: 's', artifactType, subject: index.manifest });
  registry.addImage(REPOSITORY, undefined, signature, { name: 'signature' });
  return { all: [amd64, arm64, signature], arm64, digest: index.manifest.digest };
}

const CONTENT = / \/v2\/library\/app\/(?:blobs|manifests)\//;

/** The files that were fetched, each as often as it was. */
function fetched(registry: FakeRegistry): string[] {
  const lines = registry.conversation().filter((line) => line.startsWith('GET'));
  const files = lines.filter((line) => CONTENT.test(line));
  return files.map((line) => line.replace(/^.*\/(?=[^/]+$)/, '')).toSorted();
}

test('a warm fetches whole images once, with all that is attached; pulls then fetch nothing', async (t) => {
  const { registry, mirror } = await start(t);
  const { all } = addIndexed(registry);
  const platforms = ['<index.0', '<index.1'].flatMap((name) =>
    ['', '.config', '.layer0', '.layer1'].map((part) => `${name}${part}>`),
  );
  const once = [...platforms, '<index>', '<signature.config>', '<signature.layer0>', '<signature>'];
  // The same image by two names is one.
  const report = await warm(mirror, { images: [`${REPOSITORY}:v1`, `${APP}:v1`] });
  t.true(report.isOk);
  t.like(report.images, [{ image: `${APP}:v1`, state: 'ready', missingBytes: 0 }]);
  t.is(report.images.length, 1);
  t.deepEqual(fetched(registry), once.toSorted());
  t.is(
    registry.conversation().filter((line) => line === `HEAD /v2/${REPOSITORY}/manifests/v1`).length,
    1,
  );
  t.deepEqual(mirror.server.store.care.pins.list(), []);
  registry.clear();
  t.is((await get(`${mirror.url}/v2/${REPOSITORY}/manifests/v1`)).status, 200);
  for (const { manifest, blobs } of all) {
    for (const path of [
      `manifests/${manifest.digest}`,
      `referrers/${manifest.digest}`,
      ...blobs.map(({ digest }) => `blobs/${digest}`),
    ]) {
      t.is((await get(`${mirror.url}/v2/${REPOSITORY}/${path}`)).status, 200, path);
    }
  }
  t.deepEqual(fetched(registry), []);
  // Again, it is one HEAD a tag and the search for what was attached since.
  registry.clear();
  t.true((await warm(mirror, { images: [`${APP}:v1`] })).isOk);
  t.deepEqual(fetched(registry), []);
});

test('of the platforms that a wish names no other is fetched, and by digest no tag is asked for', async (t) => {
  const { registry, mirror } = await start(t);
  const { arm64, digest } = addIndexed(registry);
  const report = await warm(mirror, { images: [`${APP}@${digest}`], platforms: ['linux/arm64'] });
  t.true(report.isOk);
  t.like(report.images[0], { image: `${APP}@${digest}`, digest, state: 'ready' });
  const lines = registry.conversation();
  t.deepEqual(
    lines.filter((line) => line.includes('index.0')),
    [],
  );
  t.deepEqual(
    lines.filter((line) => line.endsWith('/v1')),
    [],
  );
  t.is((await get(`${mirror.url}/v2/${REPOSITORY}/blobs/${arm64.layer(0).digest}`)).status, 200);
  const none = await warm(mirror, { images: [`${APP}:v1`], platforms: ['linux/s390x'] });
  t.like(none.images[0], { state: 'failed', reason: 'it is not for linux/s390x' });
  t.false(none.isOk);
});

test('a warm, a client, another warm and sync that want one layer have one transfer', async (t) => {
  const rules = [rule(REPOSITORY, { tags: { names: ['v1'] } })];
  const sync = syncConfig(rules, { schedule: '0 0 1 1 *' });
  const { registry, mirror } = await start(t, { sync });
  const one = image('one', [30_000]);
  registry.addImage(REPOSITORY, 'v1', one, { name: 'one' });
  const gate = registry.hold(one.layer(0), { after: 1_000, times: Infinity });
  const begun = await Promise.all([
    send(mirror, { images: [`${APP}:v1`] }),
    send(mirror, { images: [`${APP}:v1`] }),
  ]);
  await gate.arrived();
  await mirror.server.store.care.settled;
  const pulled = get(`${mirror.url}/v2/${REPOSITORY}/blobs/${one.layer(0).digest}`);
  const { running } = await look(mirror, begun[0].body.id);
  t.like(running, { images: { done: 0, failed: 0, total: 1 } });
  gate.open();
  t.true((await pulled).body.equals(one.layer(0).bytes));
  for (const { body } of begun) {
    await until('it has ended', async () => (await look(mirror, body.id)).last?.isOk === true);
  }
  await mirror.logged('sync run');
  t.deepEqual(
    fetched(registry).filter((line) => line.includes('layer')),
    ['<one.layer0>'],
  );
});

test('a wish goes on though nobody looks, and tells how far it is', async (t) => {
  const { registry, mirror } = await start(t);
  const one = image('one', [30_000]);
  registry.addImage(REPOSITORY, 'v1', one);
  const gate = registry.hold(one.layer(0), { after: 10_000 });
  const { body } = await send(mirror, { images: [`${APP}:v1`], deadline: '2m' });
  await gate.arrived();
  let { running } = await look(mirror, body.id);
  await until('what has come is told', async () => {
    ({ running } = await look(mirror, body.id));
    return (running?.bytes.done ?? 0) >= 10_000;
  });
  t.is(running!.deadlineAt - running!.startedAt, 120_000);
  t.is(running!.bytes.total, one.layer(0).size + one.config.size);
  gate.open();
  await mirror.logged('images warmed');
  registry.clear();
  t.is((await get(`${mirror.url}/v2/${REPOSITORY}/blobs/${one.layer(0).digest}`)).status, 200);
  t.deepEqual(registry.conversation(), []);
});

test('each image has its own end: ready, failed and why, or late; and nothing late is begun', async (t) => {
  const { site, warmer } = await startSite(t);
  const { registry, timer } = site;
  for (const tag of ['good', 'lost', 'slow']) {
    registry.addImage(REPOSITORY, tag, image(tag, [3000, 200, 100, 50, 20]), { name: tag });
  }
  registry.status(image('lost', [3000]).layer(0), 404, { times: Infinity });
  const slow = image('slow', [3000, 200, 100, 50, 20]);
  const gate = registry.hold(slow.config, { after: 1 });
  const names = ['good', 'gone', 'lost', 'slow'].map((tag) => `${APP}:${tag}`);
  const { id } = warmer.begin({ images: names, platforms: 'all', deadlineMs: 60_000 });
  await gate.arrived();
  await until('all others have ended', () => {
    const { done, failed } = warmer.state(id)!.running!.images;
    return done === 1 && failed === 2;
  });
  await timer.advance(60_000);
  await until('it has ended', () => warmer.state(id)?.last !== undefined);
  const { isOk, images } = warmer.state(id)!.last!;
  t.false(isOk);
  t.like(images, [
    { image: names[0], state: 'ready', missingBytes: 0 },
    { image: names[1], state: 'failed', bytes: 0, reason: 'the upstream has no such tag' },
    {
      image: names[2],
      state: 'failed',
      reason: `the upstream has no ${image('lost', [3000]).layer(0).digest}`,
    },
    { image: names[3], state: 'late', reason: 'not all of it was here by the deadline' },
  ]);
  t.true(images[3]!.missingBytes > 0);
  // What is on its way comes; the tag means nothing here until all of it is.
  registry.clear();
  gate.open();
  await until('no download runs', () => site.engine.mirror.activity.downloads === 0);
  t.truthy(await site.engine.store.catalog.findBlob(parseDigest(slow.config.digest)));
  t.deepEqual(registry.conversation(), []);
  t.is(await site.engine.store.catalog.findTag(TARGET, parseTag('slow')), undefined);
});

test('an upstream that fails is asked again, within the deadline', async (t) => {
  const { site, warmer } = await startSite(t);
  const { registry, timer } = site;
  registry.addImage(REPOSITORY, 'v1', image('one'));
  registry.status('v1', 503, { times: 20 });
  const begin = (deadlineMs: number): string =>
    warmer.begin({ images: [`${APP}:v1`], platforms: 'all', deadlineMs }).id;
  // The first pause would last longer.
  const short = begin(2_000);
  await until('it has ended', () => warmer.state(short)?.last !== undefined);
  t.like(warmer.state(short)!.last!.images[0], { state: 'failed' });
  t.regex(warmer.state(short)!.last!.images[0]!.reason!, /^hub\.example: .*503/);
  const long = begin(60_000);
  // The deadline, and the pause before the next attempt.
  await timer.waited(2);
  registry.heal();
  await timer.advance(5_000);
  await until('it has ended', () => warmer.state(long)?.last !== undefined);
  t.true(warmer.state(long)!.last!.isOk);
});

test('warms leave the last place of an upstream to clients', async (t) => {
  const registry = await FakeRegistry.start(t);
  const upstreams = { [UPSTREAM]: { url: registry.url, concurrency: 2 } };
  const mirror = await startMirror(t, { upstreams, timing: PATIENT });
  // Larger than what has places of its own.
  const [many, wanted] = [image('many', [2_000_000, 2_100_000]), image('wanted', [2_200_000])];
  registry.addImage(REPOSITORY, 'many', many, { name: 'many' });
  registry.addImage(REPOSITORY, 'wanted', wanted, { name: 'wanted' });
  const gates = [0, 1].map((at) => registry.hold(many.layer(at), { after: 1_000 }));
  const { body } = await send(mirror, { images: [`${APP}:many`] });
  await Promise.race(gates.map(async (gate) => gate.arrived()));
  const pulled = await get(`${mirror.url}/v2/${REPOSITORY}/blobs/${wanted.layer(0).digest}`);
  t.true(pulled.body.equals(wanted.layer(0).bytes));
  const layers = fetched(registry).filter((line) => line.includes('layer'));
  t.is(layers.filter((line) => line.includes('many')).length, 1, 'the other one waits');
  for (const gate of gates) gate.open();
  await until('it has ended', async () => (await look(mirror, body.id)).last?.isOk === true);
});

test('a mirror that is offline warms nothing and says what to ask', async (t) => {
  const { registry, mirror } = await start(t);
  registry.addImage(REPOSITORY, 'v1', image('one', [30_000]));
  const gate = registry.hold(image('one', [30_000]).layer(0), { after: 1_000 });
  const { body } = await send(mirror, { images: [`${APP}:v1`] });
  await gate.arrived();
  const upstreams = { [UPSTREAM]: { url: registry.url } };
  t.is((await mirror.reload({ upstreams, offline: true })).status, 200);
  const error =
    'this mirror is set offline and asks no upstream; "entrepot explain IMAGE" tells what is held of an image';
  await until('it has ended', async () => (await look(mirror, body.id)).last !== undefined);
  t.like((await look(mirror, body.id)).last!.images[0], { state: 'failed', reason: error });
  registry.clear();
  t.deepEqual(await send(mirror, { images: [`${APP}:v1`] }), {
    status: 409,
    body: { error } as never,
  });
  t.deepEqual(registry.conversation(), []);
  gate.open();
});

test('what names no image of this mirror is refused before anything is asked, all of it at once', async (t) => {
  const { registry, mirror } = await start(t);
  const refused = async (...images: string[]) => {
    const { status, body } = await send(mirror, { images });
    return [status, body.error];
  };
  const unknown =
    '"ghcr.io" is not an upstream of this mirror, which has hub.example; add it under "upstreams" in the configuration file';
  const glob = '"library/*" is not one image: write it as REPOSITORY:TAG or REPOSITORY@DIGEST';
  t.deepEqual(await refused('ghcr.io/a/b:1', `${APP}:v1`), [404, unknown]);
  t.deepEqual(await refused('library/*', 'ghcr.io/a/b:1'), [400, `${glob}; ${unknown}`]);
  t.deepEqual(await refused(), [400, 'name an image at least']);
  const many = Array.from({ length: 101 }, (_, at) => `${APP}:v${at}`);
  t.deepEqual(await refused(...many), [400, 'name 100 images at most']);
  t.deepEqual(registry.conversation(), []);
});

test('so many warms run at a time, and so many reports are remembered', async (t) => {
  const { site, warmer } = await startSite(t);
  const { registry } = site;
  const one = image('one', [30_000]);
  registry.addImage(REPOSITORY, 'v1', one);
  const gate = registry.hold(one.layer(0), { after: 1_000 });
  const begin = (): string =>
    warmer.begin({ images: [`${APP}:v1`], platforms: 'all', deadlineMs: 60_000 }).id;
  const ids = Array.from({ length: 4 }, begin);
  await gate.arrived();
  t.throws(begin, { message: '4 warms run already: wait for the end of one of them' });
  gate.open();
  for (let round = 0; round < 13; round += 1) {
    await until('all have ended', () => warmer.state(ids.at(-1)!)?.last !== undefined);
    ids.push(begin());
  }
  await until('all have ended', () => warmer.state(ids.at(-1)!)?.last !== undefined);
  t.is(ids.filter((id) => warmer.state(id) !== undefined).length, 16);
});

test('a server that stops ends its warms and keeps what has come', async (t) => {
  const { registry, mirror } = await start(t, { leftovers: { partials: true } });
  const one = image('one', [3_000_000]);
  registry.addImage(REPOSITORY, 'v1', one, { name: 'one' });
  const gate = registry.hold(one.layer(0), { after: 1_000_000 });
  const { body } = await send(mirror, { images: [`${APP}:v1`] });
  await gate.arrived();
  await until('what was sent has come', async () => {
    const { running } = await look(mirror, body.id);
    return (running?.bytes.done ?? 0) >= 1_000_000;
  });
  await mirror.abandon();
  registry.heal();
  gate.open();
  const upstreams = { [UPSTREAM]: { url: registry.url } };
  const again = await startMirror(t, { upstreams, storePath: mirror.storePath });
  registry.clear();
  t.true((await warm(again, { images: [`${APP}:v1`] })).isOk);
  const lines = registry.conversation().filter((line) => line.includes('/blobs/<one.layer0>'));
  t.regex(lines.join(), /^GET \S+ bytes=\d+-$/);
});

/** A warmer whose time passes when the test says so. */
async function startSite(t: ExecutionContext): Promise<{ site: Site; warmer: Warmer }> {
  const site = await Site.start(t, {});
  const { store, mirror } = site.engine;
  const warmer = new Warmer({
    ...store.parts,
    prefetcher: mirror.warming,
    refusal: async () => undefined,
    isJudged: () => false,
    log: new TestLog('info').logger,
    timer: site.timer,
    isOffline: false,
    resolve: (name) => {
      const { name: target, ...reference } = parseImageName(name);
      return { target: splitTarget(target), ...reference };
    },
  });
  t.teardown(async () => {
    warmer.stop();
    await warmer.closed();
  });
  return { site, warmer };
}
