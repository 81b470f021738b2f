import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { until } from '../helpers/until.ts';

interface Parts {
  readonly name: string;
  readonly process: ChildProcess;
  /** Where both of its output streams go. */
  readonly log: string;
}

/** A process that runs inside a namespace until it is stopped or the namespace closes. */
export class Service {
  readonly name: string;
  readonly exited: Promise<void>;
  readonly #process: ChildProcess;
  readonly #log: string;
  #pid = 0;
  #ended = false;

  private constructor({ name, process, log }: Parts) {
    this.name = name;
    this.#process = process;
    this.#log = log;
    this.exited = once(process, 'exit').then(() => {
      this.#ended = true;
    });
  }

  /** `process` is the nsenter that started it; the service itself is its only child. */
  static async follow(parts: Parts): Promise<Service> {
    const service = new Service(parts);
    const path = `/proc/${parts.process.pid}/task/${parts.process.pid}/children`;
    service.#pid = await until(`the start of ${parts.name}`, async () => {
      await service.assertRunning();
      const children = await readFile(path, 'utf8').catch(() => '');
      return Number.parseInt(children, 10) || undefined;
    });
    return service;
  }

  signal(signal: NodeJS.Signals): void {
    if (!this.#ended) process.kill(this.#pid, signal);
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    this.signal(signal);
    await this.exited;
  }

  async log(): Promise<string> {
    return readFile(this.#log, 'utf8');
  }

  /** Rejects with what it printed once it is gone. */
  async assertRunning(): Promise<void> {
    if (!this.#ended) return;
    const { exitCode, signalCode } = this.#process;
    throw new Error(`${this.name} ended (${signalCode ?? exitCode}):\n${await this.log()}`);
  }
}
