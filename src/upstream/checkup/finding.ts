/** In the order in which they are made; each one needs those before it. */
export type CheckName =
  | 'name'
  | 'connection'
  | 'tls'
  | 'registry'
  | 'credential'
  | 'quota'
  | 'clock'
  | 'image'
  /** In place of all others when nothing may be dialled. */
  | 'offline';

/** What one check found. No text in it holds a secret or words of an upstream's page. */
export interface Finding {
  readonly check: CheckName;
  readonly state: 'ok' | 'warning' | 'failed' | 'skipped';
  readonly detail: string;
  /** What the operator can do about it. */
  readonly advice?: string;
}

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
