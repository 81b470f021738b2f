import { ConfigError } from './config-error.ts';
import {
  DEFAULT_UPSTREAM,
  WELL_KNOWN_REGISTRIES,
  canonicalRegistryName,
  findEcrRegion,
  parseRegistryName,
  registryOf,
} from './registries.ts';
import { describeProblem } from './problems.ts';
import { TEXTS } from './texts.ts';

type Fields = Readonly<Record<string, unknown>>;

/**
 * Problems between upstreams whose keys are right one by one: names, the default one, hosts,
 * regions. It reads the file and not the result of the schema, so that these problems are told
 * together with those of the schema; values of a wrong type are left to the schema.
 */
export function findConflicts(document: unknown): string[] {
  if (!isMap(document)) return [];
  return [
    ...nameProblems(document),
    ...defaultUpstreamProblems(document),
    ...hostProblems(document),
    ...regionProblems(document),
  ];
}

function nameProblems({ upstreams }: Fields): string[] {
  if (!isMap(upstreams)) return [];
  return Object.keys(upstreams).flatMap((name) => {
    try {
      parseRegistryName(name);
      return [];
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      return error.problems.map((problem) => describeProblem(['upstreams', name], problem));
    }
  });
}

function defaultUpstreamProblems({ upstreams, defaultUpstream }: Fields): string[] {
  const names = findUpstreamNames({ upstreams });
  const name = defaultUpstream ?? DEFAULT_UPSTREAM;
  if (!names || typeof name !== 'string' || names.includes(name)) return [];
  const canonical = canonicalRegistryName(name);
  if (names.includes(canonical))
    return [describeProblem(['defaultUpstream'], TEXTS.writeName({ name: canonical }))];
  const remedy = names.length === 0 ? TEXTS.addOne : TEXTS.oneOf({ names: names.join(', ') });
  const which = defaultUpstream === undefined ? TEXTS.itsDefault({ name }) : name;
  return [describeProblem(['defaultUpstream'], TEXTS.noUpstream({ name: which, remedy }))];
}

/** The names that requests may mean; `undefined` when `upstreams` is no map. */
export function findUpstreamNames(document: unknown): string[] | undefined {
  const upstreams = isMap(document) ? document['upstreams'] : undefined;
  if (upstreams === undefined) return WELL_KNOWN_REGISTRIES.map(({ name }) => name);
  return isMap(upstreams) ? Object.keys(upstreams) : undefined;
}

function hostProblems({ upstreams }: Fields): string[] {
  if (!isMap(upstreams)) return [];
  const owners = new Map<unknown, string>();
  return Object.entries(upstreams).flatMap(([name, upstream]) => {
    const hosts = isMap(upstream) && Array.isArray(upstream['hosts']) ? upstream['hosts'] : [];
    return hosts.flatMap((host: unknown, position) => {
      const owner = owners.get(host) ?? name;
      owners.set(host, owner);
      if (owner === name) return [];
      const path = ['upstreams', name, 'hosts', position];
      return [describeProblem(path, TEXTS.hostTaken({ host: String(host), owner }))];
    });
  });
}

/** ECR needs a region: that of the host, when it is one of Amazon's, else that of the key. */
function regionProblems({ upstreams }: Fields): string[] {
  if (!isMap(upstreams)) return [];
  return Object.entries(upstreams).flatMap(([name, upstream]) => {
    if (!isMap(upstream)) return [];
    const { url = registryOf(name).url, credentials } = upstream;
    if (typeof url !== 'string' || !URL.canParse(url) || findEcrRegion(url) !== undefined)
      return [];
    const path = ['upstreams', name, 'credentials'];
    const isList = Array.isArray(credentials);
    return (isList ? credentials : [credentials]).flatMap((entry: unknown, position) => {
      if (!isMap(entry) || entry['provider'] !== 'ecr' || 'region' in entry) return [];
      const place = [...path, ...(isList ? [position] : []), 'region'];
      return [describeProblem(place, TEXTS.regionMissing)];
    });
  });
}

function isMap(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
