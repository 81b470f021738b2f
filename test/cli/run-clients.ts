import { EventEmitter } from 'node:events';
import type { ExecutionContext } from 'ava';
import { runCommand } from '../../src/cli/program.ts';
import { createFolder } from '../config/config-folder.ts';
import type { Result } from './run-main.ts';

export interface Printed {
  readonly files: readonly { path: string; content: string; mode: string }[];
  readonly steps: readonly string[];
  readonly notes: readonly string[];
}

/** `entrepot clients`, in a folder of its own with this configuration. */
export class ClientsCommand {
  readonly cwd: string;
  readonly #t: ExecutionContext;

  constructor(t: ExecutionContext, yaml: string, files: Readonly<Record<string, string>> = {}) {
    this.#t = t;
    this.cwd = createFolder(t, { ...files, 'entrepot.yaml': yaml });
  }

  async run(...args: readonly string[]): Promise<Result> {
    const output = { stdout: '', stderr: '' };
    const code = await runCommand(['clients', ...args], {
      env: { NO_COLOR: '1' },
      cwd: this.cwd,
      stdout: { write: (text: string) => (output.stdout += text) },
      stderr: { write: (text: string) => (output.stderr += text) },
      signals: new EventEmitter(),
      kill: () => this.#t.fail('the command must not end the process'),
    });
    return { code, ...output };
  }

  async printed(...args: readonly string[]): Promise<Printed> {
    const { code, stdout, stderr } = await this.run(...args, '--json');
    this.#t.is(code, 0, stderr);
    return JSON.parse(stdout) as Printed;
  }

  /** What each file says, by its path. */
  async contents(...args: readonly string[]): Promise<Readonly<Record<string, string>>> {
    const { files } = await this.printed(...args);
    return Object.fromEntries(files.map(({ path, content }) => [path, content]));
  }
}
