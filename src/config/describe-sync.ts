import { formatDuration } from './duration.ts';
import { formatRate } from './rate.ts';
import type { SyncConfig, SyncRule, TagSelection } from './sync-config.ts';

/**
 * What is in force, in the words of the file; the rules of all files, each with its defaults and with
 * where it is from.
 */
export function describeSync(sync: SyncConfig) {
  const { schedule, timezone, windows, bytesPerSecond, jitterMs, concurrency } = sync;
  return {
    schedule,
    timezone: timezone ?? "the machine's",
    windows: windows.map(({ opens, forMs }) => ({ opens, for: formatDuration(forMs) })),
    bandwidth: bytesPerSecond === undefined ? 'unlimited' : formatRate(bytesPerSecond),
    jitter: formatDuration(jitterMs),
    concurrency,
    releaseShare: `${Number((sync.releaseShare * 100).toFixed(6))}%`,
    rules: sync.rules.map(describeRule),
  };
}

function describeRule({ path, freshMs, ...rule }: SyncRule) {
  const { image, tags, digests, platforms, referrers, priority, removed } = rule;
  return {
    from: path,
    image,
    tags: describeTags(tags),
    digests: [...digests],
    platforms: platforms === 'all' ? platforms : [...platforms],
    referrers,
    priority,
    fresh: formatDuration(freshMs),
    removed,
  };
}

function describeTags({ names, globs, regexes, semver, newest, exclude }: TagSelection) {
  return {
    ...(names.length > 0 && { names: [...names] }),
    ...(globs.length > 0 && { globs: [...globs] }),
    ...(regexes.length > 0 && { regex: [...regexes] }),
    ...(semver !== undefined && { semver }),
    ...(newest && { newest: { ...newest } }),
    ...(exclude.length > 0 && { exclude: [...exclude] }),
  };
}
