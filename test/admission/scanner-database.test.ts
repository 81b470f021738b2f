import test from 'ava';
import { parseDigest } from '../../src/oci/digest.ts';
import { parseRepository } from '../../src/oci/reference.ts';
import { unitOf } from '../../src/store/catalog/catalog.ts';
import { buildImage, type Image } from '../helpers/image.ts';
import { get } from '../helpers/client.ts';
import { HOUR, MINUTE } from '../helpers/clock.ts';
import { createTempFolder, startMirror, type TestMirror } from '../helpers/mirror.ts';
import { REPOSITORY, UPSTREAM } from '../helpers/scene.ts';
import { until } from '../helpers/until.ts';
import { codeOf, messageOf } from './guarded.ts';
import { startScanned, type ScannedScene, type Vulnerable } from './scanned.ts';

const CRITICAL: Vulnerable = { id: 'CVE-2030-1', fix: '2' };
const NEWER = '2030-01-01T06:00:00Z';
const NEWEST = '2030-01-02T06:00:00Z';
const IMAGES = 20;

/** So many images in the repository of the scene. */
function addImages({ registry }: ScannedScene, count: number): readonly Image[] {
  return Array.from({ length: count }, (_, at) => {
    const image = buildImage({ seed: `image ${at}`, layers: [10] });
    registry.addImage(REPOSITORY, `v${at}`, image);
    return image;
  });
}

/** The same store with another process. */
async function restart(
  scene: ScannedScene,
  t: Parameters<typeof startMirror>[0],
  options: { readonly storePath: string; readonly offline?: boolean },
): Promise<TestMirror> {
  const { mirror, registry, admission, clock } = scene;
  await mirror.idle();
  await mirror.stop();
  const upstreams = { [UPSTREAM]: { url: registry.url } };
  return startMirror(t, { upstreams, admission, clock, ...options });
}

const pull = async ({ url }: TestMirror, reference = 'latest') =>
  get(`${url}/v2/${REPOSITORY}/manifests/${reference}`);

test('another database has all that is kept judged anew in the background, while what was said before serves', async (t) => {
  const scene = await startScanned(t);
  const { scanner, manifest, clock } = scene;
  const images = addImages(scene, IMAGES);
  for (const { manifest: each } of images) t.is((await manifest(each.digest)).status, 200);
  t.is(scanner.scans.length, IMAGES);
  const { promise: held, resolve: release } = Promise.withResolvers<void>();
  scanner.onReport = async () => held;
  scanner.databaseAt = NEWER;
  for (const { manifest: each } of images) scanner.findings.set(each.digest, [CRITICAL]);
  clock.advance(MINUTE);
  t.is((await manifest('v0')).status, 200);
  await until('the first are scanned anew', () => scanner.scans.length === IMAGES + 2);
  for (const { manifest: each } of images) t.is((await manifest(each.digest)).status, 200);
  t.is(scanner.scans.length, IMAGES + 2);
  release();
  await until('all are scanned anew', () => scanner.scans.length === 2 * IMAGES);
  await until('the last is judged by it', async () => (await manifest('v0')).status === 403);
  for (const { manifest: each } of images) {
    await until('it is judged by it', async () => (await manifest(each.digest)).status === 403);
  }
  t.is(scanner.scans.length, 2 * IMAGES);
});

test('what was said before another database came serves for maxAge, and no longer', async (t) => {
  const { scanner, manifest, clock, image } = await startScanned(t, { scan: { maxAge: 2 * HOUR } });
  t.is((await manifest('latest')).status, 200);
  scanner.databaseAt = NEWER;
  scanner.onReport = (_, response) => void response.writeHead(500).end();
  scanner.findings.set(image.manifest.digest, [CRITICAL]);
  clock.advance(MINUTE);
  t.is((await manifest('latest')).status, 200);
  await until('the other one is seen', () => scanner.scans.length > 1);
  clock.advance(2 * HOUR - 1);
  t.is((await manifest('latest')).status, 200);
  clock.advance(1);
  t.regex(messageOf(await manifest('latest')), /the scanner gives no report/);
  scanner.onReport = undefined;
  clock.advance(MINUTE);
  t.regex(messageOf(await manifest('latest')), /CVE-2030-1/);
});

