import test from 'ava';
import { buildImage, buildIndex, fallbackTag } from '../helpers/image.ts';
import { get } from '../helpers/client.ts';
import { HOUR, MINUTE } from '../helpers/clock.ts';
import { REPOSITORY, UPSTREAM } from '../helpers/scene.ts';
import { until } from '../helpers/until.ts';
import { pullAs, startScanned, type AskedScan, type ScannedScene } from './scanned.ts';

const BASE = `/v2/${UPSTREAM}/${REPOSITORY}`;
const AMD64 = { os: 'linux', architecture: 'amd64' };
/** No rule lets anybody in. */
const NOBODY = { token: { ttl: 5 * MINUTE }, rules: [] };
const SOMEBODY = { who: ['user:nobody'], may: ['pull' as const], images: ['none/**'] };

/** Has the image scanned that `latest` means, and looks on while the scanner waits. */
async function whileScanned(
  scene: ScannedScene,
  look: (scan: AskedScan) => Promise<void>,
): Promise<void> {
  let failure: unknown;
  scene.scanner.onReport = async (scan) => {
    scene.scanner.onReport = undefined;
    await look(scan).catch((error: unknown) => (failure = error));
  };
  await scene.manifest('latest');
  if (failure) throw failure;
}

test('the scanner pulls its image through the gate that waits for it, by GET and HEAD and ranges', async (t) => {
  const scene = await startScanned(t);
  const { image, scanner, manifest, blob } = scene;
  await whileScanned(scene, async (scan) => {
    const path = `${BASE}/manifests/${image.manifest.digest}`;
    t.is((await pullAs(scene, scan, '/v2/')).status, 200);
    t.is((await pullAs(scene, scan, path, 'HEAD')).status, 200);
    t.deepEqual((await pullAs(scene, scan, path)).body, image.manifest.bytes);
    for (const { digest, bytes } of image.blobs) {
      const blobPath = `${BASE}/blobs/${digest}`;
      t.is((await pullAs(scene, scan, blobPath, 'HEAD')).status, 200);
      t.deepEqual((await pullAs(scene, scan, blobPath)).body, bytes);
    }
  });
  t.is(scanner.scans.length, 1);
  t.is((await manifest('latest')).status, 200);
  t.is((await blob(image.layer(0))).status, 200);
});

test('the pass of a scanner opens nothing else: no tag, list, referrer, other image, repository or token', async (t) => {
  const scene = await startScanned(t);
  const { registry, image } = scene;
  const other = buildImage({ seed: 'other', layers: [10] });
  registry.addImage(REPOSITORY, 'other', other);
  registry.addImage('team/copy', 'latest', image);
  registry.addIndex(REPOSITORY, 'multi', buildIndex([{ image, platform: AMD64 }]));
  await whileScanned(scene, async (scan) => {
    const { digest } = image.manifest;
    const refused = [
      `${BASE}/manifests/latest`,
      `${BASE}/manifests/multi`,
      `${BASE}/manifests/${other.manifest.digest}`,
      `${BASE}/manifests/${fallbackTag(digest)}`,
      `${BASE}/blobs/${other.layer(0).digest}`,
      `${BASE}/blobs/${digest}`,
      `${BASE}/tags/list`,
      `${BASE}/referrers/${digest}`,
      `/v2/${UPSTREAM}/team/copy/manifests/${digest}`,
      `/v2/${UPSTREAM}/team/copy/blobs/${image.layer(0).digest}`,
      `/v2/team/copy/manifests/${digest}`,
      '/v2/_catalog',
      '/token',
      `/token?scope=repository:${UPSTREAM}/${REPOSITORY}:pull`,
    ];
    for (const path of refused) {
      for (const method of ['GET', 'HEAD']) {
        const { status, body } = await pullAs(scene, scan, path, method);
        t.is(status, 403, `${method} ${path}`);
        if (method === 'GET') t.regex(String(body), /"DENIED".*pass of a scanner/);
      }
    }
    t.is((await pullAs(scene, scan, `${BASE}/manifests/${digest}`, 'DELETE')).status, 405);
    t.is((await pullAs(scene, scan, `${BASE}/blobs/uploads/`, 'POST')).status, 405);
  });
});

