import { constants } from 'node:fs';
import { appendFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { escapeObeyed } from './line-for-people.ts';

/** What happened, for whoever asks later who did it; what is undefined is left out. */
export type AuditEvent = Readonly<Record<string, unknown>> & {
  readonly event: 'pull' | 'list' | 'login' | 'change' | 'read';
};

export interface AuditParts {
  /** Of the lines that could not be written. */
  readonly lost: (lines: number) => void;
  /** Told once, until it can be written again. */
  readonly failed: (reason: string, path: string) => void;
  readonly renewed: (path: string) => void;
}

/** Made for its owner alone; one that stands there keeps its mode. A pipe that nobody reads is not waited for. */
const FLAGS = constants.O_APPEND | constants.O_CREAT | constants.O_WRONLY | constants.O_NONBLOCK;
const MODE = 0o600;
/** How many characters wait while the disk is slow; lines after these are lost. */
const MAX_WAITING = 1024 * 1024;
/** After a write lines gather for so long. */
const GATHER_MS = 50;
/** At the end a disk that hangs is waited for so long. */
const CLOSE_MS = 2_000;

/**
 * `log.audit`: a file with a line of JSON for each pull, refusal, login and change. It is opened for each batch of
 * lines, so that one that was moved away gives way to a new one. What cannot be written is counted and lost: nothing
 * waits for this file.
 */
export class Audit {
  readonly #parts: AuditParts;
  #path: string | undefined;
  #lines: string[] = [];
  #waiting = 0;
  #work: Promise<void> | undefined;
  readonly #closing = new AbortController();
  #isBroken = false;
  /** The last line may have been cut. */
  #isCut = false;

  constructor(path: string | undefined, parts: AuditParts) {
    this.#parts = parts;
    this.configure(path);
  }

  get isOn(): boolean {
    return this.#path !== undefined;
  }

  /** Writes to this file from now on, or to none. What is wrong with it is told at once. */
  configure(path: string | undefined): void {
    this.#path = path;
    if (path !== undefined) this.#work ??= this.#writeAll();
  }

  write(event: AuditEvent): void {
    if (this.#path === undefined) return;
    const line = `${escapeObeyed(JSON.stringify({ time: new Date().toISOString(), ...event }))}\n`;
    if (this.#waiting + line.length > MAX_WAITING) {
      this.#parts.lost(1);
      return;
    }
    this.#lines.push(line);
    this.#waiting += line.length;
    this.#work ??= this.#writeAll();
  }

  /** Writes what waits, and takes no more. */
  async close(): Promise<void> {
    this.#closing.abort();
    const late = sleep(CLOSE_MS, undefined, { ref: false });
    await Promise.race([this.#work, late]);
    this.#path = undefined;
  }

  async #writeAll(): Promise<void> {
    // The caller goes on first, and may have more.
    await Promise.resolve();
    do {
      const lines = this.#lines;
      this.#lines = [];
      this.#waiting = 0;
      await this.#append(lines);
      await this.#gather();
    } while (this.#lines.length > 0);
    this.#work = undefined;
  }

  async #append(lines: readonly string[]): Promise<void> {
    const path = this.#path;
    if (path === undefined) return this.#parts.lost(lines.length);
    try {
      const text = `${this.#isCut ? '\n' : ''}${lines.join('')}`;
      await appendFile(path, text, { flag: FLAGS as never, mode: MODE });
      if (this.#isBroken) this.#parts.renewed(path);
      this.#isBroken = false;
      this.#isCut = false;
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      this.#parts.lost(lines.length);
      if (!this.#isBroken) this.#parts.failed(code ?? message, path);
      this.#isBroken = true;
      this.#isCut = true;
    }
  }

  async #gather(): Promise<void> {
    const { signal } = this.#closing;
    await sleep(GATHER_MS, undefined, { signal, ref: false }).catch(() => undefined);
  }
}
