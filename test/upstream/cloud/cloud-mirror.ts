import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import type { CredentialsConfig } from '../../../src/config/config.ts';
import { get, type ClientAnswer, type GetOptions } from '../../helpers/client.ts';
import { createConfig, createTempFolder } from '../../helpers/mirror.ts';
import { Scrape } from '../../helpers/scrape.ts';
import type { FromChild, ToChild } from './serve-child.ts';

const CHILD = join(import.meta.dirname, 'serve-child.ts');
/** The name of the one upstream. */
export const UPSTREAM = 'cloud.example';

export interface CloudMirrorOptions {
  /** The registry. */
  readonly url: string;
  readonly credentials: CredentialsConfig;
  /** All that the process has: nothing of this machine's clouds, files and proxies is left. */
  readonly env: Readonly<Record<string, string>>;
}

/** A mirror in a process of its own, with a clock that a test can move on. */
export class CloudMirror {
  readonly url: string;
  readonly #adminUrl: string;
  readonly #child: ChildProcess;
  readonly #output: readonly string[];
  readonly #bodies: string[] = [];

  /** Resolves when it listens. */
  static async start(t: ExecutionContext, options: CloudMirrorOptions): Promise<CloudMirror> {
    const folder = await createTempFolder(t);
    const { url, credentials, env } = options;
    const child = fork(CHILD, {
      execPath: process.execPath,
      execArgv: [],
      env: { HOME: folder, ...env },
      serialization: 'advanced',
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    const ended = once(child, 'exit');
    t.teardown(async () => {
      child.kill('SIGKILL');
      await ended;
    });
    const output: string[] = [];
    for (const stream of [child.stdout!, child.stderr!]) {
      stream.setEncoding('utf8').on('data', (text: string) => output.push(text));
    }
    const config = createConfig(join(folder, 'store'), {
      upstreams: { [UPSTREAM]: { url, credentials: [credentials] } },
    });
    const answer = await Promise.race([talk(child, { config }), ended.then(() => undefined)]);
    if (!answer || !('ready' in answer)) throw new Error(`not started: ${output.join('')}`);
    return new CloudMirror(child, output, answer.ready);
  }

  /** Use `start`. */
  constructor(
    child: ChildProcess,
    output: readonly string[],
    { url, adminUrl }: { url: string; adminUrl: string },
  ) {
    this.#child = child;
    this.#output = output;
    this.url = url;
    this.#adminUrl = adminUrl;
  }

  async get(path: string, options?: GetOptions): Promise<ClientAnswer> {
    const answer = await get(`${this.url}${path}`, options);
    this.#bodies.push(JSON.stringify(answer.headers), answer.body.toString());
    return answer;
  }

  async scrape(): Promise<Scrape> {
    return Scrape.of(this.#adminUrl);
  }

  async advance(advanceMs: number): Promise<void> {
    await talk(this.#child, { advanceMs });
  }

  /** Of its own accord; the process stays. */
  async close(): Promise<void> {
    await talk(this.#child, { report: 'closed' });
  }

  /** The packages of which the process has loaded anything. */
  async packages(): Promise<string[]> {
    const answer = await talk(this.#child, { report: 'packages' });
    return 'packages' in answer ? answer.packages : [];
  }

  /** Nothing that anybody could read has these: output, metrics, answers; and nothing but the log is printed. */
  async keeps(t: ExecutionContext, secrets: Iterable<string>): Promise<void> {
    const metrics = await get(`${this.#adminUrl}/metrics`);
    const output = this.#output.join('');
    const text = [output, ...this.#bodies, metrics.body.toString()].join('\n');
    for (const secret of secrets) t.false(text.includes(secret), secret);
    const noise = output.split('\n').filter((line) => line !== '' && !line.startsWith('{'));
    t.deepEqual(noise, []);
  }
}

/** The refusal of a pull for which there is no credential. */
export function denied(reason: string): Record<string, unknown> {
  return {
    status: 403,
    code: 'DENIED',
    message: `${UPSTREAM}: ${reason}`,
    detail: { upstream: UPSTREAM, fault: 'unauthorized' },
  };
}

async function talk(child: ChildProcess, message: ToChild): Promise<FromChild> {
  const answer = once(child, 'message') as Promise<[FromChild]>;
  child.send(message);
  return (await answer)[0];
}
