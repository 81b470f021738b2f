import type { SyncReport } from './sync-api.ts';

/** The document of `/api/v1/status`. Times are milliseconds since 1970, sizes bytes. */
export interface ServerStatus {
  readonly version: string;
  readonly uptimeSeconds: number;
  readonly offline: boolean;
  readonly store: {
    readonly path: string;
    /** Absent where the disk did not take one. */
    readonly id?: string | undefined;
    readonly maxBytes: number;
    readonly blobs: number;
    readonly bytes: number;
  };
  /** Those that run. */
  readonly downloads: number;
  readonly cache: CacheStatus;
  /** Absent where nothing is to be synced. */
  readonly sync?: { readonly isRunning: boolean; readonly last?: SyncRunStatus };
  /** In the order of the configuration. */
  readonly upstreams: readonly UpstreamStatus[];
}

/** Requests for content since the start, without those for what was known to be absent. */
export interface CacheStatus {
  readonly requests: number;
  /** Answered by what was held, or by a transfer that ran already. */
  readonly hits: number;
  /** From 0 to 1; absent before the first request. */
  readonly hitRatio?: number;
}

/** How the last run of sync ended, also one of an earlier process. */
export type SyncRunStatus = Pick<
  SyncReport,
  'startedAt' | 'endedAt' | 'isOk' | 'images' | 'bytes' | 'aborted'
>;

/** What a reload of the configuration changed, by the keys of the file. */
export interface ReloadReport {
  /** In force from now on. */
  readonly changed: readonly string[];
  /** In force from the next start on. */
  readonly restart: readonly string[];
  readonly warnings: readonly string[];
}

export interface UpstreamStatus {
  readonly name: string;
  /**
   * `unknown`: it has not answered anything yet, nor was it found to be down; `suspect`: an answer did not come in time, and it is being asked whether it is there at all; or a
   * token service of it is down.
   */
  readonly state: 'unknown' | 'up' | 'suspect' | 'down' | 'offline';
  /** Since when it is suspect or down, and why. */
  readonly since?: number;
  readonly reason?: string;
  /** The credentials that it is asked with, and what it allows each. */
  readonly accounts: readonly AccountStatus[];
}

export interface AccountStatus extends QuotaStatus {
  readonly account: string;
  /** The login was refused with the last request that used it; absent while it was not. */
  readonly refused?: { readonly since: number; readonly reason: string };
}

/** What an upstream allows one credential, as far as it tells. */
export interface QuotaStatus {
  readonly limit?: number;
  readonly remaining?: number;
  readonly windowSeconds?: number;
  /** At the rate of the last hour; absent when nothing was used or nothing is known. */
  readonly emptyInSeconds?: number;
  /** How long it is not asked because it said 429. */
  readonly blockedForSeconds?: number;
}

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
