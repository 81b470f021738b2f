/** The `sync` key with its files: what a site must hold and when it is fetched. */
export interface SyncConfig {
  readonly rules: readonly SyncRule[];
  /** Most bytes a second of all that sync fetches together. */
  readonly bytesPerSecond?: number;
  /** Runs begin at these times; cron with five fields, or six with seconds first. */
  readonly schedule: string;
  /** IANA name for `schedule` and `windows`; the machine's where it is left out. */
  readonly timezone?: string;
  /** Bytes are fetched only while one is open; without windows at any time. */
  readonly windows: readonly SyncWindow[];
  /** A run begins up to this much later, milliseconds. */
  readonly jitterMs: number;
  /** Images at a time. */
  readonly concurrency: number;
  /** Most of what was held that one run may release, 0 to 1. */
  readonly releaseShare: number;
}

export interface SyncWindow {
  /** When it opens; cron. */
  readonly opens: string;
  readonly forMs: number;
}

export interface SyncRule {
  /** Where it stands, for messages: `sync.rules[2]`, or `team-a.yaml: rules[0]`. */
  readonly path: string;
  /** `registry/repository`, or a glob of it below one registry. */
  readonly image: string;
  readonly tags: TagSelection;
  /** Digests that are wanted besides tags. */
  readonly digests: readonly string[];
  /** `os/architecture[/variant]`; `all` for every one. */
  readonly platforms: readonly string[] | 'all';
  /** Signatures, SBOMs and attestations. */
  readonly referrers: boolean;
  /** Higher ones are fetched first. */
  readonly priority: number;
  /** How old the copy may get before it counts as stale, milliseconds. */
  readonly freshMs: number;
  /** What happens to an image that the upstream deleted. */
  readonly removed: 'keep' | 'release';
}

/**
 * A tag is selected when it is named; or when it matches a glob or regex (any tag does where
 * neither is given, unless there are only names), is not excluded, lies in the semver range, and is
 * among the newest of all that do. The version of a tag is the group `version` of the first regex
 * that caught one, else the whole tag. No name is excluded: that is refused.
 */
export interface TagSelection {
  readonly names: readonly string[];
  readonly globs: readonly string[];
  readonly regexes: readonly string[];
  readonly exclude: readonly string[];
  readonly semver?: string;
  readonly newest?: { readonly count: number; readonly by: 'semver' | 'created' };
}
