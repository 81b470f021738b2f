import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { OTHER_REGISTRY, publishedImages } from './images.ts';
import type { Images } from './images.ts';
import { Mirror } from './mirror.ts';
import { Netns } from './netns.ts';
import { Origin } from './origin.ts';

interface UpstreamSettings {
  readonly tags?: object;
}

export interface World {
  readonly netns: Netns;
  readonly images: Images;
  /** What clients know as docker.io. */
  readonly origin: Origin;
  /** What clients know as OTHER_REGISTRY. */
  readonly otherOrigin: Origin;
  readonly mirror: Mirror;
  /** The configuration of the mirror, for its next start. */
  readonly settings: { readonly upstreams: Readonly<Record<string, object>> };
}

/**
 * A machine that reaches nothing but itself, and on it two registries and the mirror before them.
 * Every tag is revalidated on every request unless `upstream` says otherwise. Gone after the test.
 */
export async function startWorld(
  t: ExecutionContext,
  upstream: UpstreamSettings = {},
): Promise<World> {
  t.timeout(120_000);
  const published = await publishedImages();
  const netns = await Netns.create();
  t.teardown(async () => netns.close());
  // What a test pushes is its own.
  const data = join(netns.directory, 'registry');
  const otherData = join(netns.directory, 'other-registry');
  await cp(published.data, data, { recursive: true });
  await cp(published.otherData, otherData, { recursive: true });
  const images = { ...published, data, otherData };
  const [origin, otherOrigin] = await Promise.all([
    Origin.start(netns, { name: 'origin', port: 5000, data }),
    Origin.start(netns, { name: 'other-origin', port: 5010, data: otherData }),
  ]);
  const common = { hydrate: false, tags: { ttl: '0s' }, ...upstream };
  const settings = {
    upstreams: {
      'docker.io': { url: origin.url, ...common },
      [OTHER_REGISTRY]: { url: otherOrigin.url, ...common },
    },
  };
  const mirror = await Mirror.start(netns, settings);
  t.teardown(async () => {
    if (!t.passed) t.log(await mirror.log());
  });
  return { netns, images, origin, otherOrigin, mirror, settings };
}
