/** What `bundle create`, `bundle export` and `bundle import` say of images that admission refuses, and their exit codes. */
import { existsSync } from 'node:fs';
import { stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import type { RefusedPage } from '../../src/api/admission-api.ts';
import { parseDigest } from '../../src/oci/digest.ts';
import { SiteState } from '../../sync/bundle/site-state.ts';
import { buildImage } from '../helpers/image.ts';
import { createTempFolder } from '../helpers/mirror.ts';
import { UPSTREAM } from '../helpers/scene.ts';
import { runStoreCommand } from '../cli/run-store-command.ts';
import {
  bundleOf,
  COURIER,
  REGISTRY,
  pull,
  startAirGapped,
  trusted,
} from '../sync/bundle/brought-bundle.ts';
import { Connected } from '../sync/bundle/connected.ts';
import { Gap, REPOSITORY } from '../sync/bundle/gap.ts';
import { SERIES } from '../sync/bundle/made-bundle.ts';
import { rule, syncConfig } from '../sync/rules.ts';
import { admissionBy } from './guarded.ts';
import { KeyHolder } from './signing.ts';

const DIGEST = parseDigest(buildImage({ seed: 'app', layers: [10] }).manifest.digest);
const UNSIGNED = `${UPSTREAM}/org/unsigned:v1`;

test('create leaves out what rules select and is refused, and tells; what is named and refused is exit code 1, of export too', async (t) => {
  const signer = new KeyHolder();
  const admission = admissionBy(signer.writeKey(await createTempFolder(t)));
  const sync = syncConfig([rule('org/*', { tags: { names: ['v1'] } })]);
  const connected = await Connected.start(t, { admission, sync });
  const { registry } = connected;
  for (const seed of ['signed', 'unsigned', 'tagged']) {
    const image = buildImage({ seed, layers: [500] });
    registry.addImage(`org/${seed}`, 'v1', image);
    if (seed === 'signed') signer.attach(registry, `org/${seed}`, image.manifest);
    if (seed === 'tagged') signer.attachByTag(registry, `org/${seed}`, image.manifest);
  }
  const reason = 'it may not be pulled: admission.rules[0] is not met: it has no signature';
  const made = await connected.create('--out', 'all.tar');
  t.is(made.code, 0, made.stderr);
  // What is attached is no image, and its tag none to pull by.
  const carried = /^carries +2 images with 2 tags, 2 signatures or the like, /m;
  t.regex(made.stdout, carried);
  const inspected = await connected.run('bundle', 'inspect', connected.path('all.tar'));
  t.regex(inspected.stdout, carried);
  t.true(made.stdout.includes(`left out ${UNSIGNED}: ${reason}`), made.stdout);
  t.true(existsSync(connected.path('all.tar')));

  const again = await connected.create('--out', 'again.tar', '--json');
  t.like(JSON.parse(again.stdout), { images: 2, tags: 2, attached: 2 });

  const named = await connected.create(UNSIGNED, '--out', 'named.tar', '--json');
  t.is(named.code, 1);
  t.like(JSON.parse(named.stdout), { problems: [{ image: UNSIGNED, reason }] });
  t.false(existsSync(connected.path('named.tar')));

  const exported = await connected.run('bundle', 'export', UNSIGNED, '--oci-layout', 'layout');
  t.is(exported.code, 1);
  t.true(exported.stdout.includes(reason));
  t.false(existsSync(connected.path('layout')));
});

test('an import that brings what is refused exits with 1 and names it; all else is in force', async (t) => {
  const admission = admissionBy(new KeyHolder().writeKey(await createTempFolder(t)));
  const site = await startAirGapped(t, { admission });
  const image = buildImage({ seed: 'app', layers: [500] });
  const bundle = bundleOf([{ image, repository: 'org/unsigned', tag: 'v1' }]);
  const path = join(await createTempFolder(t), 'bundle.tar');
  await writeFile(path, await bundle.part(1));
  const admin = new URL(site.server.adminUrl).host;
  const parts = { readStoreId: async () => undefined };
  const { code, stdout } = await runStoreCommand(t, ['bundle', 'import', path], { admin, parts });
  t.is(code, 1);
  const reason =
    'it may not be pulled: admission.rules[0] is not met: none that counts is held here, and this site is offline';
  t.regex(stdout, /is in force: 0 images/);
  t.true(stdout.includes(`not taken ${UNSIGNED}: ${reason}`), stdout);
});

test('what a bundle brought and was refused is told by policy refused until it is taken; a pin of a bundle names its series', async (t) => {
  const folder = await createTempFolder(t);
  const [release, other] = [new KeyHolder(), new KeyHolder()];
  const gap = await Gap.open(t, { admission: admissionBy(release.writeKey(folder)) });
  const { registry, site } = gap;
  for (const tag of ['signed', 'unsigned']) {
    const image = buildImage({ seed: tag, layers: [500] });
    registry.addImage(REPOSITORY, tag, image);
    if (tag === 'signed') release.attach(registry, REPOSITORY, image.manifest);
  }
  const { bundle } = await gap.pack(['signed', 'unsigned']);
  const { series, number } = bundle.manifest;
  const path = join(folder, 'bundle.tar');
  await writeFile(path, await bundle.part(1));
  const admin = new URL(site.server.adminUrl).host;
  const parts = { readStoreId: async () => undefined };
  const run = async (...args: string[]) => runStoreCommand(t, args, { admin, parts });
  const refused = async () => {
    const { code, stdout } = await run('policy', 'refused');
    return { code, rows: stdout.trimEnd().split('\n').slice(1) };
  };
  const about = (rows: readonly string[], tag: string) =>
    rows.find((row) => row.includes(`  ${tag}  `))?.replaceAll(/ {2,}/g, '  ');
  t.is((await run('bundle', 'import', path)).code, 1);
  const first = await refused();
  t.deepEqual([first.code, first.rows.length], [1, 1]);
  const reason = 'none that counts is held here, and this site is offline';
  const from = `not taken from bundle ${number} of ${series}`;
  const row = `  unsigned  admission.rules[0]  refused  ${from}  signedBy: ${reason}`;
  t.true(about(first.rows, 'unsigned')?.endsWith(row), first.rows[0]);
  const page = JSON.parse((await run('policy', 'refused', '--json')).stdout) as RefusedPage;
  t.like(page.imports?.[0], { isAllowed: false, pins: [], bundle: { series, number } });

  // Nobody who is asked to sign it would help here.
  const { body } = await pull(site, REPOSITORY, String(page.imports?.[0]?.image.split('@')[1]));
  const brought = `${reason}; have its signature brought by sync while there is a link, or by a bundle, or ask`;
  t.true(String(body).includes(brought), String(body));

  // By another key nothing may be pulled that it brought: what is pinned is told with the series.
  const upstreams = { [REGISTRY]: { url: 'http://127.0.0.1:9' } };
  const bundles = { trust: { courier: trusted(COURIER) } };
  const options = { upstreams, bundles, offline: true };
  const strange = admissionBy(other.writeKey(folder, 'other.pub'));
  t.is((await site.reload({ ...options, admission: strange })).status, 200);
  const all = await refused();
  t.is(all.code, 1);
  t.regex(String(about(all.rows, 'signed')), new RegExp(`  by bundle ${series}  signedBy: `));
  t.regex((await run('pins')).stdout, new RegExp(` by bundle ${series} +\\S.*$`, 'm'));

  // What no rule refuses any more is told, and no failure; brought again it is in force.
  t.is((await site.reload(options)).status, 200);
  const admitted = await refused();
  t.is(admitted.code, 0);
  const again = 'import that bundle again, and it is taken';
  t.true(
    admitted.rows[0]?.replaceAll(/ {2,}/g, '  ').endsWith(`  admitted now  ${from}  ${again}`),
  );
  t.is((await run('bundle', 'import', path)).code, 0);
  t.deepEqual(await refused(), { code: 0, rows: [] });
});

test('of what was refused a site remembers the 1,000 that came last, also after a restart', async (t) => {
  const path = await createTempFolder(t);
  const state = await SiteState.open(path, { error: () => t.fail() });
  const arrival = { digest: DIGEST, series: SERIES, number: 1, broughtAt: 5 };
  const named = (first: number, count: number) =>
    new Map(Array.from({ length: count }, (_, at) => [`${UPSTREAM}/app:${first + at}`, arrival]));
  await state.keep(new Map(), [], named(0, 700));
  await state.keep(new Map(), [], named(600, 700));
  const { refused } = (await SiteState.open(path, { error: () => t.fail() })).current;
  const names = Object.keys(refused);
  t.deepEqual(
    [names.length, names[0], names.at(-1)],
    [1000, `${UPSTREAM}/app:300`, `${UPSTREAM}/app:1299`],
  );
  const kept = {
    digest: DIGEST,
    series: SERIES,
    platforms: 'all',
    referrers: true,
    broughtAt: 5,
  } as const;
  await state.keep(new Map([[`${UPSTREAM}/app:700`, kept]]), [`${UPSTREAM}/app:800`], new Map());
  const left = Object.keys((await SiteState.open(path, { error: () => t.fail() })).current.refused);
  t.deepEqual(
    left,
    names.filter((name) => !/:[78]00$/.test(name)),
  );
});

test('what a site remembers of many images is there after a restart', async (t) => {
  const path = await createTempFolder(t);
  const state = await SiteState.open(path, { error: () => t.fail() });
  const brought = { series: SERIES, platforms: 'all', referrers: true, broughtAt: 5 } as const;
  const named = (at: number) => `${UPSTREAM}/${'a'.repeat(100)}/app-${at}:latest`;
  const images = Array.from(
    { length: 300_000 },
    (_, at) => [named(at), { digest: DIGEST, ...brought }] as const,
  );
  await state.keep(new Map(images), [], new Map());
  t.true((await stat(join(path, 'bundles.json'))).size > 64 * 2 ** 20);
  const kept = (await SiteState.open(path, { error: () => t.fail() })).current.images;
  t.is(Object.keys(kept).length, images.length);
});
