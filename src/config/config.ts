import type { resolveUpstream } from './upstream-schema.ts';
import type { ConfigDocument } from './schema.ts';
import type { Frozen } from './section.ts';
import type { SyncConfig } from './sync-schema.ts';

/**
 * The validated configuration: every unit resolved to a number, every secret read, every default
 * filled in, deep-frozen. `load.ts` is the only maker; parts receive their own slice. What a key
 * means stands in the schema.
 */
export interface Config extends Frozen<Omit<ConfigDocument, 'grace' | 'upstreams' | 'sync'>> {
  /** How long running answers may take after the signal to stop; the process ends soon after it. */
  readonly graceMs: number;
  /** By the registry's name as clients write it; `defaultUpstream` is always one of them. */
  readonly upstreams: Readonly<Record<string, UpstreamConfig>>;
  /** Absent: nothing is fetched ahead of demand. */
  readonly sync?: SyncConfig;
}

export type ListenConfig = Config['listen'];
export type StoreConfig = Config['store'];
export type UpstreamConfig = Frozen<ReturnType<typeof resolveUpstream>>;
/** Secrets of the file are read; what a provider issues is fetched later. */
export type CredentialsConfig = UpstreamConfig['credentials'][number];
export type TagsConfig = UpstreamConfig['tags'];
export type HydrateMode = UpstreamConfig['hydrate'];
export type RangesMode = UpstreamConfig['ranges'];
