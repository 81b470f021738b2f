import { Agent } from 'node:http';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Chance } from '../crash/chance.ts';
import { ChildMirror, type Measures } from '../crash/child-mirror.ts';
import { World, type WorldImage } from '../crash/world.ts';
import { get, type ClientAnswer } from '../helpers/client.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { createConfig, TEST_TIMING } from '../helpers/mirror.ts';

export interface SoakOptions {
  readonly seed: number;
  readonly hours: number;
  readonly pullsPerMinute: number;
  /** How long a simulated minute takes at least, in real milliseconds. */
  readonly minuteMs?: number;
  readonly told?: (hour: number, measures: Measures) => void;
}

export interface Soaked {
  readonly pulls: number;
  /** Answers of an upstream that was away, for what was not held. */
  readonly refused: number;
  readonly verified: number;
  /** What must not be. */
  readonly wrong: readonly string[];
  readonly measures: readonly Measures[];
  /** Left in the store's folders when all was quiet. */
  readonly left: { readonly ingest: readonly string[]; readonly quarantine: readonly string[] };
}

const MINUTE_MS = 60_000;
const CLIENTS = 6;
const MEASURE_EVERY_MINUTES = 5;
const VERIFY_EVERY_MINUTES = 180;
/** The upstream is away for the last minutes of every second hour. */
const OUTAGE_FROM_MINUTE = 50;
const GATEWAY_FAULTS = [502, 503, 504];
const QUIET_MS = 20_000;

/**
 * A day of a mirror in minutes: pulls by popularity, tags that move, a store that is too small, an
 * upstream that goes away, and all that is held verified again and again. The clock of the mirror
 * is this one's.
 */
export class Soak {
  readonly #options: SoakOptions;
  readonly #registry: FakeRegistry;
  readonly #world: World;
  readonly #mirror: ChildMirror;
  readonly #storePath: string;
  readonly #chance: Chance;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: CLIENTS });
  readonly #wrong: string[] = [];
  readonly #measures: Measures[] = [];
  #isAway = false;
  #pulls = 0;
  #refused = 0;
  #verified = 0;

  static async open(
    scope: { teardown(work: () => void | Promise<void>): void },
    options: SoakOptions,
  ): Promise<Soak> {
    const registry = await FakeRegistry.start(scope);
    const folder = await mkdtemp(join(tmpdir(), 'entrepot-soak-'));
    scope.teardown(async () => rm(folder, { recursive: true, force: true }));
    const world = new World(registry, {
      repositories: 4,
      imagesEach: 60,
      layers: [9_000, 1_000],
      baseBytes: 40_000,
    });
    const storePath = join(folder, 'store');
    const upstreams = {
      'docker.io': { url: registry.url, hydrate: 'blob' as const, tags: { ttlMs: 300_000 } },
    };
    const maxBytes = Math.round(world.size * 0.4);
    const mirror = await ChildMirror.start({
      config: createConfig(storePath, { upstreams, store: { maxBytes, durability: 'rename' } }),
      timing: TEST_TIMING,
      factsFile: join(folder, 'facts'),
      logFile: join(folder, 'log'),
      startAt: Date.UTC(2030, 0, 1),
    });
    if (typeof mirror === 'string') throw new Error(`the mirror did not start: ${mirror}`);
    scope.teardown(async () => void (await mirror.kill()));
    return new Soak(options, { registry, world, mirror, storePath });
  }

  constructor(
    options: SoakOptions,
    parts: { registry: FakeRegistry; world: World; mirror: ChildMirror; storePath: string },
  ) {
    this.#options = options;
    this.#registry = parts.registry;
    this.#world = parts.world;
    this.#mirror = parts.mirror;
    this.#storePath = parts.storePath;
    this.#chance = new Chance(options.seed);
  }

