import { mkdtemp, readdir, readlink, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { Config } from '../../src/config/config.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { createConfig, TEST_TIMING } from '../helpers/mirror.ts';
import { Chance } from './chance.ts';
import { ChildMirror, type Settings } from './child-mirror.ts';
import { inspect } from './inspection.ts';
import { Load } from './load.ts';
import { Promises } from './promises.ts';
import { World } from './world.ts';

/** What stays the same while the process dies again and again. */
const UPSTREAM = 'docker.io';
const CLIENTS = 10;
const PINNED = `${UPSTREAM}/library/app0:v1`;
/** The larger layers come over several connections, in pieces. */
const TIMING = { ...TEST_TIMING, dividedBytes: 40_000 };
/** A kill that never comes is a step that is never reached. */
const STEP_DEADLINE_MS = 60_000;

/**
 * Every point that the store names, and how often it may be passed before the kill. Blobs are divided
 * seldom, where few transfers are under way beside them, so that these points are counted in small numbers.
 */
export const STEPS: Readonly<Record<string, number>> = {
  'commit.verified': 30,
  'commit.synced': 30,
  'commit.renamed': 30,
  'commit.done': 30,
  'spread.mapped': 2,
  'spread.renamed': 2,
  'fill.written': 12,
  'fill.synced': 2,
  'fill.mapped': 2,
  'evict.released': 8,
  'evict.removed': 8,
  'compact.written': 1,
  'compact.synced': 1,
  'compact.renamed': 1,
  'rebuild.replayed': 1,
  'rebuild.manifests': 1,
  'rebuild.blobs': 1,
  'rebuild.filled': 1,
  'rebuild.built': 1,
  'rebuild.old-aside': 1,
  'rebuild.swapped': 1,
  'rebuild.done': 1,
};

export interface Round {
  readonly round: number;
  /** A step, or `random`. */
  readonly killedAt: string;
  readonly pulls: number;
  /** Held things that clients were told of and that are still owed. */
  readonly owed: number;
  readonly partials: number;
  /** Files of the store that this process still has open after the inspection. */
  readonly openFiles: readonly string[];
  readonly evictions: number;
  readonly wrong: readonly string[];
}

/**
 * A mirror under load that is killed, inspected and started again, on one store: nothing that a
 * client saw held may be lost, no byte may be wrong, nothing may pile up.
 */
export class Harness {
  readonly world: World;
  readonly #registry: FakeRegistry;
  readonly #folder: string;
  readonly #config: Config;
  readonly #chance: Chance;
  readonly #promises = new Promises(UPSTREAM);
  #pin: { image: string } | undefined;
  #round = 0;

  static async open(
    scope: { teardown(work: () => void | Promise<void>): void },
    options: { seed: number; durability: 'full' | 'rename' },
  ): Promise<Harness> {
    const registry = await FakeRegistry.start(scope);
    const folder = await mkdtemp(join(tmpdir(), 'entrepot-crash-'));
    scope.teardown(async () => rm(folder, { recursive: true, force: true }));
    return new Harness(registry, folder, options);
  }

  constructor(
    registry: FakeRegistry,
    folder: string,
    options: { seed: number; durability: 'full' | 'rename' },
  ) {
    this.#registry = registry;
    this.#folder = folder;
    this.#chance = new Chance(options.seed);
    this.world = new World(registry, {
      repositories: 3,
      imagesEach: 8,
      layers: [60_000, 20_000, 2_000],
      baseBytes: 150_000,
    });
    const upstreams = { [UPSTREAM]: { url: registry.url, tags: { ttlMs: 20 }, segments: 3 } };
    this.#config = createConfig(join(folder, 'store'), {
      upstreams,
      store: { maxBytes: Math.round(this.world.size * 0.35), durability: options.durability },
    });
  }

  /** One life of the mirror, its end, and what is left. */
  async run(killedAt: string): Promise<Round> {
    this.#round += 1;
    const [kind = ''] = killedAt.split('.');
    const wrong: string[] = [];
    let pulls = 0;
    if (kind === 'rebuild' || kind === 'compact') {
      wrong.push(...(await this.#runIdle(killedAt, kind)));
    } else {
      const lived = await this.#runLoaded(killedAt);
      pulls = lived.pulls;
      wrong.push(...lived.wrong);
    }
    const { wrong: found, partials, kept, evictions } = await this.#inspect();
    const openFiles = await listOpenFiles(this.#folder);
    const figures = { pulls, owed: kept, partials, openFiles, evictions };
    return { round: this.#round, killedAt, ...figures, wrong: [...wrong, ...found] };
  }

  /** Everything is pulled to its end once more: then nothing half done may be left. */
  async finish(): Promise<{ partials: string[]; wrong: readonly string[] }> {
    const mirror = await ChildMirror.start(this.#settings('none'));
    if (typeof mirror === 'string') throw new Error(`the mirror did not start: ${mirror}`);
    const { world } = this;
    const wrong: string[] = [];
    for (const { repository, tag, blobs } of world.images) {
      const paths = [`manifests/${tag}`, ...blobs.map(({ digest }) => `blobs/${digest}`)];
      for (const path of paths) {
        const response = await fetch(`${mirror.url}/v2/${repository}/${path}`);
        await response.bytes();
        if (response.status !== 200) wrong.push(`${repository}/${path}: ${response.status}`);
      }
    }
    const end = await mirror.stop();
    if (end !== '0') wrong.push(`ended by ${end}`);
    const partials = await readdir(join(this.#config.store.path, 'ingest'));
    return { partials, wrong: [...wrong, ...(await this.#inspect()).wrong] };
  }

  async #inspect() {
    const { world } = this;
    const { path } = this.#config.store;
    await this.#registry.refuse();
    try {
      return await inspect({
        config: this.#config,
        world,
        promises: this.#promises,
        factsFile: join(this.#folder, 'facts'),
        pin: this.#pin,
        // The next start writes the journal anew, wherever it is killed meanwhile.
        before: async ({ catalog }) => catalog.recordFigure('journal', Number.MAX_SAFE_INTEGER),
      });
    } catch (error) {
      throw new Error(`the store at ${path} does not open`, { cause: error });
    } finally {
      await this.#registry.accept();
      this.#registry.clear();
    }
  }

  /** Killed by its own hand at the start or in a rebuild, with nobody there. */
  async #runIdle(step: string, kind: string): Promise<string[]> {
    const settings = this.#settings(step);
    const mirror = await ChildMirror.start({
      ...settings,
      work: kind === 'rebuild' ? 'rebuild' : 'serve',
    });
    const end = typeof mirror === 'string' ? mirror : await this.#awaitEnd(mirror);
    return end === 'SIGKILL' ? [] : [`${step} was not reached: ${end}`];
  }

  async #runLoaded(killedAt: string): Promise<{ pulls: number; wrong: readonly string[] }> {
    const mirror = await ChildMirror.start(this.#settings(killedAt));
    if (typeof mirror === 'string') return { pulls: 0, wrong: [`ended at its start: ${mirror}`] };
    const load = new Load({
      world: this.world,
      promises: this.#promises,
      url: mirror.url,
      seed: this.#chance.between(0, 2 ** 30),
      clients: CLIENTS,
    });
    if (!this.#pin) await this.#addPin(mirror);
    let wrong: string[] = [];
    if (killedAt === 'random') {
      await pause(this.#chance.between(10, 1_200));
      load.expectDeath();
      await mirror.kill();
    } else {
      void mirror.gone.then(() => load.expectDeath());
      const end = await this.#awaitEnd(mirror);
      if (end !== 'SIGKILL') wrong = [`${killedAt} was not reached: ${end}`];
    }
    await load.end();
    return { pulls: load.pulls, wrong: [...wrong, ...load.wrong] };
  }

  async #awaitEnd(mirror: ChildMirror): Promise<string> {
    const stop = new AbortController();
    const { signal } = stop;
    const late = pause(STEP_DEADLINE_MS, 'nothing', { signal }).catch(() => 'nothing');
    const end = await Promise.race([mirror.gone, late]);
    stop.abort();
    if (end === 'nothing') await mirror.kill();
    return end;
  }

  async #addPin({ adminUrl }: ChildMirror): Promise<void> {
    const response = await fetch(`${adminUrl}/api/v1/pins`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ image: PINNED }),
    }).catch(() => undefined);
    // The mirror may have been killed before it answered.
    if (response?.status === 201) this.#pin = { image: PINNED };
  }

  #settings(killedAt: string): Settings {
    const most = STEPS[killedAt];
    const killAt = most !== undefined && {
      step: killedAt,
      count: this.#chance.between(1, most + 1),
    };
    return {
      config: this.#config,
      timing: TIMING,
      factsFile: join(this.#folder, 'facts'),
      logFile: join(this.#folder, 'log'),
      ...(killAt && { killAt }),
    };
  }
}

/** Below a folder: other tests of the same process have files of their own. */
async function listOpenFiles(folder: string): Promise<string[]> {
  const descriptors = await readdir('/proc/self/fd');
  // A descriptor may be closed since.
  const paths = descriptors.map(async (fd) => readlink(`/proc/self/fd/${fd}`).catch(() => ''));
  return (await Promise.all(paths)).filter((path) => path.startsWith(folder));
}
