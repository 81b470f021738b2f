import type { ExecutionContext } from 'ava';
import { Mirror } from './mirror.ts';
import { Netns } from './netns.ts';
import { Origin } from './origin.ts';
import { publishImage } from './published-image.ts';
import type { PublishedImage } from './published-image.ts';

const ORIGIN_PORT = 5000;
const OTHER_ORIGIN_PORT = 5010;
export const OTHER_REGISTRY = 'registry.test:5000';

export interface UpstreamSettings {
  readonly hydrate?: boolean;
  readonly tags?: object;
}

export interface World {
  readonly netns: Netns;
  readonly origin: Origin;
  readonly image: PublishedImage;
  readonly mirror: Mirror;
  /** The configuration of the mirror, for its next start. */
  readonly settings: object;
}

/**
 * A namespace with only loopback and in it a registry that clients know as docker.io, holding
 * `library/app:1`, and the mirror before it. Gone after the test, whatever happens.
 */
export async function startWorld(
  t: ExecutionContext,
  upstream: UpstreamSettings = {},
  format: 'oci' | 'v2s2' = 'oci',
): Promise<World> {
  const netns = await startNetns(t);
  const origin = await Origin.start(netns, 'origin', ORIGIN_PORT);
  const repository = 'library/app';
  const image = await publishImage({ netns, origin, registry: 'docker.io', repository, format });
  const defaults = { url: origin.url, hydrate: false, tags: { ttl: '0s' } };
  const settings = { upstreams: { 'docker.io': { ...defaults, ...upstream } } };
  const mirror = await startMirror(t, netns, settings);
  return { netns, origin, image, mirror, settings };
}

export async function startNetns(t: ExecutionContext): Promise<Netns> {
  t.timeout(120_000);
  const netns = await Netns.create();
  t.teardown(async () => netns.close());
  return netns;
}

export async function startMirror(
  t: ExecutionContext,
  netns: Netns,
  settings: object,
): Promise<Mirror> {
  const mirror = await Mirror.start(netns, settings);
  t.teardown(async () => {
    if (!t.passed) t.log(await mirror.log());
  });
  return mirror;
}
