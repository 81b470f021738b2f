import type { SyncProgress } from './sync-api.ts';

/**
 * What the admin API needs of whoever fetches whole images ahead of their clients. Times are
 * milliseconds since 1970, sizes bytes; images are written with their registry.
 */
export interface WarmApi {
  /**
   * Begins to fetch the images, which goes on whether or not anybody looks. Throws `RegistryError` with
   * status 400 or 404 for what names no image of this mirror, with 409 at a mirror that is set offline,
   * with 429 while as many warms as may be run.
   */
  begin(wish: WarmWish): WarmState;
  /** `undefined` for what never was or was too long ago. */
  state(id: string): WarmState | undefined;
}

export interface WarmWish {
  readonly images: readonly string[];
  /** `os/architecture[/variant]`; of images that have platforms. */
  readonly platforms: readonly string[] | 'all';
  readonly deadlineMs: number;
}

export interface WarmState {
  readonly id: string;
  readonly running?: WarmProgress;
  readonly last?: WarmReport;
}

/** Bytes are those of the images that were looked at so far. */
export interface WarmProgress extends Omit<SyncProgress, 'phase' | 'only' | 'until'> {
  readonly deadlineAt: number;
}

export interface WarmReport {
  readonly startedAt: number;
  readonly endedAt: number;
  /** All of them are ready. */
  readonly isOk: boolean;
  /** In the order in which they were asked for, each once. */
  readonly images: readonly WarmedImage[];
}

export interface WarmedImage {
  /** `name:tag` or `name@digest`. */
  readonly image: string;
  /** Absent where its tag could not be resolved. */
  readonly digest?: string;
  /** `late`: not all of it is here by the deadline. What is on its way still comes. */
  readonly state: 'ready' | 'failed' | 'late';
  /** Held of it. */
  readonly bytes: number;
  /** Not held of it, as far as its manifests are known. */
  readonly missingBytes: number;
  /** Why it is not ready. */
  readonly reason?: string;
}
