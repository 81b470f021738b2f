import type { Pin } from './api/store-api.ts';
import { DEFAULT_TAG } from './oci/image-name.ts';
import { join } from 'node:path';
import type Koa from 'koa';
import { REAL_TIMER } from '../sync/schedule.ts';
import { SyncState } from '../sync/state.ts';
import { NOTHING_TO_SYNC, Sync } from '../sync/sync.ts';
import packageJson from '../package.json' with { type: 'json' };
import type { ServerStatus } from './api/status-api.ts';
import type { Config } from './config/config.ts';
import { canonicalImage, StoreAdmin } from './admin/store-admin.ts';
import { Addressing } from './mirror/addressing.ts';
import { createAdminApp } from './admin/admin-app.ts';
import { createApp } from './http/app.ts';
import { Mirror } from './mirror/mirror.ts';
import type { Log } from './observe/log.ts';
import { Metrics } from './observe/metrics.ts';
import { RegistryError } from './oci/errors.ts';
import { Via } from './net/via.ts';
import { InUseFile } from './store/care/in-use-file.ts';
import { Scrubber } from './store/care/scrubber.ts';
import type { Step } from './store/step.ts';
import { Store } from './store/store.ts';
import { HttpUpstream } from './upstream/http-upstream.ts';
import { OfflineUpstream } from './upstream/offline-upstream.ts';
import { DEFAULT_TIMING, type Timing } from './net/timing.ts';
import { SYSTEM_CLOCK, type Clock } from './time/clock.ts';
import type { Upstream } from './upstream/upstream.ts';

export interface EngineOptions {
  readonly log: Log;
  readonly timing?: Timing;
  readonly clock?: Clock;
  readonly step?: Step;
}

/** All but the listeners: the store, the upstreams, the mirror, and the work beside the pulls. */
export class Engine {
  readonly metrics: Metrics;
  readonly store: Store;
  readonly mirror: Mirror;
  readonly storeAdmin: StoreAdmin;
  readonly #config: Config;
  readonly #log: Log;
  readonly #addressing: Addressing;
  readonly #via: Via;
  readonly #scrubber: Scrubber;
  readonly #sync: Sync;
  readonly #inUse: InUseFile | undefined;

