import packageJson from '../package.json' with { type: 'json' };
import type { Config, UpstreamConfig } from './config/config.ts';
import { DOCKER_HUB } from './config/registries.ts';
import { Addressing } from './mirror/addressing.ts';
import { createLog } from './observe/log.ts';
import { Metrics } from './observe/metrics.ts';
import { RegistryError } from './oci/errors.ts';
import { DEFAULT_TAG } from './oci/image-name.ts';
import { SYSTEM_CLOCK, type Clock } from './time/clock.ts';
import { Via } from './net/via.ts';
import { Checkup, type CheckupParts } from './upstream/checkup/checkup.ts';
import type { Finding, UpstreamReport } from './api/doctor-api.ts';
import { skipped } from './upstream/checkup/finding.ts';
import type { WantedImage } from './upstream/checkup/image-check.ts';
import { DEFAULT_TIMING, type Timing } from './net/timing.ts';

export interface CheckupOptions {
  readonly timing?: Timing;
  readonly clock?: Clock;
  /** Counts the most that one upstream may take. */
  readonly startTimer?: CheckupParts['startTimer'];
}

const BUDGET_MS = 15_000;
const AT_A_TIME = 4;
/** Pulled by everybody, so that it may be asked for when no image is named. */
const HUB_IMAGE = 'docker.io/library/alpine:latest';

/**
 * Examines the upstreams, several at a time, and yields what it finds in the order of the
 * configuration. Throws `RegistryError` before anything is dialled when an image means no upstream.
 */
export async function* examineUpstreams(
  config: Config,
  images: readonly string[],
  options: CheckupOptions = {},
): AsyncGenerator<UpstreamReport> {
  const wanted = resolveImages(config, images);
  const subjects = Object.values(config.upstreams).map((upstream) => ({
    upstream,
    found: Promise.withResolvers<readonly Finding[]>(),
  }));
  const queue = subjects.values();
  const work = async (): Promise<void> => {
    for (const { upstream, found } of queue) {
      const examined = config.offline
        ? Promise.resolve([OFFLINE])
        : examine(upstream, wanted.get(upstream.name) ?? [], options);
      await examined.then(found.resolve, found.reject);
    }
  };
  const workers = Array.from({ length: AT_A_TIME }, work);
  for (const { upstream, found } of subjects) {
    yield { name: upstream.name, url: upstream.url, checks: await found.promise };
  }
  await Promise.all(workers);
}

const OFFLINE: Finding = {
  check: 'offline',
  ...skipped('the configuration says offline: nothing is dialled'),
};

const startRealTimer: CheckupParts['startTimer'] = (expire, ms) => {
  const timer = setTimeout(expire, ms);
  return () => clearTimeout(timer);
};

async function examine(
  config: UpstreamConfig,
  images: readonly WantedImage[],
  { timing = DEFAULT_TIMING, clock = SYSTEM_CLOCK, startTimer = startRealTimer }: CheckupOptions,
): Promise<readonly Finding[]> {
  return new Checkup({
    config,
    images,
    timing,
    clock,
    budgetMs: BUDGET_MS,
    startTimer,
    metrics: new Metrics(),
    log: createLog({ level: 'silent' }),
    userAgent: `entrepot/${packageJson.version}`,
    via: new Via(),
  }).run();
}

/** By upstream, as the mirror would look them up. */
function resolveImages(config: Config, images: readonly string[]): Map<string, WantedImage[]> {
  const addressing = new Addressing(config);
  const wanted = new Map<string, WantedImage[]>();
  for (const image of images) {
    const { upstream, ...rest } = resolveImage(addressing, image);
    wanted.set(upstream, [...(wanted.get(upstream) ?? []), rest]);
  }
  if (config.upstreams[DOCKER_HUB] && !wanted.has(DOCKER_HUB)) {
    wanted.set(DOCKER_HUB, defaultImages(addressing));
  }
  return wanted;
}

function defaultImages(addressing: Addressing): WantedImage[] {
  try {
    const { repository, reference } = resolveImage(addressing, HUB_IMAGE);
    return [{ repository, reference }];
  } catch (error) {
    // The site does not allow it.
    if (error instanceof RegistryError) return [];
    throw error;
  }
}

/** No tag is `latest`. */
function resolveImage(
  addressing: Addressing,
  image: string,
): WantedImage & { readonly upstream: string } {
  const { target, tag = DEFAULT_TAG, digest } = addressing.resolveImage(image);
  return { ...target, reference: digest ?? tag };
}
