import type { LookupFunction } from 'node:net';
import packageJson from '../package.json' with { type: 'json' };
import { createAdminApp, createProbeApp, type AdminParts } from './admin/admin-app.ts';
import { watchInUse } from './admin/in-use-watch.ts';
import { StoreAdmin } from './admin/store-admin.ts';
import type { ServerStatus, SyncRunStatus } from './api/status-api.ts';
import type { SyncReport } from './api/sync-api.ts';
import { Admission } from './admission/admission.ts';
import { AdmissionReports } from './admission/admission-reports.ts';
import { AccessStore, type AccessStoreParts } from './access/access-store.ts';
import type { AccessApi } from './api/access-api.ts';
import { openJobs } from './jobs.ts';
import type { Config } from './config/config.ts';
import { createConfigured, type Configured } from './configured.ts';
import { createListener } from './http/app.ts';
import type { ResolvedImage } from './mirror/addressing.ts';
import { Mirror, type Attachments, type Gate, type MirrorParts } from './mirror/mirror.ts';
import { Authorities } from './net/authorities.ts';
import { OwnListeners } from './net/address-class.ts';
import { DEFAULT_TIMING, type Timing } from './net/timing.ts';
import { Via } from './net/via.ts';
import { Audit } from './observe/audit.ts';
import type { Log } from './observe/log.ts';
import { Metrics } from './observe/metrics.ts';
import { Traces } from './observe/traces.ts';
import { Scrubber } from './store/care/care.ts';
import { noCrashPoint, Store, type CrashPoint } from './store/store.ts';
import { SYSTEM_CLOCK, type Clock } from './time/clock.ts';

const { version } = packageJson;

export interface EngineOptions {
  readonly log: Log;
  readonly timing?: Timing;
  readonly clock?: Clock;
  /** How names of other machines become addresses; the system's way unless given. */
  readonly lookup?: LookupFunction | undefined;
  /** What may leave; unless given, what the configuration admits. */
  readonly gate?: Gate | undefined;
  readonly step?: CrashPoint;
}

/** All but the listeners: the store, the upstreams, the mirror, and the work beside the pulls. */
export type Engine = Awaited<ReturnType<typeof startEngine>>;

/** Opens the store, without a single request to the network. */
export async function startEngine(config: Config, options: EngineOptions) {
  const parts = await openParts(config, options);
  const { metrics, store, mirror, scrubber, jobs, ownListeners, traces } = parts;
  measureAll(config, parts);
  const uptimeSeconds = countSeconds(options.clock ?? SYSTEM_CLOCK);
  return {
    metrics,
    store,
    mirror,
    /** What the listeners in front of the applications must be told to. */
    ownListeners,
    /** By the configuration as it is now. */
    createListener: (state: { isFull?: boolean } = {}) =>
      createListener({ ...parts, ...parts.configured, ...state }),
    createAdminApp: (doors: Pick<AdminParts, 'unreadyReason' | 'reload'>) =>
      createAdminApp({
        ...parts,
        ...jobs,
        ...doors,
        access: () => parts.access,
        tokens: apiOf(parts.accessStore),
        resolve: (image) => parts.resolve(image).target,
        admission: parts.reports,
        status: async () => describeStatus(parts, uptimeSeconds()),
        store: parts.storeAdmin,
        host: config.admin.host,
      }),
    createProbeApp: (unreadyReason: () => string | undefined) =>
      createProbeApp({ ...parts, unreadyReason }),
    /** Takes another configuration: all of it at once or, when it throws, nothing. */
    configure: (next: Config) => configure(next, parts),
    /** Begins what goes on beside the pulls. */
    work: () => {
      store.care.settle();
      scrubber.start();
      parts.isWorking = !store.blobs.isReadOnly;
      if (!parts.isWorking) return;
      parts.admission.work();
      startSync(parts);
      resumeHydration(parts);
    },
    /** Ends what no client waits for; clients are served as before. */
    stop: () => {
      parts.isWorking = false;
      void scrubber.close();
      jobs.stop();
      mirror.stop();
    },
    close: async () => {
      // All is stopped before anything is waited for.
      const scrubbed = scrubber.close();
      jobs.stop();
      const mirrored = mirror.close();
      await (await parts.inUse)?.close();
      await mirrored;
      await parts.admission.close();
      await scrubbed;
      await jobs.closed();
      await traces.close();
      await parts.audit.close();
      await parts.accessStore.close();
      await store.close();
    },
  };
}

