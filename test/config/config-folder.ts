import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { ConfigError } from '../../src/config/problems.ts';
import { loadConfig, type LoadedConfig } from '../../src/config/load.ts';
import type { Environment } from '../../src/config/source.ts';

/** A folder with these files in it, gone after the test. */
export function createFolder(t: ExecutionContext, files: Readonly<Record<string, string>>): string {
  const folder = mkdtempSync(join(tmpdir(), 'entrepot-config-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
  return folder;
}

export interface LoadInput {
  readonly yaml: string;
  readonly files?: Readonly<Record<string, string>>;
  readonly env?: Environment;
}

/** What becomes of a file with this text. */
export function load(t: ExecutionContext, { yaml, files = {}, env = {} }: LoadInput): LoadedConfig {
  return loadConfig({ cwd: createFolder(t, { ...files, 'entrepot.yaml': yaml }), env });
}

/** What is said of a file with this text; the folder's path reads `DIR`. */
export function problemsOf(
  t: ExecutionContext,
  { yaml, files = {}, env = {} }: LoadInput,
): string[] {
  const cwd = createFolder(t, { ...files, 'entrepot.yaml': yaml });
  const error = t.throws(() => loadConfig({ cwd, env }), { instanceOf: ConfigError });
  t.is(error.file, join(cwd, 'entrepot.yaml'));
  return error.problems.map((problem) => problem.replaceAll(cwd, 'DIR'));
}
