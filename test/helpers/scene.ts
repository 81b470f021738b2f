/**
 * The usual scene: one upstream registry with one image, a mirror in front of it, and a clock.
 *
 *   const { registry, mirror, image, clock, manifest, blob } = await startScene(t, { tags: { ttlMs: MINUTE } });
 *   const answer = await manifest('latest');
 *   t.deepEqual(told(answer), { status: 200, cache: 'entrepot; fwd=miss; stored', age: '0' });
 *   t.deepEqual(refusalOf(answer), { status: 502, code: 'UNAVAILABLE', message: '…', detail: … });
 *
 * The image is `library/app:latest`, named `app` in conversations, with two layers.
 */
import type { ExecutionContext } from 'ava';
import type { TagsConfig } from '../../src/config/config.ts';
import { get, type ClientAnswer, type GetOptions } from './client.ts';
import { Clock } from './clock.ts';
import { FakeRegistry, type FakeRegistryOptions } from './fake-registry.ts';
import { buildImage, type Image, type Stored } from './image.ts';
import {
  startMirror,
  type MirrorOptions,
  type TestMirror,
  type UpstreamOptions,
} from './mirror.ts';
import { until } from './until.ts';

/** The name of the scene's upstream. */
export const UPSTREAM = 'hub.example';
export const REPOSITORY = 'library/app';

export interface SceneOptions extends Omit<MirrorOptions, 'upstreams' | 'clock'> {
  readonly registry?: FakeRegistryOptions;
  readonly upstream?: Omit<Partial<UpstreamOptions>, 'tags'>;
  readonly tags?: Partial<TagsConfig>;
  /** One that also other parts of the test go by. */
  readonly clock?: Clock;
}

export type Ask = (path: string, options?: GetOptions) => Promise<ClientAnswer>;

export interface Scene {
  readonly registry: FakeRegistry;
  readonly mirror: TestMirror;
  readonly image: Image;
  readonly clock: Clock;
  /** Asks the mirror for a manifest of the scene's repository by tag or digest. */
  readonly manifest: (reference: string, options?: GetOptions) => Promise<ClientAnswer>;
  /** Asks the mirror for a blob of the scene's repository. */
  readonly blob: (blob: Stored, options?: GetOptions) => Promise<ClientAnswer>;
  /** Asks for any path of the mirror, from `/v2/` on. */
  readonly ask: Ask;
}

export async function startScene(t: ExecutionContext, options: SceneOptions = {}): Promise<Scene> {
  const {
    registry: registryOptions,
    upstream,
    tags,
    timing,
    clock = new Clock(),
    ...rest
  } = options;
  const registry = await FakeRegistry.start(t, { now: clock.now, ...registryOptions });
  const image = buildImage({ seed: 'app', layers: [1000, 2000] });
  registry.addImage(REPOSITORY, 'latest', image, { name: 'app' });
  const mirror = await startMirror(t, {
    ...rest,
    clock,
    ...(timing && { timing }),
    upstreams: {
      [UPSTREAM]: {
        url: registry.url,
        ...upstream,
        ...(tags && { tags }),
      },
    },
  });
  const ask: Ask = async (path, request) => get(`${mirror.url}${path}`, request);
  return {
    registry,
    mirror,
    image,
    clock,
    ask,
    manifest: async (reference, request) =>
      ask(`/v2/${REPOSITORY}/manifests/${reference}`, request),
    blob: async ({ digest }, request) => ask(`/v2/${REPOSITORY}/blobs/${digest}`, request),
  };
}

/**
 * Resolves when the mirror has no open question and no running download. Clients have their last
 * byte a moment before the store has the blob.
 */
export async function idle({ server }: TestMirror): Promise<void> {
  await until('no question and no download', () => {
    const { downloads, questions } = server.activity();
    return downloads + questions === 0;
  });
}

/** What an answer tells of itself: its status and where it came from. */
export function told({ status, headers }: ClientAnswer): Record<string, unknown> {
  const { age, warning } = headers;
  return {
    status,
    cache: headers['cache-status'],
    ...(age !== undefined && { age }),
    ...(warning !== undefined && { warning }),
  };
}

/** An error answer in full: its status and the one error of its document, nothing left out. */
export function refusalOf({ status, headers, body }: ClientAnswer): Record<string, unknown> {
  const { errors = [], ...rest } = JSON.parse(body.toString()) as { errors?: object[] };
  const retryAfter = headers['retry-after'];
  return {
    status,
    ...(headers['content-type'] !== 'application/json' && { type: headers['content-type'] }),
    ...(retryAfter !== undefined && { retryAfter }),
    ...(errors.length !== 1 && { errors }),
    ...errors[0],
    ...rest,
  };
}

/** The refusal of a pull whose redirect was not followed. */
export function redirectRefusal(reason: string): Record<string, unknown> {
  return {
    status: 502,
    code: 'UNAVAILABLE',
    message: `${UPSTREAM}: ${reason}`,
    detail: { upstream: UPSTREAM, fault: 'bad-response', upstreamStatus: 307 },
  };
}

/** The `Warning` of a stale answer with this cause. */
export function staleWarning(cause: string): string {
  return `299 - "served from the mirror's copy: ${cause.replaceAll('"', String.raw`\"`)}"`;
}
