/** What `doctor` found of one upstream, in the order of the checks. */
export interface UpstreamReport {
  readonly name: string;
  readonly url: string;
  readonly checks: readonly Finding[];
}

/** What one check found. No text in it holds a secret or words of an upstream's page. */
export interface Finding {
  readonly check: CheckName;
  readonly state: 'ok' | 'warning' | 'failed' | 'skipped';
  readonly detail: string;
  /** What the operator can do about it. */
  readonly advice?: string;
}

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