test('a scanner that is silent is believed for maxAge; then onError says what is done', async (t) => {
  const { scanner, manifest, clock } = await startScanned(t, { scan: { maxAge: 2 * HOUR } });
  t.is((await manifest('latest')).status, 200);
  scanner.onMetadata = (response) => void response.destroy();
  clock.advance(2 * HOUR - 1);
  t.is((await manifest('latest')).status, 200);
  clock.advance(1);
  const refused = await manifest('latest');
  t.is(codeOf(refused), 'DENIED');
  t.is(scanner.scans.length, 1);
});

test('what was said before serves for maxAge after the first database that overtook it, however many come', async (t) => {
  const scene = await startScanned(t);
  const { scanner, manifest, clock, mirror } = scene;
  t.is((await manifest('latest')).status, 200);
  // From now on there is no report of it.
  scanner.onReport = (_, response) => void response.writeHead(404).end('{}');
  const dates = ['2030-01-01T06:00:00Z', '2030-01-01T18:00:00Z', '2030-01-02T04:00:00Z'];
  for (const [at, date] of dates.entries()) {
    scanner.databaseAt = date;
    clock.advance(MINUTE);
    t.is((await manifest('latest')).status, 200);
    await until('it is tried anew', () => scanner.scans.length >= 3 + 2 * at);
    await mirror.idle();
    clock.advance(10 * HOUR);
  }
  t.is((await manifest('latest')).status, 403);
});

test('a database that is older than the one before changes nothing', async (t) => {
  const { scanner, manifest, clock, image } = await startScanned(t);
  scanner.databaseAt = NEWER;
  scanner.findings.set(image.manifest.digest, [CRITICAL]);
  t.is((await manifest('latest')).status, 403);
  scanner.databaseAt = '2029-12-01T00:00:00Z';
  scanner.findings.clear();
  clock.advance(MINUTE);
  t.is((await manifest('latest')).status, 403);
  scanner.databaseAt = NEWEST;
  clock.advance(MINUTE);
  await until('it is admitted', async () => {
    clock.advance(30_000);
    return (await manifest('latest')).status === 200;
  });
});

test('what was scanned is known after a restart, and scanned anew where another database came meanwhile', async (t) => {
  const storePath = await createTempFolder(t);
  const scene = await startScanned(t, { storePath });
  const { scanner, manifest, clock, image } = scene;
  t.is((await manifest('latest')).status, 200);
  const next = await restart(scene, t, { storePath });
  t.is((await pull(next)).status, 200);
  t.is(scanner.scans.length, 1);
  scanner.findings.set(image.manifest.digest, [CRITICAL]);
  scanner.databaseAt = NEWER;
  clock.advance(MINUTE);
  const last = await restart({ ...scene, mirror: next }, t, { storePath });
  await until('nobody pulls, and it is scanned', () => scanner.scans.length === 2);
  await until('it is refused', async () => (await pull(last)).status === 403);
});

test('offline, with the scanner away: what was scanned is pulled, what was not is refused with the reason', async (t) => {
  const storePath = await createTempFolder(t);
  const scene = await startScanned(t, { storePath });
  const { scanner, manifest, ask } = scene;
  const [other] = addImages(scene, 1);
  t.is((await manifest('latest')).status, 200);
  scanner.onReport = (_, response) => void response.writeHead(500).end();
  t.is((await manifest('v0')).status, 403);
  t.is((await ask(`/v2/${REPOSITORY}/manifests/${other!.manifest.digest}`)).status, 403);
  scanner.onMetadata = (response) => void response.destroy();
  const next = await restart(scene, t, { storePath, offline: true });
  t.is((await pull(next)).status, 200);
  const refused = await pull(next, 'v0');
  t.is(refused.status, 403);
  t.regex(messageOf(refused), /the scanner gives no report/);
});

test('a scan that nobody waits for is of what is held alone', async (t) => {
  const scene = await startScanned(t);
  const { scanner, manifest, clock, image, mirror } = scene;
  const [other] = addImages(scene, 1);
  t.is((await manifest('v0')).status, 200);
  t.is((await manifest('latest')).status, 200);
  const target = { upstream: UPSTREAM, repository: parseRepository(REPOSITORY) };
  await mirror.idle();
  await mirror.server.catalog.evict(unitOf(target, parseDigest(other!.manifest.digest)));
  scanner.databaseAt = NEWER;
  clock.advance(MINUTE);
  t.is((await manifest('latest')).status, 200);
  await until('the held one is scanned anew', () => scanner.scans.length === 3);
  t.is(scanner.scans.at(-1)?.digest, image.manifest.digest);
});
