import { isDeepStrictEqual } from 'node:util';
import type { ReloadReport } from './api/status-api.ts';
import type { Config } from './config/config.ts';
import type { LoadedConfig } from './config/load.ts';
import { ConfigError } from './config/problems.ts';
import type { Log } from './observe/log.ts';
import type { Metrics } from './observe/metrics.ts';
import { RegistryError } from './oci/errors.ts';

export interface ReloadParts {
  readonly config: Config;
  /** Reads the configuration again; throws a `ConfigError`. A process without one has no way to. */
  readonly load: (() => LoadedConfig) | undefined;
  /** Takes it whole or, when it throws, not at all. */
  readonly configure: (next: Config) => void;
  readonly metrics: Pick<Metrics, 'reloadOk' | 'reloadedAt'>;
  readonly log: Log;
}

/** Sections of the file whose keys are told one by one. */
const SECTIONS = ['store', 'upstreams', 'log', 'access', 'admission'] as const;

/** Reads the configuration again while the mirror serves. A broken one changes nothing. */
export class Reload {
  /** Keys that count from the next start on: the sockets are open and the store is, and so is the collector's. */
  static readonly AT_START: readonly string[] = [
    'listen',
    'admin',
    'metrics',
    'tracing',
    'grace',
    'store.path',
    'store.durability',
    'access.certificates',
  ];

  readonly #parts: ReloadParts;
  #config: Config;

  constructor(parts: ReloadParts) {
    this.#parts = parts;
    this.#config = parts.config;
  }

  /** Throws a `RegistryError` that says what is wrong, with every problem as its detail. */
  run(): ReloadReport {
    const { load, configure, metrics, log } = this.#parts;
    if (!load) throw refusal(409, 'this process read no configuration that it could read again');
    try {
      const { config: wanted, warnings, file } = load();
      const changes = changedKeys(this.#config, wanted);
      const isAtStart = (key: string): boolean => Reload.AT_START.includes(key);
      const report = {
        changed: changes.filter((key) => !isAtStart(key)),
        restart: changes.filter(isAtStart),
        warnings: [...warnings],
      };
      const next = keepUntilRestart(this.#config, wanted);
      if (report.changed.length > 0) configure(next);
      this.#config = next;
      metrics.reloadOk.set(1);
      metrics.reloadedAt.setToCurrentTime();
      log.info({ file, ...report }, 'configuration reloaded');
      return report;
    } catch (error) {
      metrics.reloadOk.set(0);
      const problems = error instanceof ConfigError ? error.problems : [(error as Error).message];
      log.error({ problems }, 'configuration not reloaded, the one before stays in force');
      const first = problems[0] ?? 'it cannot be read';
      const more = problems.length > 1 ? ` (and ${problems.length - 1} more)` : '';
      throw refusal(422, `${first}${more}; the configuration before stays in force`, problems);
    }
  }
}

function refusal(status: number, message: string, problems?: readonly string[]): RegistryError {
  return new RegistryError('UNSUPPORTED', {
    status,
    message,
    ...(problems && { detail: { problems } }),
  });
}

/** The keys whose values differ, as the file has them, in its order. */
function changedKeys(running: Config, wanted: Config): string[] {
  const [before, after] = [flatten(running), flatten(wanted)];
  const keys = new Set([...before.keys(), ...after.keys()]);
  return [...keys].filter((key) => !isDeepStrictEqual(before.get(key), after.get(key)));
}

function flatten({ graceMs, ...rest }: Config): Map<string, unknown> {
  const flat = new Map<string, unknown>([['grace', graceMs]]);
  for (const [key, value] of Object.entries(rest)) {
    if (!(SECTIONS as readonly string[]).includes(key)) flat.set(key, value);
    else for (const [name, each] of Object.entries(value)) flat.set(`${key}.${name}`, each);
  }
  return flat;
}

/** What is wanted, but for what counts from the next start on. */
function keepUntilRestart(running: Config, wanted: Config): Config {
  const next = merge(running, wanted, '');
  const access = wanted.access && merge(running.access ?? {}, wanted.access, 'access.');
  return {
    ...next,
    store: merge(running.store, wanted.store, 'store.'),
    ...(access && { access }),
  };
}

/** Of the keys that stand below `prefix` in the file, those of the running configuration that wait for a start. */
function merge<Section extends object>(
  running: Partial<Section>,
  wanted: Section,
  prefix: string,
): Section {
  const waits = ([key]: readonly [string, unknown]): boolean =>
    Reload.AT_START.includes(`${prefix}${key === 'graceMs' ? 'grace' : key}`);
  return Object.fromEntries([
    ...Object.entries(wanted).filter((entry) => !waits(entry)),
    ...Object.entries(running).filter(waits),
  ]) as Section;
}
