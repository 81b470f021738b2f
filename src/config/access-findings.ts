import { isRole } from './access-schema.ts';
import type { Config, ListenConfig } from './config.ts';
import { describeProblem } from './problems.ts';
import { isLoopbackHost } from './proxy.ts';
import { DOCKER_HUB } from './registries.ts';
import { findRuleFaults, givesAllOf } from './rule-findings.ts';
import { TEXTS } from './texts.ts';

/** Where `access` is set: what the rules, or the listeners beside them, make of it that is likely not meant. */
export function findAccessWarnings(config: Config): string[] {
  const { access, listen, admin, metrics, trustProxy } = config;
  if (!access) return [];
  const { warnings, isShut } = findRuleFaults(config);
  const hasRoles = access.rules.some(({ may }) => may.some(isRole));
  const isMetricsOpen = metrics?.listen && !isLoopbackHost(metrics.listen.host) && hasRoles;
  const warn = (key: string, text: string): string => describeProblem(key.split('.'), text);
  return [
    ...warnings,
    ...(isShut ? [shutProblem()] : []),
    ...(isPlain(listen) && trustProxy.length === 0 ? [warn('listen', TEXTS.accessPlain)] : []),
    ...(isPlain(admin) ? [warn('admin', TEXTS.accessPlainAdmin)] : []),
    ...(!hasRoles && !isLoopbackHost(admin.host) ? [warn('admin', TEXTS.accessNoRoles)] : []),
    ...(isMetricsOpen ? [warn('metrics.listen', TEXTS.accessMetricsOpen)] : []),
  ];
}

/**
 * What `config check` does not let pass, although a server would start and refuse everybody: why each rule
 * gives nothing, and behind them that none does.
 */
export function findAccessProblems(config: Config): string[] {
  const { warnings, isShut } = findRuleFaults(config);
  return isShut ? [...warnings, shutProblem()] : [];
}

/** Clients that do not obey: of images that are open to everybody there is nothing to obey. */
export function findClientWarnings({ access, upstreams }: Config): string[] {
  if (!access || !upstreams[DOCKER_HUB] || givesAllOf(access.rules, DOCKER_HUB)) return [];
  return [describeProblem(['access'], TEXTS.accessDocker)];
}

function shutProblem(): string {
  return describeProblem(['access', 'rules'], TEXTS.accessShut);
}

function isPlain({ host, tls }: ListenConfig): boolean {
  return !tls && !isLoopbackHost(host);
}
