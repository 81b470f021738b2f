import type { ImageName } from './client.ts';

/** A name and what proves it. */
export interface Login {
  readonly user: string;
  readonly secret: string;
}

/** A container engine or tool that names images as the mirror's own, and says who it is as its users do. */
export interface LoginClient {
  /** Rejects when it is told that this counts for nothing; some clients do not ask. */
  login(login: Login): Promise<void>;
  /** As what deploys pull secrets does it: nobody is asked whether they count. */
  keep(login: Login): Promise<void>;
  logout(): Promise<void>;
  /** By one process, where the client can; rejects when one of them is refused. Nothing of them is left. */
  pull(...images: readonly ImageName[]): Promise<void>;
}

/** Where clients that know no mirrors find an image: `docker.io/library/app:1` below the mirror's own host. */
export function ownName(host: string, { registry, repository, reference }: ImageName): string {
  const separator = reference.includes(':') ? '@' : ':';
  return `${host}/${registry.replace(':', '_')}/${repository}${separator}${reference}`;
}
