/** docs/kubernetes.md: the chart takes what the page tells to type. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'yaml';
import { createTempFolder } from '../helpers/mirror.ts';
import { testUnless } from '../helpers/needs.ts';
import { HELM, NO_HELM, helm } from './chart.ts';

const PROJECT = join(import.meta.dirname, '..', '..');
const PAGE = readFileSync(join(PROJECT, 'docs', 'kubernetes.md'), 'utf8');
const test = testUnless('docs/kubernetes.md', NO_HELM);

function blocks(language: string): string[] {
  return [...PAGE.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\`$`, 'gms'))].map(
    ([, text]) => text!,
  );
}

test('the commands of Helm on the page render the chart', async (t) => {
  const folder = await createTempFolder(t);
  const script = `#!/bin/sh
case $1 in
  install | upgrade) shift ;;
  *) exit 0 ;;
esac
exec '${HELM}' template "$@"
`;
  await writeFile(join(folder, 'helm'), script);
  for (const other of ['kubectl', 'crictl', 'docker', 'ctr']) {
    await writeFile(join(folder, other), '#!/bin/sh\n');
    await chmod(join(folder, other), 0o755);
  }
  await chmod(join(folder, 'helm'), 0o755);
  const env = { PATH: `${folder}:${process.env['PATH']}` };
  t.is(blocks('console').length, 5);
  for (const block of blocks('console')) {
    // A value that is kept from before has no meaning to `template`.
    const typed = block.replaceAll(/^\$ /gm, '').replaceAll(' --reuse-values', '');
    const { status, stderr } = spawnSync('sh', ['-e', '-c', typed], {
      cwd: PROJECT,
      env,
      encoding: 'utf8',
    });
    t.is(status, 0, stderr);
  }
});

test('the values on the page are values of the chart', (t) => {
  const values = blocks('yaml').map((text) => {
    const block = parse(text) as { kind?: string; spec: { valuesContent: string } };
    return block.kind === 'HelmChart' ? (parse(block.spec.valuesContent) as object) : block;
  });
  t.is(values.length, 4);
  for (const some of values) {
    const { status, stderr } = helm('template', some);
    t.is(status, 0, stderr);
  }
});
