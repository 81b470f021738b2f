import { existsSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { findAdmissionWarnings } from './admission-findings.ts';
import { findAccessWarnings } from './access-findings.ts';
import { findConflicts, findUpstreamNames } from './conflicts.ts';
import { ConfigError, describeIssue, describeProblem, describeProblems } from './problems.ts';
import type { Config, UpstreamConfig } from './config.ts';
import { isLoopback } from './proxy.ts';
import { resolveUpstream } from './upstream-schema.ts';
import { type ConfigDocument, configSchema } from './schema.ts';
import { type Environment, type Source, readTextFile } from './source.ts';
import { parseYaml } from './yaml.ts';
import { TEXTS } from './texts.ts';
import { keyAdviser } from './unknown-key.ts';

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
  // What is read once takes longer to compile than to check.
  const how = { error: describeIssue, reportInput: true, jitless: true };
  const result = schema.safeParse(document, how);
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
export function findWarnings(config: Config): string[] {
  return [
    ...findUpstreamWarnings(config),
    ...findAccessWarnings(config),
    ...findAdmissionWarnings(config),
  ];
}

function findUpstreamWarnings({ upstreams }: Config): string[] {
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
