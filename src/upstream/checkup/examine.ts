import PQueue from 'p-queue';
import packageJson from '../../../package.json' with { type: 'json' };
import type { Finding, UpstreamReport } from '../../api/status-api.ts';
import type { Config } from '../../config/config.ts';
import { Authorities } from '../../net/authorities.ts';
import { DEFAULT_TIMING, type Timing } from '../../net/timing.ts';
import { Via } from '../../net/via.ts';
import { createLog } from '../../observe/log.ts';
import { Metrics } from '../../observe/metrics.ts';
import { SYSTEM_CLOCK, type Clock } from '../../time/clock.ts';
import { Checkup, type CheckupParts } from './checkup.ts';
import { skipped } from './finding.ts';
import type { WantedImage } from './image-check.ts';
import { TEXTS } from '../texts.ts';

export interface CheckupOptions {
  readonly timing?: Timing;
  readonly clock?: Clock;
  /** Counts the most that one upstream may take. */
  readonly startTimer?: CheckupParts['startTimer'];
}

const BUDGET_MS = 15_000;
const AT_A_TIME = 4;

const OFFLINE: Finding = { check: 'offline', ...skipped(TEXTS.checkOffline) };

/**
 * Examines the upstreams, several at a time, and yields what it finds in the order of the
 * configuration. The images are those to ask for, by upstream.
 */
export async function* examineUpstreams(
  config: Pick<Config, 'upstreams' | 'offline'>,
  images: ReadonlyMap<string, readonly WantedImage[]>,
  options: CheckupOptions = {},
): AsyncGenerator<UpstreamReport> {
  const parts = {
    timing: DEFAULT_TIMING,
    clock: SYSTEM_CLOCK,
    startTimer: startRealTimer,
    ...options,
    budgetMs: BUDGET_MS,
    metrics: new Metrics(),
    log: createLog({ level: 'silent' }),
    userAgent: `entrepot/${packageJson.version}`,
    via: new Via(),
    authorities: new Authorities({ failed: () => {}, renewed: () => {} }),
  };
  const queue = new PQueue({ concurrency: AT_A_TIME });
  const reports = Object.values(config.upstreams).map((upstream) => ({
    name: upstream.name,
    url: upstream.url,
    checks: queue.add(async () => {
      if (config.offline) return [OFFLINE];
      const wanted = images.get(upstream.name) ?? [];
      return new Checkup({ ...parts, config: upstream, images: wanted }).run();
    }),
  }));
  for (const { checks, ...report } of reports) yield { ...report, checks: await checks };
}

function startRealTimer(expire: () => void, ms: number): () => void {
  const timer = setTimeout(expire, ms);
  return () => clearTimeout(timer);
}
