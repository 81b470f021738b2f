/** What `bundle create`, `bundle export` and `bundle import` say of images that admission refuses, and their exit codes. */
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { buildImage } from '../helpers/image.ts';
import { createTempFolder } from '../helpers/mirror.ts';
import { UPSTREAM } from '../helpers/scene.ts';
import { runStoreCommand } from '../cli/run-store-command.ts';
import { bundleOf, startAirGapped } from '../sync/bundle/brought-bundle.ts';
import { Connected } from '../sync/bundle/connected.ts';
import { rule, syncConfig } from '../sync/rules.ts';
import { admissionBy } from './guarded.ts';
import { KeyHolder } from './signing.ts';

const UNSIGNED = `${UPSTREAM}/org/unsigned:v1`;

test('create leaves out what rules select and is refused, and tells; what is named and refused is exit code 1, of export too', async (t) => {
  const signer = new KeyHolder();
  const admission = admissionBy(signer.writeKey(await createTempFolder(t)));
  const sync = syncConfig([rule('org/*', { tags: { names: ['v1'] } })]);
  const connected = await Connected.start(t, { admission, sync });
  const { registry } = connected;
  for (const seed of ['signed', 'unsigned']) {
    const image = buildImage({ seed, layers: [500] });
    registry.addImage(`org/${seed}`, 'v1', image);
    if (seed === 'signed') signer.attach(registry, `org/${seed}`, image.manifest);
  }
  const reason = 'it may not be pulled: admission.rules[0] is not met: it has no signature';
  const made = await connected.create('--out', 'all.tar');
  t.is(made.code, 0, made.stderr);
  t.regex(made.stdout, /with 1 tag,/);
  t.true(made.stdout.includes(`left out ${UNSIGNED}: ${reason}`), made.stdout);
  t.true(existsSync(connected.path('all.tar')));

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
