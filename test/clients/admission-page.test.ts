/** The walk of docs/admission.md, typed line by line with cosign, skopeo and a registry, beside a running server. */
import { symlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { suite } from '../e2e/suite.ts';
import { Reader } from '../deploy/reader.ts';
import { copyCommitted } from '../helpers/checkout.ts';
import { createTempFolder } from '../helpers/mirror.ts';
import { toolPath } from './tools.ts';

const PROJECT = join(import.meta.dirname, '..', '..');

const run = suite('admission page', 'curl', 'openssl');

run('docs/admission.md, typed by somebody who has cosign, skopeo and a registry', async (t) => {
  const folder = await createTempFolder(t);
  await copyCommitted(folder);
  await symlink(join(PROJECT, 'node_modules'), join(folder, 'node_modules'));
  const reader = await Reader.start(t, { folder });
  t.timeout(480_000);
  t.teardown(async () => {
    if (!t.passed) t.log(await reader.serverLog(), await reader.requests());
  });
  await reader.type(`export PATH=${dirname(toolPath('cosign'))}:$PATH`);
  await reader.type('npm start');
  await reader.type('entrepot() { npm run --silent entrepot -- "$@"; }');
  await reader.read('docs/admission.md');
});
