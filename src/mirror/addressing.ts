import type { Config, UpstreamConfig } from '../config/config.ts';
import { parseGlobs } from '../config/glob.ts';
import { DOCKER_HUB, pathAlias, registryOf } from '../config/registries.ts';
import type { Digest } from '../oci/digest.ts';
import { RegistryError } from '../oci/errors.ts';
import {
  formatTarget,
  parseImageName,
  parseRepository,
  type Tag,
  type Target,
} from '../oci/reference.ts';
import { TEXTS } from './texts.ts';

/** The parts of a request that may say which upstream it means. */
export interface Address {
  /** The repository as the path has it, possibly with an upstream's name in front. */
  readonly name: string;
  /** `ns` of the query (containerd), else the header `OCI-Namespace`. */
  readonly namespace?: string | undefined;
  /** The path component before `/v2/`. */
  readonly prefix?: string | undefined;
  /** The `Host` header. */
  readonly host?: string | undefined;
}

/** An upstream without a repository. */
export interface RegistryTarget {
  readonly upstream: string;
  /** Whether this mirror may serve the repository. */
  readonly isAllowed: (repository: string) => boolean;
}

/** An image whose registry is a configured upstream. */
export interface ResolvedImage {
  readonly target: Target;
  readonly tag?: Tag;
  /** Counts more than the tag. */
  readonly digest?: Digest;
}

interface Entry {
  readonly config: UpstreamConfig;
  readonly isAllowed: (repository: string) => boolean;
}

/**
 * Which repository of which upstream a request means. A closed world: names are looked up among the
 * configured upstreams and are never dialled, and no request falls from one upstream to another.
 */
export class Addressing {
  readonly #byName = new Map<string, Entry>();
  readonly #byHost = new Map<string, Entry>();
  readonly #default: Entry;

