import { mkdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Login } from './login-client.ts';

/** The file in which Docker, Podman, skopeo and crane keep what they show to which registry. */
export class AuthFile {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  async write(logins: Readonly<Record<string, Login>>): Promise<void> {
    const auths = Object.entries(logins).map(([registry, { user, secret }]) => [
      registry,
      { auth: Buffer.from(`${user}:${secret}`).toString('base64') },
    ]);
    await mkdir(dirname(this.path), { recursive: true });
    await writeFile(this.path, JSON.stringify({ auths: Object.fromEntries(auths) as object }));
  }
}
