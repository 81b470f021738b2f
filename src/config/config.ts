import type { SyncConfig } from './sync-config.ts';

/**
 * The validated configuration: every unit resolved to a number, every secret read, every default
 * filled in, deep-frozen. `load.ts` is the only maker; parts receive their own slice.
 */
export interface Config {
  readonly listen: ListenConfig;
  readonly admin: ListenConfig;
  /** True: no socket is ever opened to an upstream. */
  readonly offline: boolean;
  readonly store: StoreConfig;
  /** The upstream of a request that names none; always a key of `upstreams`. */
  readonly defaultUpstream: string;
  readonly upstreams: Readonly<Record<string, UpstreamConfig>>;
  /** What is fetched ahead of demand; absent: nothing. */
  readonly sync?: SyncConfig;
}

export interface ListenConfig {
  readonly host: string;
  /** 0 lets the system choose. */
  readonly port: number;
  /** Paths, not contents: the files are read again when they change. */
  readonly tls?: { readonly cert: string; readonly key: string };
}

export interface StoreConfig {
  readonly path: string;
  readonly maxBytes: number;
  readonly minFreeBytes: number;
  /** `full`: a committed blob survives power loss. `rename`: it survives a killed process. */
  readonly durability: 'full' | 'rename';
  /** Images that are never evicted: names, `name:tag`, `name@digest`, globs of these. */
  readonly pins: readonly string[];
  /** File with the images that are in use, one a line; read again when it changes. */
  readonly inUse?: string;
}

export interface UpstreamConfig {
  /** The registry's name as clients write it: `docker.io`, `ghcr.io`, `reg.example:5000`. */
  readonly name: string;
  /** Base URL without a trailing slash and without `/v2`. */
  readonly url: string;
  /** In front of every repository's name there: `/v2/<prefix>/…` of a mirror in the path form. */
  readonly prefix?: string;
  /** Sent as `ns` with every request, to a mirror that looks upstreams up by it. */
  readonly namespace?: string;
  /** Used in turn; none: anonymous. */
  readonly credentials: readonly CredentialsConfig[];
  readonly tls: UpstreamTlsConfig;
  readonly proxy?: string;
  /** Values of the request's `Host` that mean this upstream. */
  readonly hosts: readonly string[];
  readonly allow: readonly string[];
  readonly deny: readonly string[];
  /** Blob transfers at a time. */
  readonly concurrency: number;
  /** Most bytes a second over all its transfers. */
  readonly bytesPerSecond?: number;
  readonly hydrate: HydrateMode;
  readonly tags: TagsConfig;
}

/**
 * What is fetched in the background. `blob`: what a client did not ask for of an image that it
 * pulled, and the manifests of tags that are only asked for by HEAD. `head`: the layers of these too.
 */
export type HydrateMode = 'blob' | 'head' | 'off';

/**
 * The credentials of an account. Secrets of the file are read; what a provider issues is fetched
 * later.
 */
export type CredentialsConfig =
  | { readonly provider: 'password'; readonly username: string; readonly password: string }
  /** A refresh token, as `docker login` keeps it under `identitytoken`. */
  | { readonly provider: 'identity-token'; readonly token: string }
  /** Sent as it is. */
  | { readonly provider: 'bearer'; readonly token: string }
  | { readonly provider: 'ecr'; readonly region: string; readonly profile?: string }
  | { readonly provider: 'ecr-public'; readonly profile?: string }
  /** `key` is the text of a service account's JSON key; without it, the default credentials. */
  | { readonly provider: 'gcp'; readonly key?: string }
  /** With a secret, a service principal; without, the identity of the machine or workload. */
  | {
      readonly provider: 'acr';
      readonly tenant?: string;
      readonly client?: string;
      readonly secret?: string;
    }
  /** The program `docker-credential-<name>`, asked for `server`. */
  | { readonly provider: 'helper'; readonly name: string; readonly server: string }
  /** `config.json` of Docker or `auth.json` of Podman. */
  | { readonly provider: 'docker-config'; readonly file: string; readonly server: string };

export interface UpstreamTlsConfig {
  /** PEM contents. */
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly insecure: boolean;
}

export interface TagsConfig {
  /** How long a tag is answered without asking upstream. */
  readonly ttlMs: number;
  /** How long a client with a held copy waits for upstream. */
  readonly revalidateTimeoutMs: number;
  /** How old a held tag may be when upstream fails; `Infinity` for `forever`. */
  readonly staleIfErrorMs: number;
  /**
   * How long past the ttl a held tag is answered at once while upstream is asked in the background.
   */
  readonly staleWhileRevalidateMs: number;
  /** How long a 404 of upstream is believed. */
  readonly negativeTtlMs: number;
  /** `repository:tag` patterns that are never asked for again once held. */
  readonly immutable: readonly string[];
}
