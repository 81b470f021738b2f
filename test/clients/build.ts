// node test/clients/build.ts [NAME…]: builds these programs, or all of them, where they are not built yet.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { TOOLS, toolPath, type Tool, type ToolName } from './tools.ts';

const asked = process.argv.slice(2);
const names = (asked.length > 0 ? asked : Object.keys(TOOLS)) as ToolName[];
const missing = names.filter((name) => !existsSync(toolPath(name)));
for (const name of missing) {
  const tool: Tool = TOOLS[name];
  process.stdout.write(`building ${name} ${tool.version} …\n`);
  if (!(tool.python === undefined ? buildByGo(name, tool) : installByPython(name, tool))) {
    fail(`${name} ${tool.version} was not built`);
  }
}

function buildByGo(name: ToolName, { module, version, tags, hasExcludes }: Tool): boolean {
  if (!runs('go', ['version']))
    fail(`Go is needed to build ${name}: install it (Debian package golang-go)`);
  const flags = tags ? ['-tags', tags.join(',')] : [];
  const env = { ...process.env, GOBIN: dirname(toolPath(name)), CGO_ENABLED: '0' };
  if (!hasExcludes) return runs('go', ['install', ...flags, `${module}@${version}`], env);
  const cwd = mkdtempSync(join(tmpdir(), 'entrepot-build-'));
  try {
    const steps = [
      ['mod', 'init', 'build'],
      ['get', `${module}@${version}`],
      ['build', ...flags, '-o', toolPath(name), String(module)],
    ];
    return steps.every((args) => runs('go', args, env, cwd));
  } finally {
    rmSync(cwd, { recursive: true });
  }
}

function installByPython(name: ToolName, { python, version }: Tool): boolean {
  const folder = join(dirname(toolPath(name)), '..');
  if (!runs('python3', ['-m', 'venv', folder])) {
    fail(`Python is needed to install ${name}: install it (Debian package python3-venv)`);
  }
  return runs(join(folder, 'bin', 'pip'), ['install', '--quiet', `${python}==${version}`]);
}

function runs(
  program: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = process.env,
  cwd?: string,
): boolean {
  return spawnSync(program, args, { stdio: 'inherit', env, cwd }).status === 0;
}

function fail(reason: string): never {
  process.stderr.write(`${reason}\n`);
  process.exit(1);
}
