import { ConfigError } from './config-error.ts';
import { canonicalRegistryName } from './registries.ts';

const LABEL = '[a-z0-9](?:[a-z0-9-]*[a-z0-9])?';
const HOST = new RegExp(`^(${LABEL}(?:\\.${LABEL})*)(?::([1-9]\\d{0,4}))?$`);

/** A `Host` header's value in lower case: host, and a port where there is one. */
export function isHost(text: string): boolean {
  const [, host, port = '1'] = HOST.exec(text) ?? [];
  return host !== undefined && text.length <= 255 && Number(port) <= 65_535;
}

/**
 * The name of a registry as references write it. Throws a `ConfigError` that says what to write.
 */
export function parseRegistryName(text: string): string {
  const host = text
    .toLowerCase()
    .replace(/^https?:\/\//, '')
    .replace(/\/.*$/, '');
  const name = canonicalRegistryName(host);
  if (!isRegistryName(name)) {
    throw new ConfigError(["a registry's name is its host and port, such as reg.example:5000"]);
  }
  if (name !== text) throw new ConfigError([`write ${name}, the name of this registry`]);
  return name;
}

/** Without a dot or a port a word in front of a repository is a part of the repository. */
function isRegistryName(text: string): boolean {
  return isHost(text) && (/[.:]/.test(text) || text === 'localhost');
}

/**
 * The name as the first component of a repository path, where a colon is not legal. Names hold no
 * underscore, so two names never have one alias.
 */
export function pathAlias(name: string): string {
  return name.replace(':', '_');
}
