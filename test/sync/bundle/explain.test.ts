/** Where each digest of an image came from, as `explain` says it. */
import test from 'ava';
import type { ImageReport } from '../../../src/api/store-api.ts';
import { get } from '../../helpers/client.ts';
import { clockOf } from '../../helpers/clock.ts';
import { FakeRegistry } from '../../helpers/fake-registry.ts';
import { buildArtifact, buildImage, buildIndex, type Image } from '../../helpers/image.ts';
import { startMirror, type TestMirror } from '../../helpers/mirror.ts';
import { bring, bundleOf, COURIER, pull, REGISTRY, trusted } from './brought-bundle.ts';
import { Connected } from './connected.ts';

const DAY = 86_400_000;
const SERIES = '5b7a0c1e-93d4-4a52-8f60-1d2e3f405162';
const APP = buildImage({ seed: 'app', layers: [9000, 2000] });
/** It shares its first layer with the one before. */
const NEXT = buildImage({ seed: 'next', layers: [APP.layer(0), 3000] });
const ARM = buildImage({ seed: 'arm', layers: [4000] });
const INDEX = buildIndex([
  { image: NEXT, platform: { os: 'linux', architecture: 'amd64' } },
  { image: ARM, platform: { os: 'linux', architecture: 'arm64' } },
]);
const SIGNATURE = buildArtifact({
  seed: 'signature',
  artifactType: 'application/vnd.example.signature',
  subject: INDEX.manifest,
});

const FILES = [NEXT, ARM, SIGNATURE].flatMap(({ manifest, blobs }) => [manifest, ...blobs]);
const BUNDLE = bundleOf(
  [
    { image: { manifest: INDEX.manifest, blobs: FILES }, repository: 'org/app', tag: 'v2' },
    { image: SIGNATURE, repository: 'org/app', tag: 'signature' },
  ],
  { manifest: { series: SERIES, number: 7 } },
);
/** It lists a layer that it shares with the image of another registry. */
const CLAIM = buildImage({ seed: 'claim', layers: [APP.layer(0)] });
const TRUST = { trust: { courier: trusted(COURIER) } };

function short({ digest }: { readonly digest: string }): string {
  return digest.slice(0, 'sha256:'.length + 12);
}

function sizeOf({ digest, size }: { readonly digest: string; readonly size: number }) {
  return { digest, size };
}

async function pullWhole(mirror: TestMirror, repository: string, tag: string, image: Image) {
  await pull(mirror, repository, tag);
  for (const { digest } of image.blobs) {
    await get(`${mirror.url}/v2/${repository}/blobs/${digest}?ns=${REGISTRY}`);
  }
  await mirror.idle();
}

async function explain(mirror: TestMirror, image: string): Promise<ImageReport> {
  const url = `${mirror.server.adminUrl}/api/v1/explain?image=${REGISTRY}/${image}`;
  return JSON.parse(String((await get(url)).body)) as ImageReport;
}

test('explain says of each digest which upstream or bundle it came from, after a restart too', async (t) => {
  const [before, now] = [Date.now() - 3 * DAY, Date.now()];
  let wall = before;
  const site = await Connected.start(t, { bundles: TRUST, clock: clockOf(() => wall) });
  site.registry.addImage('org/app', 'v1', APP);
  site.registry.addImage('org/app', 'next', NEXT);
  await pullWhole(site.mirror, 'org/app', 'v1', APP);
  wall = now;
  t.is((await bring(site.mirror, await BUNDLE.part(1))).status, 200);
  // What it has by bundle an upstream serves too.
  await pullWhole(site.mirror, 'org/app', 'next', NEXT);
  const told = await site.run('explain', `${REGISTRY}/org/app:v2`);
  t.is(told.code, 0, told.stderr);
  const [facts = '', manifests = '', blobs = ''] = told.stdout.split('\n\n');
  t.true(facts.endsWith(`\n  bundle   7 of series ${SERIES}`), facts);
  const from = 'bundle 7 of 5b7a0c1e, just now';
  const rows = manifests.split('\n').slice(1);
  t.deepEqual(
    rows.map((row) => [row.slice(0, 19), row.slice(-from.length)]),
    [INDEX, NEXT, ARM, SIGNATURE].map(({ manifest }) => [short(manifest), from]),
  );
  t.deepEqual(blobs.trimEnd().split('\n'), [
    'BLOB                 SIZE      FROM',
    `${short(APP.layer(0))}  8.79 KiB  hub.example, 3 days ago`,
  ]);
  const { manifests: reports } = await explain(site.mirror, 'org/app:v2');
  const brought = { bundle: { series: SERIES, number: 7 }, storedAt: now };
  const sent = { upstream: REGISTRY, storedAt: before };
  const [shared, own] = [NEXT.layer(0), NEXT.layer(1)];
  t.deepEqual(reports.find(({ digest }) => digest === NEXT.manifest.digest)?.held, [
    ...[NEXT.manifest, NEXT.config].map((blob) => ({ ...sizeOf(blob), ...brought })),
    { ...sizeOf(shared), ...sent },
    { ...sizeOf(own), ...brought },
  ]);
  const pulled = await explain(site.mirror, 'org/app:v1');
  t.deepEqual(
    pulled.manifests.flatMap(({ held }) => held),
    [APP.manifest, ...APP.blobs].map((blob) => ({ ...sizeOf(blob), ...sent })),
  );
  await site.mirror.stop();
  t.deepEqual(await site.run('explain', `${REGISTRY}/org/app:v2`), told);
  t.is((await site.run('verify', '--rebuild')).code, 0);
  const forgotten = await site.run('explain', `${REGISTRY}/org/app:v2`);
  t.is(forgotten.stdout.match(/ {2}unknown$/gm)?.length, 4);
  t.notRegex(forgotten.stdout, /bundle \d+ of|hub\.example,/);
});

test('what came by bundle for one registry is not read through another one, also once its image is gone', async (t) => {
  const other = await FakeRegistry.start(t);
  // Its operator has the digest, and not the bytes.
  other.addManifest('evil/app', CLAIM.manifest, { tags: ['v1'] });
  const upstreams = {
    [REGISTRY]: { url: 'http://127.0.0.1:9' },
    'other.example': { url: other.url },
  };
  const site = await startMirror(t, { bundles: TRUST, upstreams });
  const image = { image: APP, repository: 'org/app', tag: 'v1' };
  t.is((await bring(site, await bundleOf([image]).part(1))).status, 200);
  const read = async (path: string) =>
    (await get(`${site.url}/v2/evil/app/${path}?ns=other.example`)).status;
  t.is(await read('manifests/v1'), 200);
  const released = bundleOf([], {
    files: { note: Buffer.from('gone') },
    manifest: { number: 2, released: [`${REGISTRY}/org/app:v1`] },
  });
  t.is((await bring(site, await released.part(1))).status, 200);
  const { status, body } = await get(`${site.server.adminUrl}/api/v1/rm`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: Buffer.from(JSON.stringify({ image: `${REGISTRY}/org/app:v1` })),
  });
  t.is(status, 200, String(body));
  await other.refuse();
  t.is(await read(`blobs/${APP.layer(0).digest}`), 502);
});
