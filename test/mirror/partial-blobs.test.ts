/** A blob of which parts are here, as operators see it. */
import test, { type ExecutionContext } from 'ava';
import type { ImageReport, ImageSummary } from '../../src/api/store-api.ts';
import { decodeInventory } from '../../sync/bundle/inventory-file.ts';
import { get, open } from '../helpers/client.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import type { Gate } from '../helpers/gate.ts';
import { buildImage, type Stored } from '../helpers/image.ts';
import { createTempFolder, startMirror, type TestMirror } from '../helpers/mirror.ts';
import { Scrape } from '../helpers/scrape.ts';
import { until } from '../helpers/until.ts';

const KIB = 1024;
const SIZE = 1280 * KIB;
const HALF = SIZE / 2;
const START = 32 * KIB;
const PATH = '/v2/library/app';

interface Place {
  readonly registry: FakeRegistry;
  readonly storePath: string;
  readonly mirror: TestMirror;
  readonly blob: Stored;
  /** Of the first connection, which has brought the start. */
  readonly gate: Gate;
}

async function start(t: ExecutionContext, registry: FakeRegistry, storePath: string) {
  return startMirror(t, {
    storePath,
    upstreams: { 'docker.io': { url: registry.url, segments: 2 } },
    timing: { dividedBytes: 1024 * KIB, turnMs: 60_000 },
    leftovers: { partials: true },
  });
}

/** The start of a layer is here, and its second half; the rest is on its way. */
async function startPart(t: ExecutionContext): Promise<Place> {
  const registry = await FakeRegistry.start(t);
  const image = buildImage({ seed: t.title, layers: [SIZE] });
  registry.addImage('library/app', 'latest', image, { name: 'app' });
  const storePath = await createTempFolder(t);
  const mirror = await start(t, registry, storePath);
  await get(`${mirror.url}${PATH}/manifests/latest`);
  const blob = image.layer(0);
  const gate = registry.hold(blob, { after: START });
  const client = await open(`${mirror.url}${PATH}/blobs/${blob.digest}`);
  await until('the second half', async () => (await bytesOf(mirror)).partial === START + HALF);
  client.destroy();
  return { registry, storePath, mirror, blob, gate };
}

async function bytesOf({ server }: TestMirror): Promise<{ partial: number; reserved: number }> {
  const scrape = await Scrape.of(server.adminUrl);
  const of = (state: string): number => scrape.sum('store_bytes', { state });
  return { partial: of('partial'), reserved: of('reserved') };
}

test('it counts with its bytes while it comes, and what is reserved is the rest', async (t) => {
  const { mirror, gate } = await startPart(t);
  t.deepEqual(await bytesOf(mirror), { partial: START + HALF, reserved: HALF - START });
  t.deepEqual(mirror.server.activity().downloads, 1);
  gate.open();
  await mirror.idle();
  t.deepEqual(await bytesOf(mirror), { partial: 0, reserved: 0 });
});

test('left alone it counts with its bytes and reserves nothing, also after a restart', async (t) => {
  const { registry, storePath, mirror, gate } = await startPart(t);
  await mirror.abandon();
  gate.open();
  const again = await start(t, registry, storePath);
  t.deepEqual(await bytesOf(again), { partial: START + HALF, reserved: 0 });
});

test('it is missing, with its share: from lists, explanations, and the inventory for bundles', async (t) => {
  const { registry, storePath, mirror, blob, gate } = await startPart(t);
  await mirror.abandon();
  gate.open();
  const { server } = await start(t, registry, storePath);
  const ask = async <Body>(path: string): Promise<Body> =>
    JSON.parse(String((await get(`${server.adminUrl}/api/v1/${path}`)).body)) as Body;
  const arrivedBytes = START + HALF;
  const { images } = await ask<{ images: ImageSummary[] }>('images');
  const report = await ask<ImageReport>('explain?image=library/app');
  for (const image of [...images, report]) {
    const config = image.missingBytes - SIZE;
    t.like(image, { state: 'partial', arrivedBytes, bytes: report.manifests[0]?.bytes });
    t.true(config > 0 && config < KIB);
  }
  t.deepEqual(report.manifests[0]?.missing.at(-1), {
    digest: blob.digest,
    size: SIZE,
    arrivedBytes,
  });
  t.false(report.manifests[0]?.held.some(({ digest }) => digest === blob.digest));
  const { body } = await get(`${server.adminUrl}/api/v1/inventory`);
  const { complete, partial, blobs } = await decodeInventory(body);
  t.deepEqual([complete.size, [...partial].length, [...blobs].length], [0, 1, 0]);
});
