import { execFile, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, open, readFile, realpath } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Service } from './service.ts';
import { until } from '../helpers/until.ts';

const KEEPER = join(import.meta.dirname, 'netns.sh');
const UNSHARE = 'unshare --net --mount --pid --fork --kill-child --mount-proc';
const LISTEN = '0A';

export interface Dials {
  /** Connections begun, whoever was dialled. */
  readonly opened: number;
  /** Connections accepted. */
  readonly accepted: number;
  /** Datagrams sent; name look-ups are these. */
  readonly datagrams: number;
  /** Attempts that ended at the routing table: the address is beyond loopback. */
  readonly unroutable: number;
}

/**
 * A machine that reaches nothing but itself: only loopback, processes and mounts of its own.
 *
 *   create() ──> run(), start() ──> close(), or the end of this process
 *
 * Its end takes everything with it: first the processes, then the mounts, then the directory.
 */
export class Netns {
  /** For everything that lives as long as the namespace. */
  readonly directory: string;
  readonly #keeper: ChildProcess;
  readonly #pid: number;

  private constructor(directory: string, keeper: ChildProcess, pid: number) {
    this.directory = directory;
    this.#keeper = keeper;
    this.#pid = pid;
  }

  static async create(): Promise<Netns> {
    const directory = await mkdtemp(join(await realpath(tmpdir()), 'entrepot-e2e-'));
    const script = `${UNSHARE} sh "$1" "$0"; rm -rf "$0"`;
    // A process group of its own: an interrupt from the terminal must not end it before it has cleaned up.
    const keeper = spawn('sh', ['-c', script, directory, KEEPER], {
      detached: true,
      stdio: ['pipe', 'pipe', 'inherit'],
      env: environment(directory),
    });
    const [ready] = (await Promise.race([once(keeper.stdout, 'data'), once(keeper, 'exit')])) as [
      Buffer | number,
    ];
    if (String(ready) !== 'ready\n')
      throw new Error(`no namespace: unshare ended with ${String(ready)}`);
    const unshare = await firstChild(keeper.pid!);
    await mkdir(join(directory, 'tmp'));
    return new Netns(directory, keeper, await firstChild(unshare));
  }

  /** Its standard output. Rejects with what it printed to the other one when it fails. */
  async run(command: string, ...args: string[]): Promise<string> {
    const { stdout } = await promisify(execFile)('nsenter', this.#enter(command, args), {
      env: environment(this.directory),
      maxBuffer: 64 * 1024 * 1024,
    });
    return stdout;
  }

  /** A process that is written to, by its standard input, and read; it ends with the namespace. */
  open(
    command: string,
    args: readonly string[],
    env: Readonly<Record<string, string>>,
  ): ChildProcess {
    const settings = Object.entries(env).map(([name, value]) => `${name}=${value}`);
    return spawn('nsenter', this.#enter('env', [...settings, command, ...args]), {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: environment(this.directory),
    });
  }

  async start(name: string, command: string, ...args: string[]): Promise<Service> {
    const log = join(this.directory, `${name}.log`);
    const file = await open(log, 'a');
    try {
      const process = spawn('nsenter', this.#enter(command, args), {
        stdio: ['ignore', file.fd, file.fd],
        env: environment(this.directory),
      });
      return await Service.follow({ name, process, log });
    } finally {
      await file.close();
    }
  }

  /** Waits until `service`, which was just started, listens on this port. */
  async listening(service: Service, port: number): Promise<void> {
    const address = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
    await until(`${service.name} to listen on ${port}`, async () => {
      await service.assertRunning();
      const sockets = (await this.#net('tcp')) + (await this.#net('tcp6'));
      return sockets.split('\n').some((line) => {
        const [, local, , state] = line.trim().split(/\s+/);
        return local?.endsWith(address) && state === LISTEN;
      })
        ? true
        : undefined;
    });
  }

  /** What the kernel counted in here since create(): no TCP or UDP dial leaves all of these as they were. */
  async dials(): Promise<Dials> {
    const counters = parseCounters((await this.#net('snmp')) + (await this.#net('snmp6')));
    const sum = (...names: string[]) =>
      names.reduce((total, name) => total + (counters.get(name) ?? 0), 0);
    return {
      opened: sum('Tcp.ActiveOpens'),
      accepted: sum('Tcp.PassiveOpens'),
      datagrams: sum('Udp.OutDatagrams', 'Udp6OutDatagrams'),
      unroutable: sum('Ip.OutNoRoutes', 'Ip6OutNoRoutes'),
    };
  }

  /** How many bytes processes in here have sent each other since create(), by the kernel's count. */
  async traffic(): Promise<number> {
    const [, received] = /^ *lo: *(\d+)/m.exec(await this.#net('dev')) ?? [];
    return Number(received);
  }

  async close(): Promise<void> {
    if (this.#keeper.exitCode !== null || this.#keeper.signalCode !== null) return;
    this.#keeper.stdin!.end();
    await once(this.#keeper, 'exit');
  }

  #enter(command: string, args: readonly string[]): string[] {
    return ['-t', String(this.#pid), '-n', '-m', '-p', '--', command, ...args];
  }

  async #net(table: string): Promise<string> {
    return readFile(`/proc/${this.#pid}/net/${table}`, 'utf8');
  }
}

/** Nothing of the caller's: no proxies, no registry credentials, no other engine's sockets. */
function environment(directory: string): NodeJS.ProcessEnv {
  return {
    PATH: `${process.env['PATH']}:/usr/local/sbin:/usr/sbin:/sbin`,
    HOME: directory,
    TMPDIR: join(directory, 'tmp'),
    LANG: 'C.UTF-8',
  };
}

async function firstChild(pid: number): Promise<number> {
  return until(`the child of process ${pid}`, async () => {
    const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8');
    return Number.parseInt(children, 10) || undefined;
  });
}

/** IPv4 counters are pairs of lines (`Tcp: name name`, `Tcp: 1 2`), IPv6 counters one line each. */
function parseCounters(text: string): Map<string, number> {
  const counters = new Map<string, number>();
  let header: string[] | undefined;
  for (const line of text.split('\n')) {
    const [first = '', ...rest] = line.trim().split(/\s+/);
    if (!first.endsWith(':')) {
      counters.set(first, Number(rest[0]));
    } else if (header) {
      for (const [at, name] of header.entries()) {
        counters.set(`${first.slice(0, -1)}.${name}`, Number(rest[at]));
      }
      header = undefined;
    } else {
      header = rest;
    }
  }
  return counters;
}
