import { EventEmitter } from 'node:events';
import type { ExecutionContext } from 'ava';
import { runCommand } from '../../src/cli/program.ts';
import type { Result } from './run-main.ts';

/** Runs a command that needs neither server nor store, in a folder that stays. */
export async function runInFolder(
  t: ExecutionContext,
  cwd: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Result> {
  const output = { stdout: '', stderr: '' };
  const code = await runCommand(args, {
    env: { NO_COLOR: '1', ...env },
    cwd,
    stdout: { write: (text: string) => (output.stdout += text) },
    stderr: { write: (text: string) => (output.stderr += text) },
    signals: new EventEmitter(),
    kill: () => t.fail('the command must not end the process'),
  });
  return { code, ...output };
}
