import type { RequestListener } from 'node:http';
import type { LookupFunction } from 'node:net';
import { isMainThread } from 'node:worker_threads';
import packageJson from '../package.json' with { type: 'json' };
import type { ReloadReport } from './api/status-api.ts';
import type { RebuildReport } from './api/store-api.ts';
import type { Config } from './config/config.ts';
import { adminSocketPath } from './config/listen.ts';
import type { LoadedConfig } from './config/load.ts';
import type { Gate } from './mirror/mirror.ts';
import { startEngine, type Engine } from './engine.ts';
import type { AnswerLimits } from './http/answer-places.ts';
import { Listener, type ListenPlace, type Pause, type WhenFull } from './http/listener.ts';
import { OwnSocket } from './http/own-socket.ts';
import type { Timing } from './net/timing.ts';
import { createLog, type Log } from './observe/log.ts';
import type { Metrics } from './observe/metrics.ts';
import type { Catalog } from './store/catalog/catalog.ts';
import type { BlobStore } from './store/files/blob-store.ts';
import { Reload } from './reload.ts';
import { NoStoreError, Store, type CrashPoint } from './store/store.ts';
import type { Clock } from './time/clock.ts';

export interface ServerOptions {
  readonly log?: Log;
  readonly timing?: Timing;
  readonly clock?: Clock;
  /** Of clients; without them, as many as the descriptors of the process allow. */
  readonly connections?: number;
  /** How long a client may take over the headers of a request. */
  readonly headersMs?: number;
  /** Of answers to clients under way. */
  readonly answers?: AnswerLimits;
  readonly lookup?: LookupFunction | undefined;
  readonly gate?: Gate | undefined;
  /** How the halves of the grace are waited for. */
  readonly pause?: Pause;
  readonly step?: CrashPoint;
  /** Reads the configuration again, for a reload. */
  readonly load?: () => LoadedConfig;
}

export interface RunningServer {
  readonly url: string;
  readonly adminUrl: string;
  /** Of `metrics.listen`. */
  readonly metricsUrl?: string;
  readonly metrics: Metrics;
  readonly store: Store;
  readonly catalog: Catalog;
  readonly blobs: BlobStore;
  /** What runs now; all zero when nothing is asked. */
  activity(): { downloads: number; questions: number; openFiles: number };
  /** Images that are due to be fetched or completed in the background. */
  hydrations(): number;
  /** Reads the configuration again. Throws a `RegistryError` when it stays as it was. */
  reload(): ReloadReport;
  /** Lets running answers finish within the configured grace; keeps partial downloads. */
  close(): Promise<void>;
}

/** Builds the parts by hand, without a single request to the network, and closes them in reverse. */
export async function startServer(
  config: Config,
  options: ServerOptions = {},
): Promise<RunningServer> {
  const { log = createLog() } = options;
  closeMask();
  await using undo = new AsyncDisposableStack();
  const engine = undo.adopt(await startEngine(config, { ...options, log }), async (started) =>
    started.close(),
  );
  let isClosing = false;
  const unreadyReason = (): string | undefined => (isClosing ? 'shutting down' : undefined);
  engine.metrics.addProcess({ version: packageJson.version, node: process.version });
  engine.metrics.measure(() => engine.metrics.ready.set(isClosing ? 0 : 1));
  const door = createDoor(engine);
  const { metrics, store, mirror } = engine;
  const configure = (next: Config): void => {
    door.configure(next);
    void socket.openFor(next);
  };
  const reload = new Reload({ load: options.load, config, log, metrics, configure });
  const adminApp = engine.createAdminApp({ unreadyReason, reload: () => reload.run() });
  const listen = async (...where: Parameters<typeof Listener.open>): Promise<Listener> =>
    undo.adopt(await Listener.open(...where), async (opened) => opened.close(0));
  const admin = await listen(placeOf(config, 'admin'), adminApp.callback(), log);
  const socket = undo.use(new OwnSocket(adminSocketPath(config), adminApp.callback(), log));
  await socket.openFor(config);
  const full: WhenFull = { ...options, refuse: door.refuse };
  const listener = await listen(placeOf(config, 'listen'), door.serve, log, full);
  const probes = engine.createProbeApp(unreadyReason).callback();
  const { listen: probedAt } = config.metrics ?? {};
  const probed = probedAt && (await listen(probedAt, probes, log));
  const listeners = [admin, listener, ...(probed ? [probed] : [])];
  for (const { address } of listeners) if (address) engine.ownListeners.add(address);
  await engine.store.sign(` (${process.pid}, its admin API is at ${admin.url})`);
  engine.work();
  const urls = {
    url: listener.url,
    adminUrl: admin.url,
    ...(probed && { metricsUrl: probed.url }),
  };
  log.info({ ...urls, store: config.store.path }, 'listening');
  const opened = undo.move();
  return {
    ...urls,
    metrics,
    store,
    catalog: store.catalog,
    blobs: store.blobs,
    hydrations: () => mirror.activity.hydrations,
    activity: () => activityOf(engine),
    reload: () => reload.run(),
    close: async () => {
      isClosing = true;
      engine.stop();
      await listener.close(config.graceMs, options.pause);
      await opened.disposeAsync();
    },
  };
}

