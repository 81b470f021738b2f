import { join } from 'node:path';
import packageJson from '../package.json' with { type: 'json' };
import type { Config } from './config/config.ts';
import { Addressing } from './http/addressing.ts';
import { createAdminApp } from './http/admin.ts';
import { createApp } from './http/app.ts';
import { Listener } from './http/listener.ts';
import { Mirror } from './mirror/mirror.ts';
import { createLog, type Log } from './observe/log.ts';
import { Metrics } from './observe/metrics.ts';
import { Via } from './oci/via.ts';
import { BlobStore } from './store/blob-store.ts';
import { Catalog } from './store/catalog.ts';
import { HttpUpstream } from './upstream/http-upstream.ts';
import { OfflineUpstream } from './upstream/offline-upstream.ts';
import { DEFAULT_TIMING, type Timing } from './upstream/timing.ts';
import type { Upstream } from './upstream/upstream.ts';

export interface ServerOptions {
  readonly log?: Log;
  readonly timing?: Timing;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
  /** How long `close` lets running answers finish. */
  readonly graceMs?: number;
}

export interface RunningServer {
  readonly url: string;
  readonly adminUrl: string;
  readonly metrics: Metrics;
  readonly catalog: Catalog;
  readonly blobs: BlobStore;
  /** What runs now; all zero when nothing is asked. */
  activity(): { downloads: number; questions: number; openFiles: number };
  /** Stops accepting, lets running answers finish, keeps partial downloads. */
  close(): Promise<void>;
}

const DEFAULT_GRACE_MS = 30_000;

/** Builds the parts by hand, without a single request to the network, and closes them in reverse. */
export async function startServer(
  config: Config,
  options: ServerOptions = {},
): Promise<RunningServer> {
  const { log = createLog(), timing = DEFAULT_TIMING, now = Date.now } = options;
  const metrics = new Metrics();
  metrics.storeLimitBytes.set(config.store.maxBytes);
  await using undo = new AsyncDisposableStack();
  const blobs = await BlobStore.open(config.store);
  const catalog = undo.adopt(
    await Catalog.open(join(config.store.path, 'catalog'), config.store),
    async (opened) => opened.close(),
  );
  // Whoever has the catalog has the store.
  await blobs.sweep();
  const via = new Via();
  const upstreams = createUpstreams(config, { timing, metrics, log, via, now });
  const mirror = undo.adopt(
    new Mirror({ config, upstreams, blobs, catalog, timing, metrics, log, now }),
    async (built) => built.close(),
  );
  const addressing = new Addressing(config);
  let isClosing = false;
  const graceMs = options.graceMs ?? DEFAULT_GRACE_MS;
  const admin = undo.adopt(
    await Listener.open(
      config.admin,
      createAdminApp({
        metrics,
        usage: () => catalog.usage,
        unreadyReason: () => (isClosing ? 'shutting down' : undefined),
        status: () => describeStatus({ config, catalog, mirror }),
      }).callback(),
      log,
    ),
    async (opened) => opened.close(0),
  );
  const app = createApp({ mirror, addressing, via, metrics, log });
  const listener = undo.adopt(
    await Listener.open(config.listen, app.callback(), log),
    async (opened) => opened.close(graceMs),
  );
  log.info({ url: listener.url, adminUrl: admin.url, store: config.store.path }, 'listening');
  const parts = undo.move();
  return {
    url: listener.url,
    adminUrl: admin.url,
    metrics,
    catalog,
    blobs,
    activity: () => ({
      downloads: mirror.downloads.size,
      questions: mirror.openQuestions,
      openFiles: blobs.openFiles.count,
    }),
    close: async () => {
      isClosing = true;
      await parts.disposeAsync();
    },
  };
}

/** The document of the admin API's `/api/v1/status`. */
function describeStatus(parts: { config: Config; catalog: Catalog; mirror: Mirror }): object {
  const { config, catalog, mirror } = parts;
  return {
    version: packageJson.version,
    offline: config.offline,
    store: { path: config.store.path, maxBytes: config.store.maxBytes, ...catalog.usage },
    downloads: mirror.downloads.size,
    upstreams: mirror.upstreams,
  };
}

function createUpstreams(
  config: Config,
  parts: { timing: Timing; metrics: Metrics; log: Log; via: Via; now: () => number },
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
