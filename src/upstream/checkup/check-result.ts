import type { UpstreamConfig } from '../../config/config.ts';
import { UpstreamError } from '../../oci/upstream-error.ts';

import type { Finding } from '../../api/status-api.ts';
import { TEXTS } from '../texts.ts';

/** The finding of a check without the check's name. */
export type CheckResult = Omit<Finding, 'check'>;

export function passed(detail: string): CheckResult {
  return { state: 'ok', detail };
}

export function warning(detail: string, advice: string): CheckResult {
  return { state: 'warning', detail, advice };
}

export function failed(detail: string, advice: string): CheckResult {
  return { state: 'failed', detail, advice };
}

export function skipped(detail: string, advice?: string): CheckResult {
  return { state: 'skipped', detail, ...(advice !== undefined && { advice }) };
}

/** A key of the configuration, as the operator finds it in the file. */
export function configKey({ name }: Pick<UpstreamConfig, 'name'>, key: string): string {
  return `upstreams.${name}.${key}`;
}

/**
 * Why something failed, without the upstream's name. Messages of libraries are not repeated: they
 * may carry what they were given.
 */
export function causeOf(error: unknown, upstream: string): string {
  if (error instanceof UpstreamError) return error.message.replace(`${upstream}: `, '');
  if (!(error instanceof Error)) return TEXTS.unknownCause;
  const { code } = error as NodeJS.ErrnoException;
  return typeof code === 'string' ? code : error.name;
}
