import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { openSync, readFileSync, readdirSync } from 'node:fs';
import { connect, createServer, type AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

const START_DEADLINE_MS = 20_000;
const STOP_DEADLINE_MS = 10_000;
/** Of the times in /proc, on every Linux. */
const TICKS_PER_SECOND = 100;

export interface ProcessOptions {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  /** It has started when it accepts connections here. */
  readonly port: number;
  /** File of what it prints. */
  readonly log: string;
  /** A Node script that answers `ask`. */
  readonly ipc?: boolean;
  /** It speaks HTTPS. */
  readonly isTls?: boolean;
  /** Beside that of this process. */
  readonly environment?: Readonly<Record<string, string>>;
}

const running = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of running) child.kill('SIGTERM');
});

/** A server under measurement, or one that the measurement needs. */
export class BenchProcess {
  readonly name: string;
  readonly port: number;
  readonly isTls: boolean;
  readonly #child: ChildProcess;
  readonly #log: string;

  /** Resolves when it accepts connections. */
  static async start(options: ProcessOptions): Promise<BenchProcess> {
    const started = new BenchProcess(options);
    await started.#listening();
    return started;
  }

  private constructor(options: ProcessOptions) {
    const { name, command, args, port, log, ipc = false, isTls = false, environment } = options;
    this.name = name;
    this.port = port;
    this.isTls = isTls;
    this.#log = log;
    const output = openSync(log, 'a');
    const stdio = ['ignore', output, output, ...(ipc ? (['ipc'] as const) : [])] as const;
    this.#child = spawn(command, args, {
      stdio: [...stdio],
      env: { ...process.env, ...environment },
    });
    running.add(this.#child);
    this.#child.once('exit', () => running.delete(this.#child));
    // Its absence shows when it is waited for.
    this.#child.on('error', () => undefined);
  }

  get url(): string {
    return `${this.isTls ? 'https' : 'http'}://127.0.0.1:${this.port}`;
  }

  get pid(): number {
    const { pid } = this.#child;
    if (pid === undefined) throw new Error(`${this.name} has not started`);
    return pid;
  }

  /** User and system time since the start, of the process and its children. */
  get cpuSeconds(): number {
    const { user, system } = this.cpu;
    return user + system;
  }

  /** The same, each alone; seconds. */
  get cpu(): { user: number; system: number } {
    const all = family(this.pid).map((pid) =>
      readFileSync(`/proc/${pid}/stat`, 'utf8')
        .replace(/^.*\) /s, '')
        .split(' '),
    );
    const sum = (field: number): number =>
      all.reduce((ticks, fields) => ticks + Number(fields[field]), 0) / TICKS_PER_SECOND;
    return { user: sum(11), system: sum(12) };
  }

  /** Bytes that it has had written to the disk since the start; 0 where its files are in memory. */
  get writtenBytes(): number {
    const counts = readFileSync(`/proc/${this.pid}/io`, 'utf8');
    return Number(/^write_bytes: (\d+)/m.exec(counts)?.[1]);
  }

  /** Resident memory of the process alone. */
  get memoryMiB(): { now: number; peak: number } {
    const status = readFileSync(`/proc/${this.pid}/status`, 'utf8');
    const read = (field: string): number =>
      Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) / 1024;
    return { now: read('VmRSS'), peak: read('VmHWM') };
  }

  /** What a script of this folder has counted since the last call. */
  async ask(): Promise<Record<string, number>> {
    const answered = once(this.#child, 'message');
    this.#child.send('ask');
    const [answer] = (await answered) as [Record<string, number>];
    return answer;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, 'exit');
    this.#child.kill('SIGTERM');
    const kill = setTimeout(() => this.#child.kill('SIGKILL'), STOP_DEADLINE_MS);
    await exited;
    clearTimeout(kill);
  }

  async #listening(): Promise<void> {
    const deadline = performance.now() + START_DEADLINE_MS;
    while (!(await accepts(this.port))) {
      const { exitCode, signalCode, pid } = this.#child;
      const ended = pid === undefined || exitCode !== null || signalCode !== null;
      if (ended || performance.now() > deadline) {
        throw new Error(`${this.name} did not start:\n${readFileSync(this.#log, 'utf8')}`);
      }
      await sleep(20);
    }
  }
}

/** A port that is free now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

async function accepts(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

function family(pid: number): number[] {
  const children = readdirSync(`/proc/${pid}/task`).flatMap((task) =>
    readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').split(' ').filter(Boolean),
  );
  return [pid, ...children.flatMap((child) => family(Number(child)))];
}
