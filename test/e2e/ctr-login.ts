import type { ImageName } from './client.ts';
import type { Containerd } from './containerd.ts';
import { ownName, type Login, type LoginClient } from './login-client.ts';

/** `ctr`, which keeps no login: each pull is given one. */
export class CtrLogin implements LoginClient {
  readonly #containerd: Containerd;
  readonly #host: string;
  #login: Login | undefined;

  constructor(containerd: Containerd, host: string) {
    this.#containerd = containerd;
    this.#host = host;
  }

  async login(login: Login): Promise<void> {
    return this.keep(login);
  }

  async keep(login: Login): Promise<void> {
    this.#login = login;
    return Promise.resolve();
  }

  async logout(): Promise<void> {
    this.#login = undefined;
    return Promise.resolve();
  }

  async pull(...images: readonly ImageName[]): Promise<void> {
    const flags = ['--plain-http', '--snapshotter', 'native'];
    const shown = this.#login ? ['--user', `${this.#login.user}:${this.#login.secret}`] : [];
    for (const image of images) {
      const name = ownName(this.#host, image);
      await this.#containerd.ctr('images', 'pull', ...flags, ...shown, name);
      await this.#containerd.ctr('images', 'rm', '--sync', name);
    }
  }
}
