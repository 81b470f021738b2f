import { chmod, rm } from 'node:fs/promises';
import type { RequestListener } from 'node:http';
import type { Config } from '../config/config.ts';
import type { Log } from '../observe/log.ts';
import { Listener } from './listener.ts';

/**
 * The socket by which commands of the store's own user need no role. It is opened once, with the first rules.
 * Where its folder takes none the mirror serves all the same.
 */
export class OwnSocket implements AsyncDisposable {
  readonly #path: string;
  readonly #serve: RequestListener;
  readonly #log: Log;
  #opening: Promise<void> | undefined;
  #listener: Listener | undefined;

  constructor(path: string, serve: RequestListener, log: Log) {
    this.#path = path;
    this.#serve = serve;
    this.#log = log;
  }

  /** Resolves when it is open, or was tried; without rules nothing is. */
  async openFor({ access }: Pick<Config, 'access'>): Promise<void> {
    if (access) await (this.#opening ??= this.#open());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#opening;
    await this.#listener?.close(0);
  }

  async #open(): Promise<void> {
    const path = this.#path;
    try {
      // A killed server left its own.
      await rm(path, { force: true });
      this.#listener = await Listener.open({ path }, this.#serve, this.#log);
      await chmod(path, 0o600);
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      const said = 'the socket for commands cannot be opened: they need a role';
      this.#log.error({ path, reason: code ?? message }, said);
    }
  }
}
