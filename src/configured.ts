import { isDeepStrictEqual } from 'node:util';
import packageJson from '../package.json' with { type: 'json' };
import { canonicalImage } from './admin/store-admin.ts';
import type { Pin } from './api/store-api.ts';
import type { Config, UpstreamConfig } from './config/config.ts';
import { Addressing } from './mirror/addressing.ts';
import type { ConfiguredUpstream } from './mirror/mirror.ts';
import { RegistryError } from './oci/errors.ts';
import { HttpUpstream } from './upstream/http-upstream.ts';
import { createOfflineUpstream } from './upstream/upstream.ts';

/** What follows from a configuration alone. A reload makes another one, and all of it counts at once. */
export interface Configured {
  readonly config: Config;
  readonly addressing: Addressing;
  /** By their names. */
  readonly upstreams: ReadonlyMap<string, ConfiguredUpstream & { readonly config: UpstreamConfig }>;
  readonly pins: readonly Pin[];
}

export type ConfiguredParts = Omit<
  ConstructorParameters<typeof HttpUpstream>[0],
  'config' | 'userAgent'
> & { readonly now: () => number };

/** `before`: upstreams of it that are configured as they were stay, with all that they know. */
export function createConfigured(
  config: Config,
  parts: ConfiguredParts,
  before?: Configured,
): Configured {
  const addressing = new Addressing(config);
  return {
    config,
    addressing,
    upstreams: createUpstreams(config, parts, before),
    pins: configuredPins(config, addressing, parts),
  };
}

function createUpstreams(
  { upstreams, offline }: Config,
  parts: ConfiguredParts,
  before?: Configured,
): Configured['upstreams'] {
  const userAgent = `entrepot/${packageJson.version}`;
  return new Map(
    Object.values(upstreams).map((written) => {
      const { name } = written;
      const config: UpstreamConfig = offline ? { ...written, hydrate: 'off' } : written;
      const known = before?.config.offline === offline ? before.upstreams.get(name) : undefined;
      if (known && isDeepStrictEqual(known.config, config)) return [name, known];
      const upstream = offline
        ? createOfflineUpstream(name)
        : new HttpUpstream({ ...parts, config, userAgent });
      return [name, { config, upstream }];
    }),
  );
}

/** A pin of an upstream that is not configured is left out and logged. */
function configuredPins(
  { store }: Config,
  addressing: Addressing,
  { log, now }: ConfiguredParts,
): Pin[] {
  return store.pins.flatMap((text) => {
    try {
      const image = canonicalImage(addressing, text);
      return [{ origin: 'config', image, since: now() }];
    } catch (error) {
      if (!(error instanceof RegistryError)) throw error;
      log.warn({ pin: text, reason: error.message }, 'not pinned');
      return [];
    }
  });
}
