import { readFile, writeFile } from 'node:fs/promises';
import test from 'ava';
import { parseDigest } from '../../../src/oci/digest.ts';
import { Drafts } from '../../../sync/bundle/drafts.ts';
import { NOTHING_TO_SYNC } from '../../../sync/sync.ts';
import { SyncState } from '../../../sync/state.ts';
import { FakeTimer } from '../../helpers/fake-timer.ts';
import { buildImage } from '../../helpers/image.ts';
import { until } from '../../helpers/until.ts';
import { splitTarget, parseTag } from '../../../src/oci/reference.ts';
import { Site, START } from '../site.ts';
import { Connected } from './connected.ts';
import { APP, filesOf, REPOSITORY } from './draft-world.ts';

const MINUTE = 60_000;

async function collect({ mirror }: Connected): Promise<void> {
  const answer = await fetch(`${mirror.server.adminUrl}/api/v1/gc`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ bytes: 2 ** 40 }),
  });
  if (answer.status !== 200) throw new Error(await answer.text());
}

test('what an open draft has is not evicted, also while more of it is fetched; after its end it goes', async (t) => {
  const site = await Connected.start(t);
  const { registry, mirror, drafts } = site;
  const held = buildImage({ seed: 'held', layers: [3000] });
  const coming = buildImage({ seed: 'coming', layers: [2000] });
  registry.addImage(REPOSITORY, 'v1', held);
  registry.addImage(REPOSITORY, 'v2', coming);
  await drafts.draft({ images: [`${APP}:v1`] });
  const gate = registry.hold(coming.layer(0), { after: 100 });
  const begun = await drafts.begin({ images: [`${APP}:v1`, `${APP}:v2`] });
  const { id } = begun.body;
  await gate.arrived();
  await collect(site);
  gate.open();
  await until('the draft is made', async () => (await drafts.look(id)).body.last !== undefined);
  const { draft, problems } = (await drafts.look(id)).body.last!;
  t.deepEqual(problems, []);
  t.deepEqual(draft?.blobs, filesOf(held, coming));
  await mirror.idle();
  await collect(site);
  for (const { digest, size } of draft!.blobs) {
    const answer = await drafts.blob(id, digest, 0, size);
    t.is((await answer.arrayBuffer()).byteLength, size);
  }
  await drafts.end(id);
  await until('its blobs can go', async () => {
    await collect(site);
    return mirror.server.store.catalog.usage.blobs === 0;
  });
});

test('a draft gives the bytes of its own blobs alone', async (t) => {
  const { registry, drafts } = await Connected.start(t);
  const [one, two] = ['one', 'two'].map((seed) => buildImage({ seed, layers: [500] }));
  registry.addImage(REPOSITORY, 'v1', one!);
  registry.addImage(REPOSITORY, 'v2', two!);
  await drafts.draft({ images: [`${APP}:v2`] });
  const { id } = await drafts.report({ images: [`${APP}:v1`] });
  const { digest } = one!.layer(0);
  const statuses = [];
  for (const [blob, start, end] of [
    [digest, 0, 500],
    [digest, 0, 501],
    [digest, 7, 7],
    [digest, -1, 2],
    [two!.layer(0).digest, 0, 500],
    ['..%2Fetc', 0, 1],
  ] as const) {
    const answer = await drafts.blob(id, blob, start, end);
    await answer.arrayBuffer();
    statuses.push(answer.status);
  }
  t.deepEqual(statuses, [200, 404, 400, 400, 404, 404]);
  t.is((await drafts.blob('none', digest, 0, 500)).status, 404);
  await drafts.end(id);
});

test('the answer of a blob that is damaged breaks off, and the next draft has it anew', async (t) => {
  const { registry, mirror, drafts } = await Connected.start(t);
  const image = buildImage({ seed: 'one', layers: [5000] });
  registry.addImage(REPOSITORY, 'v1', image, { name: 'one' });
  const { id } = await drafts.report({ images: [`${APP}:v1`] });
  const { digest, size } = image.layer(0);
  const path = mirror.server.store.blobs.folders.blobPath(parseDigest(digest));
  const bytes = await readFile(path);
  bytes[4000]! ^= 1;
  await writeFile(path, bytes);
  const answer = await drafts.blob(id, digest, 0, size);
  await t.throwsAsync(answer.arrayBuffer());
  t.is((await drafts.blob(id, digest, 0, size)).status, 404);
  await drafts.end(id);
  registry.clear();
  const again = await drafts.report({ images: [`${APP}:v1`] });
  t.true(registry.conversation().includes(`GET /v2/${REPOSITORY}/blobs/<one.layer0>`));
  const mended = await drafts.blob(again.id, digest, 0, size);
  t.deepEqual(Buffer.from(await mended.arrayBuffer()), image.layer(0).bytes);
  await drafts.end(again.id);
});

test('four drafts are open at most; one that ends makes room for the next', async (t) => {
  const { registry, drafts } = await Connected.start(t);
  registry.addImage(REPOSITORY, 'v1', buildImage({ seed: 'one', layers: [100] }));
  const wish = { images: [`${APP}:v1`] };
  const open = [];
  for (let count = 0; count < 4; count += 1) open.push(await drafts.report(wish));
  const refused = await drafts.begin(wish);
  t.deepEqual(
    [refused.status, refused.body.error],
    [409, '4 bundles are being made already: wait for the end of one of them'],
  );
  await drafts.end(open[0]!.id);
  t.is((await drafts.begin(wish)).status, 202);
  for (const { id } of open) await drafts.end(id);
});

test('a draft ends once nobody has asked for it for ten minutes', async (t) => {
  const timer = new FakeTimer(START);
  const { engine, registry, storePath } = await Site.start(t, { timer });
  registry.addImage(REPOSITORY, 'v1', buildImage({ seed: 'one', layers: [100] }));
  const { store, mirror, metrics } = engine;
  const drafts = new Drafts({
    ...store.parts,
    pins: store.care.pins,
    prefetcher: mirror.prefetcher,
    refusal: async () => undefined,
    isJudged: () => false,
    verdicts: async () => [],
    metrics,
    log: { info: () => undefined, warn: () => undefined } as never,
    timer,
    store,
    brought: () => [],
    state: await SyncState.open(`${storePath}/sync.json`),
    config: NOTHING_TO_SYNC,
    resolve: () => ({ target: splitTarget(APP), tag: parseTag('v1') }),
  });
  const { id } = await drafts.draft({ images: ['v1'], files: [] });
  await until('it is made', () => drafts.draftState(id)?.last !== undefined);
  await timer.waited();
  await timer.advance(9 * MINUTE);
  t.truthy(drafts.draftState(id));
  await timer.advance(9 * MINUTE);
  t.truthy(drafts.draftState(id));
  await timer.advance(10 * MINUTE);
  await until('it has ended', () => drafts.draftState(id) === undefined);
  await drafts.closed();
});

test('a draft that is ended fetches nothing more, and so it is where the server stops', async (t) => {
  const { registry, mirror, drafts } = await Connected.start(t, { leftovers: { partials: true } });
  const image = buildImage({ seed: 'one', layers: [3000] });
  registry.addImage(REPOSITORY, 'v1', image, { name: 'one' });
  const gate = registry.hold(image.layer(0), { after: 100, times: Infinity });
  const { body } = await drafts.begin({ images: [`${APP}:v1`] });
  await gate.arrived();
  t.is(await drafts.end(body.id), 204);
  t.is((await drafts.look(body.id)).status, 404);
  t.is((await drafts.begin({ images: [`${APP}:v1`] })).status, 202);
  await mirror.abandon();
  gate.open();
});
