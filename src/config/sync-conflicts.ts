import { ConfigError } from './config-error.ts';
import { describeProblem } from './problems.ts';
import { canonicalRegistryName } from './registries.ts';
import { readSyncFiles } from './sync-files.ts';

interface RulesAsTheyStand {
  readonly rules: unknown;
  /** The path in front of `rules`. */
  readonly above: readonly PropertyKey[];
  /** The file in front of the path, where it is another one. */
  readonly file?: string;
}

/**
 * Images of rules whose registry is no upstream: nothing falls from one upstream to another, so
 * they could never be fetched. What else is wrong with them is left to the schema.
 */
export function findSyncConflicts(
  sync: unknown,
  upstreams: readonly string[],
  directory: string,
): string[] {
  if (!isMap(sync)) return [];
  const files = Array.isArray(sync['files']) ? sync['files'] : [];
  return [
    ...unknownUpstreams({ rules: sync['rules'], above: ['sync', 'rules'] }, upstreams),
    ...files.flatMap((pattern: unknown, position) =>
      readRules(pattern, directory).flatMap(({ file, rules }) =>
        unknownUpstreams({ rules, file, above: ['rules'] }, upstreams).map((text) =>
          describeProblem(['sync', 'files', position], text),
        ),
      ),
    ),
  ];
}

function readRules(pattern: unknown, directory: string): { file: string; rules: unknown }[] {
  if (typeof pattern !== 'string') return [];
  try {
    return readSyncFiles(pattern, directory).flatMap(({ name, document }) =>
      isMap(document) ? [{ file: name, rules: document['rules'] }] : [],
    );
  } catch (error) {
    if (error instanceof ConfigError) return [];
    throw error;
  }
}

function unknownUpstreams(where: RulesAsTheyStand, upstreams: readonly string[]): string[] {
  if (!Array.isArray(where.rules)) return [];
  return where.rules.flatMap((rule: unknown, position) => {
    const registry = isMap(rule) ? registryOfImage(rule['image']) : undefined;
    if (registry === undefined || upstreams.includes(registry)) return [];
    const path = [...where.above, position, 'image'];
    const text = `${registry} is not under upstreams; add it there, or write one of ${upstreams.join(', ')}`;
    const problem = describeProblem(path, text);
    return [where.file === undefined ? problem : `${where.file}: ${problem}`];
  });
}

function registryOfImage(image: unknown): string | undefined {
  const [, registry] = (typeof image === 'string' ? /^([a-z0-9.:-]+)\//.exec(image) : null) ?? [];
  return registry !== undefined && /[.:]|^localhost$/.test(registry)
    ? canonicalRegistryName(registry)
    : undefined;
}

function isMap(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