  /** Opens the store, without a single request to the network. */
  static async start(config: Config, options: EngineOptions): Promise<Engine> {
    const { log, clock = SYSTEM_CLOCK, step } = options;
    const now = (): number => clock.wall();
    const metrics = new Metrics();
    metrics.storeLimitBytes.set(config.store.maxBytes);
    const addressing = new Addressing(config);
    const pins = configuredPins(config, { addressing, log, now });
    const parts = { config: config.store, pins, metrics, log, now, ...(step && { step }) };
    await using undo = new AsyncDisposableStack();
    const store = undo.adopt(await Store.open(parts), async (opened) => opened.close());
    const syncState = await SyncState.open(join(store.path, 'sync.json'));
    const engine = new Engine(config, store, { ...options, metrics, addressing, syncState });
    // Of a file that the configuration names no more.
    if (!engine.#inUse) await engine.storeAdmin.setInUse('file', []);
    await engine.#inUse?.watch();
    undo.move();
    return engine;
  }

  constructor(
    config: Config,
    store: Store,
    options: EngineOptions & { metrics: Metrics; addressing: Addressing; syncState: SyncState },
  ) {
    const { log, metrics, addressing, timing = DEFAULT_TIMING, clock = SYSTEM_CLOCK } = options;
    const now = (): number => clock.wall();
    const via = new Via();
    const upstreams = createUpstreams(config, { timing, metrics, log, via, clock });
    this.#config = config;
    this.#log = log;
    this.#addressing = addressing;
    this.#via = via;
    this.metrics = metrics;
    this.store = store;
    this.mirror = new Mirror({
      ...store.parts,
      config,
      upstreams,
      timing,
      metrics,
      log,
      clock,
      now,
    });
    this.#scrubber = new Scrubber({
      ...store.parts,
      heal: async (digest) => this.mirror.heal(digest),
      found: () => metrics.integrityFailures.inc({ upstream: '', where: 'scrub' }),
      log,
      now,
    });
    this.storeAdmin = new StoreAdmin({
      store,
      scrubber: this.#scrubber,
      addressing,
      limits: config.store,
      now,
    });
    this.#sync = new Sync({
      ...store.parts,
      config: config.sync ?? NOTHING_TO_SYNC,
      state: options.syncState,
      pins: store.pins,
      supply: this.mirror.supply,
      canonical: (image) => canonicalImage(addressing, image, DEFAULT_TAG),
      metrics,
      log,
      timer: { ...REAL_TIMER, ...clock },
      isOffline: config.offline,
    });
    const { inUse: path } = config.store;
    if (path === undefined) return;
    const changed = async (images: readonly string[]): Promise<void> => {
      await this.storeAdmin.setInUse('file', images);
    };
    this.#inUse = new InUseFile({ path, changed, log });
  }

  /** Begins what goes on beside the pulls. */
  work(): void {
    this.store.settle();
    this.#scrubber.start();
    if (this.#config.sync && !this.#config.offline) this.#sync.start();
    void this.store.settled
      .then(async () => this.mirror.resumeHydration())
      .catch((err: unknown) => this.#log.error({ err }, 'what is incomplete was not looked for'));
  }

  createApp(): Koa {
    const { mirror, metrics } = this;
    return createApp({
      mirror,
      metrics,
      addressing: this.#addressing,
      via: this.#via,
      log: this.#log,
    });
  }

  createAdminApp(unreadyReason: () => string | undefined): Koa {
    const { metrics, mirror, store } = this;
    return createAdminApp({
      metrics,
      usage: () => ({ ...store.catalog.usage, reserved: store.collector.reservedBytes }),
      unreadyReason,
      status: () => describeStatus({ config: this.#config, store, mirror }),
      store: this.storeAdmin,
      sync: this.#sync,
      host: this.#config.admin.host,
      log: this.#log,
    });
  }

  async close(): Promise<void> {
    // All is stopped before anything is waited for.
    const scrubbed = this.#scrubber.close();
    this.#sync.stop();
    const mirrored = this.mirror.close();
    await this.#inUse?.close();
    await mirrored;
    await scrubbed;
    await this.#sync.closed();
    await this.store.close();
  }
}

function describeStatus(parts: { config: Config; store: Store; mirror: Mirror }): ServerStatus {
  const { config, store, mirror } = parts;
  const { path, maxBytes } = config.store;
  return {
    version: packageJson.version,
    offline: config.offline,
    store: { path, maxBytes, ...store.catalog.usage },
    downloads: mirror.activity.downloads,
    upstreams: mirror.upstreams,
  };
}

/** One that names no configured upstream is left out, and said. */
function configuredPins(
  config: Config,
  parts: { addressing: Addressing; log: Log; now: () => number },
): Pin[] {
  return config.store.pins.flatMap((text) => {
    try {
      const image = canonicalImage(parts.addressing, text);
      return [{ origin: 'config', image, since: parts.now() }];
    } catch (error) {
      if (!(error instanceof RegistryError)) throw error;
      parts.log.warn({ pin: text, reason: error.message, detail: error.detail }, 'not pinned');
      return [];
    }
  });
}

function createUpstreams(
  config: Config,
  parts: { timing: Timing; metrics: Metrics; log: Log; via: Via; clock: Clock },
): Map<string, Upstream> {
  const userAgent = `entrepot/${packageJson.version}`;
  return new Map(
    Object.values(config.upstreams).map((upstream) => [
      upstream.name,
      config.offline
        ? new OfflineUpstream(upstream.name)
        : new HttpUpstream({ ...parts, config: upstream, userAgent }),
    ]),
  );
}
