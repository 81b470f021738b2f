import { isRepository } from '../oci/reference.ts';
import { ConfigError } from './config-error.ts';
import { isGlob, parseGlob } from './glob.ts';
import { DOCKER_HUB } from './registries.ts';
import { parseRegistryName } from './registry-name.ts';

const MAX_LENGTH = 255;
const EXAMPLE = 'docker.io/library/node';

/**
 * `registry/repository`, the repository perhaps a glob, in full: `docker.io/node` is
 * `docker.io/library/node`. Throws a `ConfigError` that says what to write.
 */
export function parseSyncImage(text: string): string {
  if (text.length > MAX_LENGTH) throw new ConfigError([`write at most ${MAX_LENGTH} characters`]);
  const { registry, repository } = split(text);
  if (repository.includes('@')) {
    throw new ConfigError(['write the digest under digests, and the image without it']);
  }
  if (repository.includes(':')) {
    throw new ConfigError(['write the tag under tags, and the image without it']);
  }
  const name = parseRegistryName(registry);
  if (isGlob(repository)) parseGlob(repository);
  else if (!isRepository(repository)) {
    throw new ConfigError([`write a repository in lower case, such as ${EXAMPLE}`]);
  }
  const isShort = name === DOCKER_HUB && isRepository(repository) && !repository.includes('/');
  return `${name}/${isShort ? `library/${repository}` : repository}`;
}

function split(text: string): { registry: string; repository: string } {
  const slash = text.indexOf('/');
  const registry = text.slice(0, Math.max(slash, 0));
  if (isGlob(registry)) {
    throw new ConfigError(['write the registry as it is; a rule is for one registry']);
  }
  if (/[.:]/.test(registry) || registry === 'localhost') {
    return { registry, repository: text.slice(slash + 1) };
  }
  throw new ConfigError([`write the image with its registry in front, such as ${EXAMPLE}`]);
}
