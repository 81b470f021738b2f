import { expandBraces } from './glob-cover.ts';
import { findGlob, isGlob } from './glob.ts';
import { imageMeant } from './image.ts';
import { DOCKER_HUB, findRegistry, hostMeant, pathAlias, registryNameMeant } from './registries.ts';
import { findNear } from './spelling.ts';
import { TEXTS } from './texts.ts';

interface Registries {
  /** Names of the upstreams. */
  readonly names: readonly string[];
  /** The upstream of a request that names none. */
  readonly standard: string;
}

/**
 * Why a glob over repositories with their registry matches none that can be pulled here, and what to write;
 * `undefined` where one may be.
 */
export function imageGlobFault(glob: string, registries: Registries): string | undefined {
  const { names } = registries;
  if (matchesSome(glob, names)) return undefined;
  const bare = withoutReference(glob);
  if (bare !== glob && matchesSome(bare, names)) return TEXTS.accessImageTag({ right: bare });
  const small = bare.toLowerCase();
  if (matchesSome(small, names)) return TEXTS.accessImageCase({ right: small });
  if (isRegistry(bare, names)) return registryFault(bare, names);
  const right = [bare, ...otherForms(bare, registries)].find((form) => matchesSome(form, names));
  if (right !== undefined) return TEXTS.accessImageMeant({ right });
  const [name = ''] = glob.split('/');
  if (names.some((upstream) => findGlob(name)?.matches(upstream))) return TEXTS.accessImageNever;
  const near = nearForm(bare, names);
  return noUpstream(name, names, near);
}

function noUpstream(name: string, names: readonly string[], near?: string): string {
  const remedy =
    near === undefined
      ? TEXTS.addOrOneOf({ names: names.join(', ') })
      : TEXTS.didYouMean({ right: near });
  return TEXTS.noUpstream({ name, remedy });
}

/** Whether it is the name of a registry and nothing else. */
function isRegistry(glob: string, names: readonly string[]): boolean {
  const host = hostMeant(glob);
  const isKnown = names.includes(host) || (host.includes('.') && findRegistry(host) !== undefined);
  return !/[/*]/.test(glob) && isKnown;
}

function registryFault(text: string, names: readonly string[]): string {
  const name = registryNameMeant(text) ?? text;
  return names.includes(name)
    ? TEXTS.accessImageRegistry({ right: `${name}/**` })
    : noUpstream(name, names);
}

/** The image of an upstream whose name is nearly that in front; a well-known registry is no slip for another one. */
function nearForm(glob: string, names: readonly string[]): string | undefined {
  const [name = '', ...path] = glob.split('/');
  if (isGlob(name) || findRegistry(name)) return undefined;
  const near = findNear(name, names);
  const form = near === undefined ? undefined : imageMeant([near, ...path].join('/'));
  return form !== undefined && matchesSome(form, names) ? form : undefined;
}

/** Whether some repository of an upstream may have a name that it matches. */
function matchesSome(glob: string, upstreams: readonly string[]): boolean {
  const forms = expandBraces(glob);
  return forms === undefined || forms.some((form) => matchesOne(form, upstreams));
}

function matchesOne(glob: string, upstreams: readonly string[]): boolean {
  const [registry = '', ...path] = glob.split('/');
  if (!path.every((component) => isComponent(component))) return false;
  // Which may stand for the registry and what is below it.
  if (registry.includes('**')) return true;
  const [component, ...more] = path;
  if (component === undefined) return false;
  const pattern = findGlob(registry);
  const isShort = more.length === 0 && !component.includes('**');
  return upstreams.some((name) => pattern?.matches(name) && !(isShort && name === DOCKER_HUB));
}

/** Whether some part of a repository's name may be so. */
function isComponent(glob: string): boolean {
  return /^[a-z0-9._*?-]+$/.test(glob.replaceAll(/\[[^\]]*\]/g, '?'));
}

/** Without a tag and a digest, of which rules know nothing. */
function withoutReference(glob: string): string {
  return glob.replace(/@.*$/, '').replace(/(?<=\/[^/]*):[^/]*$/, '');
}

/** What may be meant by a name as a client writes it, or as it stands at the mirror. */
function* otherForms(glob: string, { names, standard }: Registries): Generator<string> {
  const meant = imageMeant(glob);
  if (meant !== undefined) yield meant;
  const [first = '', ...rest] = glob.split('/');
  if (!/[.:]/.test(first)) yield `${standard}/${glob}`;
  const path = rest.join('/');
  const name = names.find((upstream) => pathAlias(upstream) === first);
  if (name !== undefined) yield `${name}/${path}`;
  yield path;
  // Behind the address of the mirror stands a registry; what stands behind a registry is of no other one.
  if (/^[^/]*[.:][^/]*\//.test(path)) yield imageMeant(path) ?? path;
}
