// node test/clients/build.ts [NAME…]: builds these programs, or all of them, where they are not built yet.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { TOOLS, toolPath } from './tools.ts';

const asked = process.argv.slice(2);
const names = (asked.length > 0 ? asked : Object.keys(TOOLS)) as (keyof typeof TOOLS)[];
const missing = names.filter((name) => !existsSync(toolPath(name)));
if (missing.length > 0 && spawnSync('go', ['version']).status !== 0) {
  fail(`Go is needed to build ${missing.join(', ')}: install it (Debian package golang-go)`);
}
for (const name of missing) {
  const { module, version, ...rest } = TOOLS[name];
  const flags = 'tags' in rest ? ['-tags', rest.tags.join(',')] : [];
  process.stdout.write(`building ${name} ${version} …\n`);
  const { status } = spawnSync('go', ['install', ...flags, `${module}@${version}`], {
    stdio: 'inherit',
    env: { ...process.env, GOBIN: dirname(toolPath(name)), CGO_ENABLED: '0' },
  });
  if (status !== 0) fail(`${name} ${version} was not built`);
}

function fail(reason: string): never {
  process.stderr.write(`${reason}\n`);
  process.exit(1);
}
