import { findGlob, isGlob } from './glob.ts';
import { imageMeant } from './image.ts';
import { ConfigError, describeProblem } from './problems.ts';
import {
  DEFAULT_UPSTREAM,
  DOCKER_HUB,
  WELL_KNOWN_REGISTRIES,
  findEcrRegion,
  parseRegistryName,
  registryNameMeant,
  registryOf,
} from './registries.ts';
import { TEXTS } from './texts.ts';

type Fields = Readonly<Record<string, unknown>>;

/**
 * Problems between upstreams whose keys are right one by one: names, the default one, hosts,
 * regions. It reads the file and not the result of the schema, so that these problems are told
 * together with those of the schema; values of a wrong type are left to the schema.
 */
export function findConflicts(document: unknown): string[] {
  const { upstreams, defaultUpstream } = mapOf(document);
  const entries = Object.entries(mapOf(upstreams));
  return [
    ...entries.flatMap(([name]) => nameProblems(name)),
    ...defaultUpstreamProblems(findUpstreamNames(document), defaultUpstream),
    ...pinProblems(findUpstreamNames(document), document),
    ...hostProblems(entries),
    ...entries.flatMap(([name, upstream]) => patternProblems(name, mapOf(upstream))),
    ...entries.flatMap(([name, upstream]) => regionProblems(name, mapOf(upstream))),
    ...variableProblems(document, []),
  ];
}

/** The names that requests may mean; `undefined` when `upstreams` is no map. */
export function findUpstreamNames(document: unknown): string[] | undefined {
  const { upstreams } = mapOf(document);
  if (upstreams === undefined) return WELL_KNOWN_REGISTRIES.map(({ name }) => name);
  return isMap(upstreams) ? Object.keys(upstreams) : undefined;
}

function nameProblems(name: string): string[] {
  try {
    parseRegistryName(name);
    return [];
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return error.problems.map((problem) => describeProblem(['upstreams', name], problem));
  }
}

function defaultUpstreamProblems(names: string[] | undefined, written: unknown): string[] {
  const name = written ?? DEFAULT_UPSTREAM;
  if (!names || typeof name !== 'string' || names.includes(name)) return [];
  const meant = registryNameMeant(name);
  if (meant !== undefined && names.includes(meant))
    return [describeProblem(['defaultUpstream'], TEXTS.writeName({ name: meant }))];
  const remedy = names.length === 0 ? TEXTS.addOne : TEXTS.oneOf({ names: names.join(', ') });
  const which = written === undefined ? TEXTS.itsDefault({ name }) : name;
  return [describeProblem(['defaultUpstream'], TEXTS.noUpstream({ name: which, remedy }))];
}

/** A pin of a registry that no request can mean keeps nothing. One that is written wrongly is the schema's. */
function pinProblems(names: string[] | undefined, document: unknown): string[] {
  const { pins } = mapOf(mapOf(document)['store']);
  return (names && Array.isArray(pins) ? pins : []).flatMap((pin: unknown, position) => {
    const image = typeof pin === 'string' && findGlob(pin) ? imageMeant(pin) : undefined;
    const [name = '', ...rest] = image?.split('/') ?? [];
    if (!names || rest.length === 0 || isGlob(name) || names.includes(name)) return [];
    const remedy = TEXTS.addOrOneOf({ names: names.join(', ') });
    return [describeProblem(['store', 'pins', position], TEXTS.noUpstream({ name, remedy }))];
  });
}

function hostProblems(upstreams: readonly [string, unknown][]): string[] {
  const owners = new Map<unknown, string>();
  return upstreams.flatMap(([name, upstream]) => {
    const { hosts } = mapOf(upstream);
    return (Array.isArray(hosts) ? hosts : []).flatMap((host: unknown, position) => {
      const owner = owners.get(host) ?? name;
      owners.set(host, owner);
      if (owner === name) return [];
      const path = ['upstreams', name, 'hosts', position];
      return [describeProblem(path, TEXTS.hostTaken({ host: String(host), owner }))];
    });
  });
}

/** ECR needs a region: that of the host, when it is one of Amazon's, else that of the key. */
function regionProblems(name: string, { url = registryOf(name).url, credentials }: Fields) {
  if (typeof url !== 'string' || !URL.canParse(url) || findEcrRegion(url) !== undefined) return [];
  const path = ['upstreams', name, 'credentials'];
  const isList = Array.isArray(credentials);
  return (isList ? credentials : [credentials]).flatMap((entry: unknown, position) => {
    const account = mapOf(entry);
    if (account['provider'] !== 'ecr' || 'region' in account) return [];
    const place = [...path, ...(isList ? [position] : []), 'region'];
    return [describeProblem(place, TEXTS.regionMissing)];
  });
}

function isMap(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A map as it is, and what is none as an empty one. */
function mapOf(value: unknown): Fields {
  return isMap(value) ? value : {};
}

/** Patterns that no repository of this registry can match, since these have no registry or tag. */
function patternProblems(name: string, { allow, deny, tags }: Fields): string[] {
  const lists = { allow, deny, 'tags.immutable': mapOf(tags)['immutable'] };
  return Object.entries(lists).flatMap(([key, list]) =>
    (Array.isArray(list) ? list : []).flatMap((pattern: unknown, position) => {
      if (typeof pattern !== 'string') return [];
      const right = key.startsWith('tags')
        ? tagPatternMeant(name, pattern)
        : repositoryPatternMeant(name, pattern.replace(/(?<=[^:/@])[:@][^/]*$/, ''));
      if (right === pattern || !findGlob(pattern) || !findGlob(right)) return [];
      const path = ['upstreams', name, key, position];
      return [describeProblem(path, TEXTS.patternOfRepository({ right }))];
    }),
  );
}

function tagPatternMeant(name: string, pattern: string): string {
  const colon = pattern.lastIndexOf(':');
  const [repository, tag] = [pattern.slice(0, Math.max(colon, 0)), pattern.slice(colon)];
  if (repository === '' || repository === '*') return pattern;
  return repositoryPatternMeant(name, repository) + tag;
}

function repositoryPatternMeant(registry: string, pattern: string): string {
  const path = pattern.replace(/^[a-z]+:\/\//i, '').replace(/^\//, '');
  const [first = '', ...rest] = path.split('/');
  const isRegistry = /[.:]|^localhost$/.test(first) && registryNameMeant(first) === registry;
  const inside = (isRegistry && rest.length > 0 ? rest.join('/') : path).toLowerCase();
  const below = inside.replace(/\/$/, '/**');
  if (registry !== DOCKER_HUB || /\/|\*\*/.test(below)) return below;
  return below === '*' ? '**' : `library/${below}`;
}

/** `${NAME}` and `$NAME` are put in by other programs. Names of accounts may look like it, and secrets have their own problem. */
function variableProblems(value: unknown, path: readonly (string | number)[]): string[] {
  if (typeof value === 'string') {
    const [, braced, plain] = /\$(?:\{([A-Za-z_]\w*)[^}]*\}|([A-Z][A-Z0-9_]+))/.exec(value) ?? [];
    const name = braced ?? plain;
    if (name === undefined || path[2] === 'credentials') return [];
    return [describeProblem(path, TEXTS.variable({ name }))];
  }
  if (Array.isArray(value)) {
    return value.flatMap((each, position) => variableProblems(each, [...path, position]));
  }
  return Object.entries(mapOf(value)).flatMap(([key, each]) =>
    variableProblems(each, [...path, key]),
  );
}