function activityOf({ mirror, store }: Engine): ReturnType<RunningServer['activity']> {
  const { downloads, questions } = mirror.activity;
  return { downloads, questions, openFiles: store.blobs.openFiles.count };
}

/** Where clients come in, and by which authorities they are known. */
function placeOf(config: Config, door: 'listen' | 'admin'): ListenPlace {
  return { ...config[door], clientCa: config.access?.certificates?.ca };
}

/** What answers clients, and those for whom there is no place: by the configuration that is in force. */
function createDoor(engine: Engine) {
  const create = (): RequestListener[] =>
    [false, true].map((isFull) => engine.createListener({ isFull }));
  let [serve, refuse] = create();
  return {
    /** Throws when the engine does not take it, and then nothing has changed. */
    configure: (next: Config) => {
      engine.configure(next);
      [serve, refuse] = create();
    },
    serve: ((...exchange) => serve?.(...exchange)) satisfies RequestListener,
    refuse: ((...exchange) => refuse?.(...exchange)) satisfies RequestListener,
  };
}

/**
 * The admin application of a store that no server has open, on a socket of its own. Where there is no
 * store, one is made at `newStorePath`; throws a `NoStoreError` without one.
 */
export async function startPrivateAdmin(
  config: Config,
  socketPath: string,
  { newStorePath, ...options }: ServerOptions & { newStorePath?: string } = {},
): Promise<PrivateAdmin> {
  const { log = createLog() } = options;
  closeMask();
  const isThere = await Store.isAt(config.store.path);
  const storePath = isThere ? config.store.path : newStorePath;
  if (storePath === undefined) throw new NoStoreError(config.store.path);
  await using undo = new AsyncDisposableStack();
  const store = { ...config.store, path: storePath };
  const engine = undo.adopt(
    await startEngine({ ...config, store }, { ...options, log }),
    async (started) => started.close(),
  );
  const app = engine.createAdminApp({
    unreadyReason: () => 'this process serves no pulls',
    reload: () => new Reload({ ...engine, config, log, load: undefined }).run(),
  });
  undo.adopt(await Listener.open({ path: socketPath }, app.callback(), log), async (opened) =>
    opened.close(0),
  );
  await engine.store.sign(` (${process.pid}, a command)`);
  const parts = undo.move();
  return { isNew: !isThere, close: async () => parts.disposeAsync() };
}

export interface PrivateAdmin {
  /** There was no store; this one was made. */
  readonly isNew: boolean;
  close(): Promise<void>;
}

/** Of the store of this configuration, also while another process has it. */
export async function readStoreId({ store }: Config): Promise<string | undefined> {
  return Store.idAt(store.path);
}

/** What this process makes is for its user alone, also what LevelDB makes. A thread cannot say so. */
function closeMask(): void {
  if (isMainThread) process.umask(0o077);
}

/** Makes the catalog of a store that nobody has open anew from its files. */
export async function rebuildCatalog(config: Config): Promise<RebuildReport> {
  closeMask();
  if (!(await Store.isAt(config.store.path))) throw new NoStoreError(config.store.path);
  return Store.rebuild(config.store);
}