test('a pass comes in where no rule lets anybody in, and is no token of a client', async (t) => {
  const access = { ...NOBODY, rules: [SOMEBODY] };
  const scene = await startScanned(t, { access });
  const { image, mirror } = scene;
  const path = `${BASE}/manifests/${image.manifest.digest}`;
  t.is((await get(`${mirror.url}${path}`)).status, 401);
  const rules = [{ who: ['anonymous'], may: ['pull' as const], images: ['**'] }];
  const open = { ...NOBODY, rules };
  const { admission, registry } = scene;
  const upstreams = { [UPSTREAM]: { url: registry.url } };
  t.is((await mirror.reload({ upstreams, admission, access: open })).status, 200);
  await whileScanned(scene, async (scan) => {
    t.is((await mirror.reload({ upstreams, admission, access })).status, 200);
    t.is((await get(`${mirror.url}${path}`)).status, 401);
    t.is((await pullAs(scene, scan, path)).status, 200);
    t.is((await pullAs(scene, scan, `${BASE}/blobs/${image.layer(0).digest}`)).status, 200);
    t.is((await pullAs(scene, scan, `${BASE}/tags/list`)).status, 403);
  });
});

for (const isOpen of [true, false]) {
  const where = isOpen ? 'without access' : 'with access, by way of /token';
  test(`a scanner that takes a name and a password alone pulls with those, ${where}`, async (t) => {
    const rules = [{ who: ['anonymous'], may: ['pull' as const], images: ['**'] }];
    const scene = await startScanned(t, isOpen ? {} : { access: { ...NOBODY, rules } });
    const { image, scanner, mirror } = scene;
    scanner.scheme = 'Basic';
    const { digest, bytes } = image.manifest;
    const paths = [`${BASE}/manifests/${digest}`, `${BASE}/blobs/${image.layer(0).digest}`];
    await whileScanned(scene, async (scan) => {
      t.regex(scan.authorization, /^Basic /);
      // As Go's clients do: without a challenge the password goes along, else a token is fetched for it.
      const { headers } = await get(`${mirror.url}/v2/`);
      const challenge = headers['www-authenticate'] ?? '';
      const [, realm] = /^Bearer realm="([^"]+)"/.exec(challenge) ?? [];
      t.is(realm === undefined, isOpen);
      let pass: Pick<AskedScan, 'authorization'> = scan;
      if (realm !== undefined) {
        const url = `${realm}?scope=repository:any/thing:pull`;
        const { status, body } = await get(url, { headers: { authorization: scan.authorization } });
        t.is(status, 200);
        const { token } = JSON.parse(String(body)) as { readonly token: string };
        pass = { authorization: `Bearer ${token}` };
      }
      t.deepEqual((await pullAs(scene, pass, paths[0]!)).body, bytes);
      t.is((await pullAs(scene, pass, paths[1]!)).status, 200);
      for (const each of [pass, scan]) {
        t.is((await pullAs(scene, each, `${BASE}/manifests/latest`)).status, 403);
        t.is((await pullAs(scene, each, `${BASE}/tags/list`)).status, 403);
      }
      const shown = String(Buffer.from(scan.authorization.slice(6), 'base64'));
      const other = Buffer.from(shown.replace('scanner:', 'somebody:')).toString('base64');
      t.not((await pullAs(scene, { authorization: `Basic ${other}` }, '/token')).status, 200);
    });
    t.is((await scene.manifest('latest')).status, 200);
  });
}

test('a pass ends after ten minutes, and with its scanner, and is none at another mirror', async (t) => {
  const scene = await startScanned(t);
  const { image, clock, scanner, mirror, registry } = scene;
  const path = `${BASE}/manifests/${image.manifest.digest}`;
  const scanned = async ({ scanner: of, manifest }: ScannedScene): Promise<AskedScan> => {
    of.findings.set(image.manifest.digest, [{ id: 'CVE-1' }]);
    await manifest('latest');
    return of.scans.at(-1)!;
  };
  const scan = await scanned(scene);
  t.is((await pullAs(scene, scan, path)).status, 200);
  const other = await startScanned(t);
  await scanned(other);
  t.is((await pullAs(other, scan, path)).status, 403);
  clock.advance(10 * MINUTE + 6_000);
  t.is((await pullAs(scene, scan, path)).status, 403);
  scanner.databaseAt = '2029-12-31T07:00:00Z';
  clock.advance(25 * HOUR);
  await scanned(scene);
  await until('it is scanned anew', () => scanner.scans.length === 2);
  const next = scanner.scans.at(-1)!;
  t.is((await pullAs(scene, next, path)).status, 200);
  const { scanner: _, ...rest } = scene.ruled({ signedBy: [{ key: 'release' }] });
  const upstreams = { [UPSTREAM]: { url: registry.url } };
  t.is((await mirror.reload({ upstreams, admission: rest })).status, 200);
  t.is((await pullAs(scene, next, path)).status, 403);
});
