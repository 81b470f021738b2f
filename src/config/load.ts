import { existsSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { ConfigError, describeIssue, describeProblem, describeProblems } from './problems.ts';
import type { Config, UpstreamConfig } from './config.ts';
import { isLoopback } from './proxy.ts';
import { resolveUpstream } from './upstream-schema.ts';
import { type ConfigDocument, configSchema } from './schema.ts';
import { type Environment, type Source, readTextFile } from './source.ts';
import { parseYaml } from './yaml.ts';
import { TEXTS } from './texts.ts';
import { keyAdviser } from './unknown-key.ts';
import {
  DEFAULT_UPSTREAM,
  WELL_KNOWN_REGISTRIES,
  findEcrRegion,
  parseRegistryName,
  registryNameMeant,
  registryOf,
} from './registries.ts';

export interface LoadOptions {
  /** The file of `--config`. */
  readonly file?: string | undefined;
  readonly env: Environment;
  readonly cwd: string;
}

export interface LoadedConfig {
  readonly config: Config;
  readonly warnings: readonly string[];
  /** Absolute; `undefined` when the defaults are all there is. */
  readonly file: string | undefined;
}

/**
 * The configuration of `file`, else of `$ENTREPOT_CONFIG`, else of `./entrepot.yaml` when there is
 * one, else the defaults. Throws a `ConfigError` with every problem.
 */
export function loadConfig({ file: named, env, cwd }: LoadOptions): LoadedConfig {
  const file = findFile(named ?? (env['ENTREPOT_CONFIG'] || undefined), cwd);
  try {
    const text = file === undefined ? '' : readTextFile(file);
    const directory = file === undefined ? cwd : dirname(file);
    const written = parseYaml(text);
    const upstreams = findUpstreamNames(written);
    const document = parseDocument(written, { directory, env, upstreams });
    const config = deepFreeze(createConfig(document, env));
    return { config, warnings: findWarnings(config), file };
  } catch (error) {
    if (!(error instanceof ConfigError) || file === undefined) throw error;
    throw new ConfigError(error.problems, { file, cause: error.cause });
  }
}

function findFile(named: string | undefined, cwd: string): string | undefined {
  if (named !== undefined) return resolve(cwd, named);
  const usual = resolve(cwd, 'entrepot.yaml');
  return existsSync(usual) ? usual : undefined;
}

function parseDocument(document: unknown, source: Source): ConfigDocument {
  const schema = configSchema(source);
  const result = schema.safeParse(document, { error: describeIssue, reportInput: true });
  const issues = result.error?.issues ?? [];
  const problems = [
    ...describeProblems(issues, keyAdviser({ schema })),
    ...findConflicts(document),
  ];
  if (!result.success || problems.length > 0) throw new ConfigError(problems);
  return result.data;
}

function createConfig(document: ConfigDocument, env: Environment): Config {
  const { sync, grace: graceMs, ...rest } = document;
  // No prototype: names from requests are looked up here, `constructor` among them.
  const upstreams: Record<string, UpstreamConfig> = Object.create(null);
  for (const [name, upstream] of Object.entries(document.upstreams)) {
    upstreams[name] = resolveUpstream(name, upstream, env);
  }
  return { ...rest, graceMs, upstreams, ...(sync && { sync }) };
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) Object.values(value).forEach(deepFreeze);
  return Object.freeze(value);
}

/** Warnings about a valid configuration that may not be what the operator means. */
export function findWarnings({ upstreams }: Config): string[] {
  return Object.values(upstreams).flatMap(({ name, url, credentials, tls }) => {
    const warn = (key: string, text: string) => describeProblem(['upstreams', name, key], text);
    return [
      ...(tls.insecure ? [warn('tls.insecure', TEXTS.insecure)] : []),
      ...(credentials.length > 0 && isOpenToOthers(new URL(url))
        ? [warn('credentials', TEXTS.unencrypted)]
        : []),
    ];
  });
}

function isOpenToOthers(url: URL): boolean {
  return url.protocol === 'http:' && !isLoopback(url);
}

type Fields = Readonly<Record<string, unknown>>;

/**
 * Problems between upstreams whose keys are right one by one: names, the default one, hosts,
 * regions. It reads the file and not the result of the schema, so that these problems are told
 * together with those of the schema; values of a wrong type are left to the schema.
 */
function findConflicts(document: unknown): string[] {
  const { upstreams, defaultUpstream } = mapOf(document);
  const entries = Object.entries(mapOf(upstreams));
  return [
    ...entries.flatMap(([name]) => nameProblems(name)),
    ...defaultUpstreamProblems(findUpstreamNames(document), defaultUpstream),
    ...hostProblems(entries),
    ...entries.flatMap(([name, upstream]) => regionProblems(name, mapOf(upstream))),
  ];
}

/** The names that requests may mean; `undefined` when `upstreams` is no map. */
function findUpstreamNames(document: unknown): string[] | undefined {
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