  constructor(config: Pick<Config, 'upstreams' | 'defaultUpstream'>) {
    for (const upstream of Object.values(config.upstreams)) {
      const entry = { config: upstream, isAllowed: compileAllowed(upstream) };
      const { name } = upstream;
      for (const alias of [name, pathAlias(name), ...registryOf(name).aliases]) {
        this.#byName.set(alias, entry);
      }
      for (const host of upstream.hosts) this.#byHost.set(host, entry);
    }
    const configured = [...this.#byName];
    for (const [name, entry] of configured) {
      for (const other of spellings(name, entry.config.url)) {
        if (!this.#byName.has(other)) this.#byName.set(other, entry);
      }
    }
    const standard = this.#byName.get(config.defaultUpstream);
    if (!standard) throw new TypeError(`no upstream ${config.defaultUpstream} is configured`);
    this.#default = standard;
  }

  /** Throws `NAME_UNKNOWN` for what is not configured, `NAME_INVALID`, `DENIED`. */
  resolve(address: Address): Target {
    const target = this.locate(address);
    this.requireAllowed(target);
    return target;
  }

  /** Which repository is meant, whether this mirror may serve it or not. Throws as `resolve`, but for `DENIED`. */
  locate(address: Address): Target {
    const { entry, rest } = this.#choose(address);
    const isShort = entry.config.name === DOCKER_HUB && !rest.includes('/');
    const repository = parseRepository(isShort ? `library/${rest}` : rest);
    return { upstream: entry.config.name, repository };
  }

  /** Throws `DENIED` for what the upstream's `allow` and `deny` leave out. */
  requireAllowed(target: Target): void {
    if (this.#byName.get(target.upstream)?.isAllowed(target.repository)) return;
    const message = TEXTS.notAllowed({ repository: formatTarget(target) });
    throw new RegistryError('DENIED', { message });
  }

  /** Throws as `resolve` does, and `TAG_INVALID` or `DIGEST_INVALID`. */
  resolveImage(image: string): ResolvedImage {
    const { name, ...reference } = parseImageName(image);
    return { target: this.#resolveNamed(name), ...reference };
  }

  /** An operator is told what is configured, and where; a client learns no more than it named. */
  #resolveNamed(name: string): Target {
    try {
      return this.resolve({ name });
    } catch (cause) {
      if (!(cause instanceof RegistryError)) throw cause;
      if (this.#isOfAddress(name, cause)) {
        throw new RegistryError(cause.code, { message: TEXTS.imageOfAddress, cause });
      }
      if (cause.code !== 'NAME_UNKNOWN') throw cause;
      const names = [...new Set([...this.#byName.values()].map(({ config }) => config.name))];
      const problem = cause.message;
      const message = TEXTS.noSuchUpstreamButThese({ problem, names: names.join(', ') });
      throw new RegistryError('NAME_UNKNOWN', { message, cause });
    }
  }

  /** Whether what is refused has in front where a mirror is reached, as clients name an image that they pull. */
  #isOfAddress(name: string, { code }: RegistryError): boolean {
    if (code === 'NAME_INVALID') return hasAddress(name);
    const [, second = '', ...more] = name.split('/');
    return code === 'NAME_UNKNOWN' && more.length > 0 && this.#byName.has(second);
  }

  /** Throws `NAME_UNKNOWN` for what is not configured. */
  resolveRegistry(address: Omit<Address, 'name'>): RegistryTarget {
    const { entry } = this.#choose({ ...address, name: '' });
    return { upstream: entry.config.name, isAllowed: entry.isAllowed };
  }

  /** In this order: `ns`, the component before `/v2/`, the first one after it, `Host`, default. */
  #choose(address: Address): { entry: Entry; rest: string } {
    const slash = address.name.indexOf('/');
    const first = slash === -1 ? undefined : address.name.slice(0, slash);
    const named = first === undefined ? undefined : this.#byName.get(first.toLowerCase());
    const rest = address.name.slice(slash + 1);
    if (address.namespace) {
      const entry = this.#configured(address.namespace);
      return { entry, rest: named === entry ? rest : address.name };
    }
    if (address.prefix !== undefined) {
      return { entry: this.#configured(address.prefix), rest: address.name };
    }
    if (named) return { entry: named, rest };
    const hosted = this.#ofHost(address.host);
    if (hosted) return { entry: hosted, rest: address.name };
    if (first !== undefined && isRegistryLike(first)) this.#configured(first);
    return { entry: this.#default, rest: address.name };
  }

  #configured(name: string): Entry {
    const entry = this.#byName.get(name.toLowerCase());
    if (entry) return entry;
    throw new RegistryError('NAME_UNKNOWN', {
      // Docker shows the message and no detail.
      message: TEXTS.noSuchUpstream({ name: name.slice(0, 255) }),
    });
  }

  #ofHost(host: string | undefined): Entry | undefined {
    if (host === undefined || this.#byHost.size === 0) return undefined;
    const lower = host.toLowerCase();
    return this.#byHost.get(lower) ?? this.#byHost.get(lower.replace(/:\d+$/, ''));
  }
}

/**
 * The name of a registry with the port that its scheme has anyway, or without that port: `ghcr.io`
 * and `ghcr.io:443` are one. In paths `_` stands for the colon.
 */
function spellings(name: string, url: string): string[] {
  const ports = new URL(url).protocol === 'http:' ? ['443', '80'] : ['443'];
  const [, host = '', port] = /^(.*?)(?:[:_](\d+))?$/.exec(name) ?? [];
  if (port === undefined) return ports.flatMap((usual) => [`${host}:${usual}`, `${host}_${usual}`]);
  return ports.includes(port) ? [host] : [];
}

/**
 * Docker's own rule for telling a registry from a namespace. One that is not configured must not
 * become a namespace of another registry, where anybody could have made it.
 */
function isRegistryLike(component: string): boolean {
  return /^[a-z0-9][^.]*\.|^localhost$/i.test(component);
}

/** Whether what stands in front has a port, which no repository has: it is no registry that is configured. */
function hasAddress(name: string): boolean {
  return /^(?:[^/:]+|\[[^/\]]*\]):\d+\//.test(name);
}

function compileAllowed(config: UpstreamConfig): (repository: string) => boolean {
  const isListed = config.allow.length === 0 ? () => true : parseGlobs(config.allow);
  const isDenied = parseGlobs(config.deny);
  return (repository) => isListed(repository) && !isDenied(repository);
}
