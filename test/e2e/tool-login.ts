import { join } from 'node:path';
import { AuthFile } from './auth-file.ts';
import type { ImageName } from './client.ts';
import { ownName, type Login, type LoginClient } from './login-client.ts';
import type { Netns } from './netns.ts';

/** How a tool logs in and pulls; each is one command. */
export interface ToolCommands {
  /** Its file of logins, below its own folder. */
  readonly authFile: string;
  /** It reads the secret from its standard input. */
  readonly login: (user: string) => readonly string[];
  readonly logout: readonly string[];
  /** Rejects when one of them is refused; `folder` is its own. */
  readonly pull: (images: readonly string[]) => readonly (readonly string[])[];
}

/** A command that keeps its logins in a file. */
export class ToolLogin implements LoginClient {
  readonly #netns: Netns;
  readonly #host: string;
  readonly #commands: ToolCommands;
  readonly #file: AuthFile;

  private constructor(netns: Netns, host: string, commands: ToolCommands) {
    this.#netns = netns;
    this.#host = host;
    this.#commands = commands;
    this.#file = new AuthFile(join(netns.directory, commands.authFile));
  }

  static async create(netns: Netns, host: string, commands: ToolCommands): Promise<ToolLogin> {
    const tool = new ToolLogin(netns, host, commands);
    // Podman insists on a file that it is told of.
    await tool.#file.write({});
    return tool;
  }

  async login({ user, secret }: Login): Promise<void> {
    const command = this.#commands.login(user);
    await this.#netns.run('sh', '-c', 'printf %s "$0" | "$@"', secret, ...command);
  }

  async keep(login: Login): Promise<void> {
    await this.#file.write({ [this.#host]: login });
  }

  async logout(): Promise<void> {
    await this.#run(this.#commands.logout);
  }

  async pull(...images: readonly ImageName[]): Promise<void> {
    const names = images.map((image) => ownName(this.#host, image));
    for (const command of this.#commands.pull(names)) await this.#run(command);
  }

  async #run([command = '', ...args]: readonly string[]): Promise<void> {
    await this.#netns.run(command, ...args);
  }
}
