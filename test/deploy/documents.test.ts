/** What the documents tell to type is typed, line by line, and does what they say. */
import { createTempFolder } from '../helpers/mirror.ts';
import { copyCommitted } from '../helpers/checkout.ts';
import { missingPackages, missingRights, testUnless } from '../helpers/needs.ts';
import { Reader } from './reader.ts';

const obstacle = missingPackages('unshare', 'nsenter', 'ip', 'openssl') ?? missingRights();
const run = testUnless('documents', obstacle).serial;

run('the README, typed by somebody who has Node, npm and git alone', async (t) => {
  const folder = await createTempFolder(t);
  await copyCommitted(folder);
  const reader = await Reader.start(t, { folder, programs: ['node', 'npm', 'git'] });
  t.teardown(async () => {
    if (!t.passed) t.log(await reader.serverLog(), await reader.requests());
  });
  if (!(await reader.read('README.md'))) return;
  await t.notThrowsAsync(reader.interruptServer());
  t.regex((await reader.requests()).join('\n'), /^GET https:\/\/registry-1\.docker\.io\/v2\//m);
});
