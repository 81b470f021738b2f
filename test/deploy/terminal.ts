import type { ChildProcess } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Netns } from '../e2e/netns.ts';

export interface Typed {
  readonly code: number;
  /** Of both of its output streams. */
  readonly output: string;
}

/** One shell on a machine of its own, in which a reader types one command after the other. */
export class Terminal {
  readonly #shell: ChildProcess;
  readonly #codes: AsyncIterator<string>;
  readonly #output: string;

  constructor(
    netns: Netns,
    { folder, env }: { folder: string; env: Readonly<Record<string, string>> },
  ) {
    this.#output = join(netns.directory, 'typed');
    this.#shell = netns.open('bash', ['--noprofile', '--norc', '-o', 'pipefail'], env);
    this.#codes = createInterface({ input: this.#shell.stdout! })[Symbol.asyncIterator]();
    this.#shell.stdin!.write(`set -m; cd ${quote(folder)}\n`);
  }

  /** Rejects when the command ends the shell. */
  async type(command: string): Promise<Typed> {
    const redirected = `</dev/null >${quote(this.#output)} 2>&1`;
    this.#shell.stdin!.write(`eval ${quote(command)} ${redirected}; echo $?\n`);
    const { value, done } = await this.#codes.next();
    if (done) throw new Error(`the shell ended at: ${command}`);
    return { code: Number(value), output: await readFile(this.#output, 'utf8') };
  }
}

function quote(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}