/** Running transfers, answers and runs of sync go on with what they began with. */
function configure(next: Config, parts: Parts): void {
  const { configured, create, log, metrics, mirror, storeAdmin, store, jobs } = parts;
  const before = configured.config;
  const made = create(next, configured);
  parts.configured = made;
  parts.access = parts.accessStore.access(next);
  parts.admission.configure(next);
  mirror.configure(made.upstreams, { ...next.access?.limits, isOffline: next.offline });
  storeAdmin.configure({ addressing: made.addressing, limits: next.store });
  store.care.configure(next.store, made.pins);
  metrics.startAt(Object.keys(next.upstreams));
  parts.audit.configure(next.log.audit);
  log.level = log.level === 'silent' ? log.level : next.log.level;
  if (jobs.configure(before, next)) startSync(parts);
  const begins = [...made.upstreams].some(
    ([name, { config }]) =>
      config.hydrate !== (configured.upstreams.get(name)?.config.hydrate ?? 'off'),
  );
  if (begins) resumeHydration(parts);
  if (next.store.inUse === before.store.inUse) return;
  parts.inUse = parts.inUse
    .then(async (file) => file?.close())
    .then(async () => watchInUse(next, storeAdmin, log))
    .catch((err: unknown) => {
      log.error({ err }, 'the list of images in use cannot be watched');
      return undefined;
    });
}

/**
 * What is incomplete is completed in the background, by the modes that count now. It is looked for among
 * all that is held, unless no upstream has any of it completed.
 */
function resumeHydration({ isWorking, store, mirror, log, configured }: Parts): void {
  const modes = [...configured.upstreams.values()].map(({ config }) => config.hydrate);
  if (!isWorking || modes.every((mode) => mode === 'off')) return;
  void store.care.settled
    .then(async () => mirror.resumeHydration())
    .catch((err: unknown) => log.error({ err }, 'what is incomplete was not looked for'));
}

function startSync({ isWorking, sync, configured: { config } }: Parts): void {
  if (isWorking && config.sync && !config.offline) sync.start();
}

async function describeStatus(parts: Parts, uptimeSeconds: number): Promise<ServerStatus> {
  const { store, mirror, metrics, sync } = parts;
  const { config } = parts.configured;
  const { path, maxBytes } = config.store;
  const { requests, hits } = await metrics.countHits();
  const { running, last } = sync.runState;
  return {
    version,
    uptimeSeconds,
    offline: config.offline,
    store: { path, id: store.id, maxBytes, ...store.catalog.usage },
    downloads: mirror.activity.downloads,
    cache: { requests, hits, ...(requests > 0 && { hitRatio: hits / requests }) },
    ...(config.sync && {
      sync: { isRunning: running !== undefined, ...(last && { last: summarise(last) }) },
    }),
    upstreams: mirror.upstreams,
  };
}

/** Whole ones, from now on. */
function countSeconds(clock: Clock): () => number {
  const startedAt = clock.steady();
  return () => Math.floor((clock.steady() - startedAt) / 1000);
}

function summarise(run: SyncReport): SyncRunStatus {
  const { startedAt, endedAt, isOk, images, bytes, aborted } = run;
  return { startedAt, endedAt, isOk, images, bytes, ...(aborted !== undefined && { aborted }) };
}

type Measured = Pick<Parts, 'metrics' | 'store' | 'storeAdmin' | 'sync' | 'admission'>;

/** What a scrape finds beside what was counted: a look at the disk, and a count of images a minute. */
function measureAll(
  { upstreams }: Config,
  { metrics, store, storeAdmin, sync, admission }: Measured,
): void {
  metrics.startAt(Object.keys(upstreams));
  metrics.measure(async () => {
    await store.catalog.counted;
    const summary = await storeAdmin.summary();
    const { last } = summary.verify;
    const verifiedAt = last?.endedAt ?? (await store.catalog.findFigure('verified'));
    const origins = store.care.pins.list().map(({ origin }) => origin);
    const { isReadOnly } = store.blobs;
    metrics.store.show(store.care.bytes, summary, { origins, isReadOnly, verifiedAt });
  });
  metrics.measure(async () => sync.measure());
  metrics.measure(async () => admission.measure());
}

type Parts = Awaited<ReturnType<typeof openParts>>;

