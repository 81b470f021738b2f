import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface Load {
  readonly connections: number;
  /** Each as `Name: value`. */
  readonly headers: readonly string[];
  readonly seconds: number;
}

/** Many connections that ask for the same: requests, and how many a second. Throws when one is not answered by 200. */
export async function wrk(
  url: string,
  { connections, headers, seconds }: Load,
): Promise<{ readonly requests: number; readonly rate: number }> {
  const shape = ['--threads', '1', '--connections', String(connections)];
  const shown = headers.flatMap((header) => ['--header', header]);
  const { stdout } = await run('wrk', [...shape, '--duration', `${seconds}s`, ...shown, url]);
  const rate = Number(/^Requests\/sec:\s+([\d.]+)/m.exec(stdout)?.[1]);
  const requests = Number(/^\s*(\d+) requests in/m.exec(stdout)?.[1]);
  if (!(rate > 0) || /Non-2xx|Socket errors/.test(stdout)) {
    throw new Error(`${url} did not answer every request:\n${stdout}`);
  }
  return { requests, rate };
}
