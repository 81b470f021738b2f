import { expandBraces } from './glob-cover.ts';
import { findGlob } from './glob.ts';
import { imageMeant } from './image.ts';
import { DOCKER_HUB, pathAlias } from './registries.ts';
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
  const right = [bare, ...otherForms(bare, registries)].find((form) => matchesSome(form, names));
  if (right !== undefined) return TEXTS.accessImageMeant({ right });
  const [name = ''] = glob.split('/');
  if (!names.some((upstream) => findGlob(name)?.matches(upstream))) {
    return TEXTS.noUpstream({ name, remedy: TEXTS.addOrOneOf({ names: names.join(', ') }) });
  }
  return TEXTS.accessImageNever;
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
  yield glob.toLowerCase();
  const [first = '', ...rest] = glob.split('/');
  if (!/[.:]/.test(first)) yield `${standard}/${glob}`;
  const path = rest.join('/');
  const name = names.find((upstream) => pathAlias(upstream) === first);
  if (name !== undefined) yield `${name}/${path}`;
  yield path;
  yield imageMeant(path) ?? path;
}
