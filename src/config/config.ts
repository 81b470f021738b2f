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
}

export interface UpstreamConfig {
  /** The registry's name as clients write it: `docker.io`, `ghcr.io`, `reg.example:5000`. */
  readonly name: string;
  /** Base URL without a trailing slash and without `/v2`. */
  readonly url: string;
  readonly credentials?: PasswordCredentials;
  readonly tls: UpstreamTlsConfig;
  readonly proxy?: string;
  /** Values of the request's `Host` that mean this upstream. */
  readonly hosts: readonly string[];
  readonly allow: readonly string[];
  readonly deny: readonly string[];
  /** Blob transfers at a time. */
  readonly concurrency: number;
  readonly tags: TagsConfig;
}

export interface PasswordCredentials {
  readonly username: string;
  readonly password: string;
}

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
  /** How long past the ttl a held tag is answered at once while upstream is asked behind it. */
  readonly staleWhileRevalidateMs: number;
  /** How long a 404 of upstream is believed. */
  readonly negativeTtlMs: number;
  /** `repository:tag` patterns that are never asked for again once held. */
  readonly immutable: readonly string[];
}
