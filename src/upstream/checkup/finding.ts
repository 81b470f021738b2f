import type { Finding } from '../../api/doctor-api.ts';

/** What a check tells of itself; its name is known to whoever runs it. */
export type Outcome = Omit<Finding, 'check'>;

export function ok(detail: string): Outcome {
  return { state: 'ok', detail };
}

export function warning(detail: string, advice: string): Outcome {
  return { state: 'warning', detail, advice };
}

export function failed(detail: string, advice: string): Outcome {
  return { state: 'failed', detail, advice };
}

export function skipped(detail: string, advice?: string): Outcome {
  return { state: 'skipped', detail, ...(advice !== undefined && { advice }) };
}

/** Words of the other side, safe on a terminal. */
export function printable(text: string): string {
  return text.replaceAll(/[^\x20-\x7e]+/g, ' ').slice(0, 100);
}
