import type { ExecutionContext } from 'ava';
import type { CheckupOptions } from '../../src/upstream/checkup/checkup.ts';
import type { CommandContext } from '../../src/cli/command-context.ts';
import { doctor } from '../../src/cli/doctor.ts';
import { runCommand } from '../../src/cli/program.ts';
import { createFolder } from '../config/config-folder.ts';
import type { Result } from './run-main.ts';

export interface DoctorInput {
  /** The text of `entrepot.yaml`. */
  readonly yaml: string;
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Other files beside it, such as certificates. */
  readonly files?: Readonly<Record<string, string>>;
  /** Given: the command without its command line, by these limits. */
  readonly checkup?: CheckupOptions;
}

/** What `entrepot doctor` prints, with ports, milliseconds, dates and digests made equal. */
export async function runDoctor(t: ExecutionContext, input: DoctorInput): Promise<Result> {
  const { yaml, args = [], env = {}, files = {}, checkup } = input;
  const output = { stdout: '', stderr: '' };
  const context: CommandContext = {
    env,
    cwd: createFolder(t, { ...files, 'entrepot.yaml': yaml }),
    stdout: { write: (text) => (output.stdout += text) },
    stderr: { write: (text) => (output.stderr += text) },
    signals: process,
    kill: () => t.fail('the command must not end the process'),
  };
  const code = checkup
    ? await doctor(args, {}, context, checkup)
    : await runCommand(['doctor', ...args], context);
  return { code, stdout: even(output.stdout), stderr: even(output.stderr) };
}

function even(text: string): string {
  return text
    .replaceAll(/(127\.0\.0\.1|localhost):\d+/g, '$1:PORT')
    .replaceAll(/\bport \d+/g, 'port PORT')
    .replaceAll(/\b\d+ ms\b/g, 'N ms')
    .replaceAll(/\d{4}-\d\d-\d\d/g, 'DAY')
    .replaceAll(/sha256:[0-9a-f]{64}/g, 'DIGEST');
}