  /** Once. */
  async run(): Promise<Soaked> {
    const { hours, told } = this.#options;
    for (let minute = 0; minute < hours * 60; minute += 1) {
      await this.#live(minute);
      const last = this.#measures.at(-1);
      if (minute % 60 === 59 && last) told?.(Math.floor(minute / 60) + 1, last);
    }
    await this.#setAway(false);
    await this.#verify();
    await this.#rest();
    const { wrong } = await this.#mirror.ask({ do: 'compare' });
    const left = {
      ingest: await readdir(join(this.#storePath, 'ingest')),
      quarantine: await readdir(join(this.#storePath, 'quarantine')),
    };
    this.#agent.destroy();
    const end = await this.#mirror.stop();
    if (end !== '0') this.#wrong.push(`ended by ${end}`);
    return {
      pulls: this.#pulls,
      refused: this.#refused,
      verified: this.#verified,
      wrong: [...this.#wrong, ...wrong],
      measures: this.#measures,
      left,
    };
  }

  async #live(minute: number): Promise<void> {
    const { pullsPerMinute, minuteMs = 0 } = this.#options;
    const isOutage = minute % 120 >= 60 + OUTAGE_FROM_MINUTE;
    await this.#setAway(isOutage);
    if (this.#chance.next() < 0.3) this.#world.moveTag(this.#chance);
    const least = performance.now() + minuteMs;
    do {
      let left = pullsPerMinute;
      const client = async (): Promise<void> => {
        while (left-- > 0) await this.#pull(this.#chance.pickZipf(this.#world.images));
      };
      await Promise.all(Array.from({ length: CLIENTS }, client));
    } while (performance.now() < least);
    this.#registry.clear();
    const isMeasured = minute % MEASURE_EVERY_MINUTES === 0;
    const measures = await this.#mirror.ask({ do: 'advance', ms: MINUTE_MS });
    if (isMeasured) this.#measures.push(measures);
    if (minute % VERIFY_EVERY_MINUTES === VERIFY_EVERY_MINUTES - 1) await this.#verify();
  }

  /**
   * Between the pulls: none is cut in the middle, so none may fail but for what is not held. Hydration
   * asks at any moment: a pull that joined its question from before the end of the outage would be
   * refused with it, so what runs at the end comes to its own first.
   */
  async #setAway(isAway: boolean): Promise<void> {
    if (this.#isAway === isAway) return;
    if (isAway) {
      await this.#registry.refuse();
    } else {
      await this.#registry.accept();
      await this.#rest();
    }
    this.#isAway = isAway;
  }

  async #pull(image: WorldImage): Promise<void> {
    const { repository } = image;
    const tag = this.#world.tagOf(image, this.#chance);
    const manifest = await this.#get(`${repository}/manifests/${tag}`);
    const digest = manifest && String(manifest.headers['docker-content-digest']);
    const found = digest === undefined ? undefined : this.#world.imageOf(repository, digest);
    if (manifest && !found) this.#wrong.push(`${repository}:${tag} is ${digest}`);
    for (const blob of found?.blobs ?? []) {
      // Most layers are with the client already.
      if (this.#chance.next() < 0.5) await this.#get(`${repository}/blobs/${blob.digest}`);
    }
    this.#pulls += 1;
  }

  /** `undefined` for what an upstream that is away could not give. */
  async #get(path: string): Promise<ClientAnswer | undefined> {
    const answer = await get(`${this.#mirror.url}/v2/${path}`, { agent: this.#agent });
    const { status, headers, body } = answer;
    if (this.#isAway && GATEWAY_FAULTS.includes(status)) {
      this.#refused += 1;
      return undefined;
    }
    const digest = String(headers['docker-content-digest']);
    if (status === 200 && this.#world.isRight(digest, body)) return answer;
    this.#wrong.push(`${path}: ${status} ${body.subarray(0, 200).toString()}`);
    return undefined;
  }

  async #verify(): Promise<void> {
    const url = `${this.#mirror.adminUrl}/api/v1/verify`;
    const headers = { 'content-type': 'application/json' };
    await (await fetch(url, { method: 'POST', headers, body: '{}' })).bytes();
    for (;;) {
      const state = (await (await fetch(url)).json()) as {
        running?: object;
        last?: { blobs: number; damaged: object[] };
      };
      if (!state.running && state.last) {
        this.#verified += state.last.blobs;
        for (const damage of state.last.damaged) this.#wrong.push(JSON.stringify(damage));
        return;
      }
      await pause(20);
    }
  }

  /** Until nothing runs, hydration included. */
  async #rest(): Promise<void> {
    const deadline = performance.now() + QUIET_MS;
    for (let quiet = 0; quiet < 10;) {
      const { activity } = await this.#mirror.ask({ do: 'measure' });
      const isQuiet = Object.values(activity).every((count) => count === 0);
      quiet = isQuiet ? quiet + 1 : 0;
      if (performance.now() > deadline) {
        this.#wrong.push(`still at work: ${JSON.stringify(activity)}`);
        return;
      }
      await pause(20);
    }
  }
}

/** How the mean of the last third compares with that of the third before. */
export function growth(
  measures: readonly Measures[],
  figure: 'rss' | 'heap' | 'files' | 'timers',
): number {
  const third = Math.floor(measures.length / 3);
  const mean = (from: number, to: number): number =>
    measures.slice(from, to).reduce((sum, { [figure]: value }) => sum + value, 0) / (to - from);
  return mean(measures.length - third, measures.length) / mean(third, 2 * third);
}
