import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readlinkSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import type { ExecutionContext } from 'ava';

const run = promisify(execFile);
/** What tests start as the program: this checkout, or the main file of a package that `ENTREPOT_MAIN` names. */
export const MAIN =
  process.env['ENTREPOT_MAIN'] ?? join(import.meta.dirname, '..', '..', 'src', 'main.ts');

/** A mirror in a process of its own, for what happens to processes. */
export class MirrorProcess {
  readonly url: string;
  readonly adminUrl: string;
  readonly #child: ChildProcess;

  /** Resolves when it listens. The folder holds the configuration (YAML or JSON) and the store. */
  static async start(
    t: Pick<ExecutionContext, 'teardown'>,
    folder: string,
    config: Readonly<Record<string, unknown>>,
    {
      maxFileBytes = 'unlimited',
      maxFiles,
      heapMebibytes,
      mask = '022',
      env = {},
      program,
    }: {
      maxFileBytes?: number | 'unlimited';
      maxFiles?: number;
      heapMebibytes?: number;
      mask?: string;
      env?: Readonly<Record<string, string>>;
      /** What is run instead of this checkout in this Node. */
      program?: readonly string[];
    } = {},
  ): Promise<MirrorProcess> {
    const file = join(folder, 'entrepot.yaml');
    const listen = { listen: '127.0.0.1:0', admin: '127.0.0.1:0', grace: '100ms' };
    await writeFile(file, JSON.stringify({ ...listen, store: { path: './store' }, ...config }));
    const limit = maxFileBytes === 'unlimited' ? maxFileBytes : Math.floor(maxFileBytes / 512);
    const files = maxFiles === undefined ? '' : `ulimit -n ${maxFiles}; `;
    const command = `umask ${mask}; ${files}ulimit -f ${limit}; exec "$0" "$@"`;
    const heap = heapMebibytes === undefined ? [] : [`--max-old-space-size=${heapMebibytes}`];
    const started = program ?? [process.execPath, ...heap, MAIN];
    const args = ['-c', command, ...started, 'serve', '--config', file];
    const child = spawn('sh', args, {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, ...env },
    });
    t.teardown(() => void child.kill('SIGKILL'));
    for await (const line of createInterface({ input: child.stdout })) {
      const entry = JSON.parse(line) as { msg?: string; url?: string; adminUrl?: string };
      if (entry.msg !== 'listening') continue;
      child.stdout.resume();
      return new MirrorProcess(child, { url: entry.url ?? '', adminUrl: entry.adminUrl ?? '' });
    }
    throw new Error('the mirror ended before it listened');
  }

  constructor(child: ChildProcess, { url, adminUrl }: { url: string; adminUrl: string }) {
    this.#child = child;
    this.url = url;
    this.adminUrl = adminUrl;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** The file of the program that runs in the process. */
  get executable(): string {
    return readlinkSync(`/proc/${this.pid}/exe`);
  }

  /** From now on a new descriptor is below this; those that are open stay. */
  async limitFiles(files: number): Promise<void> {
    await run('prlimit', ['--pid', String(this.#child.pid), `--nofile=${files}:4096`]);
  }

  /** Resolves with the exit code or the signal when the process is gone. */
  async end(signal: 'SIGKILL' | 'SIGTERM'): Promise<number | string> {
    const gone = once(this.#child, 'exit');
    this.#child.kill(signal);
    const [code, by] = (await gone) as [number | null, string | null];
    return code ?? by ?? 'unknown';
  }
}
