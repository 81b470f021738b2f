import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { ExecutionContext } from 'ava';
import type { SyncConfig } from '../../src/config/sync-schema.ts';
import type { SyncRule } from '../../src/config/sync-rule-schema.ts';
import { startEngine, type Engine } from '../../src/engine.ts';
import { Listener } from '../../src/http/listener.ts';
import type { SyncReport } from '../../src/api/sync-api.ts';
import type { CrashPoint } from '../../src/store/store.ts';
import type { Timing } from '../../src/net/timing.ts';
import { SyncState } from '../../sync/state.ts';
import { Sync } from '../../sync/sync.ts';
import {
  get,
  open,
  type ClientAnswer,
  type GetOptions,
  type OpenResponse,
} from '../helpers/client.ts';
import { FakeRegistry, type FakeRegistryOptions } from '../helpers/fake-registry.ts';
import { FakeTimer } from '../helpers/fake-timer.ts';
import { TestLog } from '../helpers/test-log.ts';
import {
  createConfig,
  createTempFolder,
  TEST_TIMING,
  type UpstreamOptions,
} from '../helpers/mirror.ts';
import { UPSTREAM } from '../helpers/scene.ts';
import { syncConfig } from './rules.ts';

export const START = Date.UTC(2030, 0, 1, 0, 30);

export interface SiteOptions extends Partial<Omit<SyncConfig, 'rules'>> {
  readonly rules?: readonly SyncRule[];
  readonly registry?: FakeRegistry;
  readonly registryOptions?: FakeRegistryOptions;
  readonly upstream?: Partial<UpstreamOptions>;
  /** Beside the registry's. */
  readonly others?: Readonly<Record<string, UpstreamOptions>>;
  readonly timing?: Partial<Timing>;
  readonly offline?: boolean;
  /** Of an earlier site of the same test. */
  readonly storePath?: string;
  readonly timer?: FakeTimer;
  readonly step?: CrashPoint;
  /** By a rule of admission. */
  readonly isJudged?: boolean;
}

/** How often a run is looked at that waits for no time to pass. */
const LOOK_MS = 5;

/** A registry and a site that syncs from it, with a clock that a test lets pass. */
export class Site {
  readonly registry: FakeRegistry;
  readonly timer: FakeTimer;
  readonly storePath: string;
  readonly url: string;
  /** What the log said, one object a line. */
  readonly log: readonly Record<string, unknown>[];
  readonly engine: Engine;
  readonly sync: Sync;
  readonly #listener: Listener;
  #isClosed = false;

  static async start(t: ExecutionContext, options: SiteOptions): Promise<Site> {
    const {
      rules = [],
      registry: given,
      registryOptions,
      upstream,
      others,
      timing,
      offline = false,
      step,
      isJudged = false,
      ...rest
    } = options;
    const { storePath = await createTempFolder(t), timer = new FakeTimer(START), ...sync } = rest;
    const registry = given ?? (await FakeRegistry.start(t, registryOptions));
    const config = createConfig(storePath, {
      upstreams: { [UPSTREAM]: { url: registry.url, ...upstream }, ...others },
      offline,
    });
    const { lines, logger: log } = new TestLog('info');
    const engine = await startEngine(config, {
      log,
      timing: { ...TEST_TIMING, ...timing },
      clock: timer,
      ...(step && { step }),
    });
    const { store, mirror, metrics } = engine;
    const canonical = (image: string): string => image;
    const parts = {
      ...store.parts,
      pins: store.care.pins,
      prefetcher: mirror.prefetcher,
      metrics,
      log,
      timer,
      canonical,
      isOffline: offline,
      brought: () => [],
      refusal: async () => undefined,
      isJudged: () => isJudged,
      verdicts: async () => [],
    };
    const state = await SyncState.open(join(storePath, 'sync.json'));
    const site = new Site({
      registry,
      timer,
      engine,
      storePath,
      log: lines,
      sync: new Sync({ ...parts, config: syncConfig(rules, sync), state }),
      listener: await Listener.open(config.listen, engine.createListener(), log),
    });
    t.teardown(async () => site.close());
    return site;
  }

  /** Use `start`. */
  constructor(
    parts: Pick<Site, 'registry' | 'timer' | 'engine' | 'storePath' | 'log' | 'sync'> & {
      listener: Listener;
    },
  ) {
    this.registry = parts.registry;
    this.timer = parts.timer;
    this.engine = parts.engine;
    this.storePath = parts.storePath;
    this.log = parts.log;
    this.sync = parts.sync;
    this.#listener = parts.listener;
    this.url = parts.listener.url;
  }

  /** A whole run, with its report. */
  async run(lock?: unknown): Promise<SyncReport> {
    this.sync.run(lock);
    return this.ended();
  }

  /** The end of the run that goes on; time passes for whatever waits for it. */
  async ended(): Promise<SyncReport> {
    while (this.sync.runState.running) {
      if (this.timer.waiting > 0) await this.timer.advance(1_000);
      else await Promise.race([this.timer.waited(), pause(LOOK_MS)]);
    }
    const { last } = this.sync.runState;
    if (!last) throw new Error('no run has ended');
    return last;
  }

  /** Resolves once so many wait for time to pass. */
  async waiting(count = 1): Promise<void> {
    await this.timer.waited(count);
  }

  /** What the registry was asked since the last time, in the order of the alphabet. */
  asked(): string[] {
    const asked = this.registry.conversation().toSorted();
    this.registry.clear();
    return asked;
  }

  async manifest(
    repository: string,
    reference: string,
    options?: GetOptions,
  ): Promise<ClientAnswer> {
    return get(`${this.url}/v2/${repository}/manifests/${reference}`, options);
  }

  async blob(repository: string, digest: string): Promise<ClientAnswer> {
    return get(`${this.url}/v2/${repository}/blobs/${digest}`);
  }

  async openBlob(repository: string, digest: string): Promise<OpenResponse> {
    return open(`${this.url}/v2/${repository}/blobs/${digest}`);
  }

  /** The images that sync has pinned, by their repository and digest. */
  get pins(): string[] {
    const pins = this.engine.store.care.pins.list().filter(({ origin }) => origin === 'sync');
    return pins.map(({ image }) => image).toSorted();
  }

  /** In the order in which the server closes its parts. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.#listener.close(0);
    this.sync.stop();
    // Ends the mirror, then the store.
    const closed = this.sync.closed();
    await this.engine.close();
    await closed;
  }
}