/** Builds the parts by hand, the store first. */
async function openParts(config: Config, options: EngineOptions) {
  const { log, timing = DEFAULT_TIMING, clock = SYSTEM_CLOCK, lookup } = options;
  const { step = noCrashPoint } = options;
  const [metrics, via, ownListeners] = [new Metrics(), new Via(), new OwnListeners()];
  const shared = { metrics, log, now: (): number => clock.wall() };
  const authorities = openAuthorities(log);
  const asking = { ...shared, timing, via, clock, ownListeners, lookup, authorities };
  const create = (to: Config, from?: Configured): Configured => createConfigured(to, asking, from);
  const configured = create(config);
  const { pins, upstreams, addressing } = configured;
  await using undo = new AsyncDisposableStack();
  const store = undo.adopt(
    await Store.open({ ...shared, config: config.store, pins, step }),
    async (opened) => opened.close(),
  );
  const selection: MirrorParts['selection'] = {
    isReady: async (image) => sync.isReady(image),
    isSearched: (image) => sync.isSearched(image),
  };
  const own = { ...store.parts, ...shared };
  const attachments = (): Attachments => mirror.attachments;
  const resolve: Resolve = (image) => parts.configured.addressing.resolveImage(image);
  const passes = () => parts.accessStore.passes;
  const judging = { ...own, ...asking, config, attachments, version, resolve, passes };
  const { admission, reports } = openAdmission(judging);
  const asked = { upstreams, timing, clock, gate: options.gate ?? admission, selection };
  const mirror: Mirror = new Mirror({ ...own, ...asked, limits: config.access?.limits });
  const scrubber = openScrubber({ ...own, mirror });
  const kept = { ...own, store, mirror, addressing, limits: config.store };
  const storeAdmin = new StoreAdmin({ ...kept, scrubber });
  const built = { ownListeners, store, mirror, scrubber, storeAdmin, resolve, admission, reports };
  const working = { ...own, clock, store, mirror, admission, step };
  const jobs = await openJobs(config, {
    ...working,
    addressing: () => parts.configured.addressing,
    config: () => parts.configured.config,
  });
  const { sync } = jobs;
  const reached = { clock, store, net: { timing, authorities, lookup } };
  const access = await openAccess(config, { ...shared, ...reached });
  const inUse = Promise.resolve(await watchInUse(config, storeAdmin, log));
  const parts = {
    ...shared,
    ...built,
    via,
    jobs,
    ...access,
    sync,
    create,
    configured,
    inUse,
    traces: await openTraces(config.tracing, shared),
    isWorking: false,
  };
  undo.move();
  return parts;
}

type ScrubberParts = ConstructorParameters<typeof Scrubber>[0];

/** What is found damaged is fetched again. */
function openScrubber(
  parts: Omit<ScrubberParts, 'heal' | 'read' | 'found'> & Pick<Parts, 'metrics' | 'mirror'>,
): Scrubber {
  const heal: ScrubberParts['heal'] = async (...what) => parts.mirror.heal(...what);
  return new Scrubber({ ...parts, heal, ...parts.metrics.ofScrub });
}

/** What may be pulled, and what is told of it. */
function openAdmission(parts: ConstructorParameters<typeof Admission>[0] & { resolve: Resolve }) {
  const admission = new Admission(parts);
  return { admission, reports: new AdmissionReports({ ...parts, admission }) };
}

type Resolve = (image: string) => ResolvedImage;

/** Who may pull what, and where it is written who did. */
async function openAccess(
  config: Config,
  {
    store,
    ...shared
  }: Pick<Parts, 'log' | 'metrics' | 'store'> & Pick<AccessStoreParts, 'clock' | 'net'>,
) {
  const audit = openAudit(config.log.audit, shared);
  const { path, id } = store;
  const accessStore = await AccessStore.open({ ...shared, path, id, audit });
  return { audit, accessStore, passes: accessStore.passes, access: accessStore.access(config) };
}

/** What the admin API is asked of tokens. */
function apiOf({ tokens }: AccessStore): AccessApi {
  return {
    tokens: () => tokens.list(),
    createToken: async (wish) => tokens.create(wish),
    revokeToken: async (id) => tokens.revoke(id),
  };
}

/** Those of the process: every upstream of every configuration shares them. */
function openAuthorities(log: Log): Authorities {
  return new Authorities({
    failed: (reason) =>
      log.warn({ reason }, 'the authorities of the system cannot be read, those of before count'),
    renewed: () => log.info({}, 'the authorities of the system are read again'),
  });
}

/** What makes spans is loaded only where the configuration says where they go. */
async function openTraces(
  { otlp: url }: Config['tracing'],
  { log, metrics }: { log: Log; metrics: Metrics },
): Promise<Traces> {
  if (url === undefined) return new Traces();
  const { OtlpTracer } = await import('./observe/otlp-tracer.ts');
  let isTold = false;
  const lost = (count: number): void => {
    metrics.spansLost.inc(count);
    if (!isTold) log.warn({ url }, 'the collector does not take all spans');
    isTold = true;
  };
  return new Traces(new OtlpTracer({ url, version: packageJson.version, lost }));
}

function openAudit(
  path: string | undefined,
  { log, metrics }: Pick<Parts, 'log' | 'metrics'>,
): Audit {
  return new Audit(path, {
    lost: (lines) => metrics.access.auditLost.inc(lines),
    failed: (reason, file) => log.error({ file, reason }, 'the audit cannot be written'),
    renewed: (file) => log.info({ file }, 'the audit is written again'),
  });
}
