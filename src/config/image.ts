import { RegistryError } from '../oci/errors.ts';
import { isRepository, parseImageName } from '../oci/reference.ts';
import { isGlob, parseGlob } from './glob.ts';
import { ConfigError } from './problems.ts';
import { DOCKER_HUB, registryForm, registryNameMeant } from './registries.ts';
import { TEXTS } from './texts.ts';

/**
 * The image that a text means, with its registry: Docker's `nginx:1` is `docker.io/library/nginx:1`.
 * `undefined` where no registry has the name that is in front.
 */
export function imageMeant(text: string): string | undefined {
  const plain = text.replace(/^[a-z]+:\/\//i, '');
  const slash = plain.indexOf('/');
  const first = plain.slice(0, Math.max(slash, 0));
  if (isGlob(first) || plain.startsWith('**')) return plain;
  const isRegistry = /[.:]|^localhost$/i.test(first);
  const registry = isRegistry ? registryNameMeant(first) : DOCKER_HUB;
  if (registry === undefined) return undefined;
  const path = isRegistry ? plain.slice(slash + 1) : plain;
  // The pages of Docker Hub stand under `_/` and `r/`.
  const isPage = /\.docker\.com$/i.test(first);
  const [, repository = '', reference = ''] =
    /^([^:@]*)(.*)$/s.exec(isPage ? path.replace(/^[_r]\//, '') : path) ?? [];
  const isShort = registry === DOCKER_HUB && repository !== '' && !/\/|\*\*/.test(repository);
  return `${registry}/${isShort ? 'library/' : ''}${repository.toLowerCase()}${reference}`;
}

/** The written form of a pin, for editors: with its registry in front, in lower case. */
export const PIN_FORM = `^\\*\\*|^[^/]*[*?{[][^/]*/|${registryForm('/')}`;

/** An image of `store.pins` in full, or a pattern. Throws a `ConfigError` that says what to write. */
export function parsePin(text: string): string {
  const image = imageMeant(text);
  if (image === undefined) throw new ConfigError([TEXTS.pin]);
  if (isGlob(image)) parseGlob(image);
  else checkImage(image);
  const isOnlyShort = image.replace(`${DOCKER_HUB}/library/`, `${DOCKER_HUB}/`) === text;
  if (image !== text && !isOnlyShort) throw new ConfigError([TEXTS.imageMeant({ image })]);
  return image;
}

function checkImage(image: string): void {
  try {
    const { name } = parseImageName(image);
    if (isRepository(name.slice(name.indexOf('/') + 1))) return;
  } catch (cause) {
    if (!(cause instanceof RegistryError)) throw cause;
  }
  throw new ConfigError([TEXTS.pin]);
}
