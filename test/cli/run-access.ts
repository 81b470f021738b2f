import { EventEmitter } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { pino } from 'pino';
import { runCommand } from '../../src/cli/program.ts';
import { loadConfig } from '../../src/config/load.ts';
import { startServer, type RunningServer } from '../../src/server.ts';
import { createFolder } from '../config/config-folder.ts';
import { TEST_TIMING } from '../helpers/mirror.ts';
import type { Result } from './run-main.ts';

/** Commands in a folder with a configuration, whose store stands beside it, and the server of that configuration. */
export class AccessSite {
  readonly cwd: string;
  readonly #t: ExecutionContext;

  constructor(t: ExecutionContext, yaml: string, files: Readonly<Record<string, string>> = {}) {
    this.#t = t;
    this.cwd = createFolder(t, { ...files, 'entrepot.yaml': yaml });
  }

  write(yaml: string): void {
    writeFileSync(join(this.cwd, 'entrepot.yaml'), yaml);
  }

  async serve(): Promise<RunningServer> {
    const log = pino({ level: 'silent' });
    const load = () => loadConfig({ cwd: this.cwd, env: {} });
    const server = await startServer(load().config, { log, timing: TEST_TIMING, load });
    this.#t.teardown(async () => server.close());
    return server;
  }

  /** What it printed, with the folder as `DIR`. */
  async run(...args: readonly string[]): Promise<Result> {
    const output = { stdout: '', stderr: '' };
    const context = {
      env: { NO_COLOR: '1' },
      cwd: this.cwd,
      stdout: { write: (text: string) => (output.stdout += text) },
      stderr: { write: (text: string) => (output.stderr += text) },
      signals: new EventEmitter(),
      kill: () => this.#t.fail('the command must not end the process'),
    };
    const code = await runCommand(args, context);
    const shown = (text: string): string => text.replaceAll(this.cwd, 'DIR');
    return { code, stdout: shown(output.stdout), stderr: shown(output.stderr) };
  }
}
