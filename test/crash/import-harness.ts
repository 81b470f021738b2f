import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { ExecutionContext } from 'ava';
import { pino } from 'pino';
import { startServer } from '../../src/server.ts';
import { TEST_TIMING } from '../helpers/mirror.ts';
import { Chance } from './chance.ts';
import { ChildMirror } from './child-mirror.ts';
import { ImportWorld, type Generation } from './import-world.ts';
import { TagWatch } from './tag-watch.ts';

/** After this a process that was to kill itself lives. */
const NOTICE_MS = 2_000;

export interface ImportRound {
  readonly round: number;
  /** A step, or `random`. */
  readonly killedAt: string;
  /** Whether the import was under way then. */
  readonly wasUnderWay: boolean;
  readonly pulls: number;
  readonly wrong: readonly string[];
}

/**
 * A site that takes in one bundle after the other, each of which moves all tags, and is killed in
 * every one: the second import must complete it, and clients see the old state or the new one.
 */
export class ImportHarness {
  readonly #world: ImportWorld;
  readonly #folder: string;
  readonly #chance: Chance;
  #before: Generation | undefined;
  #receipt: string | undefined;
  #mirror: ChildMirror | undefined;
  #round = 0;
  /** Of the longest import that nobody killed. */
  #importMs = 100;

  /** `scope` ends it. */
  static async open(
    scope: Pick<ExecutionContext, 'teardown'>,
    { seed }: { readonly seed: number },
  ): Promise<ImportHarness> {
    const folder = await mkdtemp(join(tmpdir(), 'entrepot-crash-'));
    scope.teardown(async () => rm(folder, { recursive: true, force: true }));
    const harness = new ImportHarness(await ImportWorld.open(scope, folder), folder, seed);
    scope.teardown(async () => harness.#mirror?.kill());
    return harness;
  }

  constructor(world: ImportWorld, folder: string, seed: number) {
    this.#world = world;
    this.#folder = folder;
    this.#chance = new Chance(seed);
  }

  /**
   * The names of all steps that an import passes, in order of the alphabet; of a full bundle and of the next one,
   * that nobody kills.
   */
  async listSteps(): Promise<readonly string[]> {
    const steps = new Set<string>();
    const site = await startServer(this.#world.siteConfig, {
      log: pino({ level: 'silent' }),
      timing: TEST_TIMING,
      step: (name) => steps.add(name),
    });
    try {
      const receipt = join(this.#folder, 'receipt');
      for (let bundles = 0; bundles < 2; bundles += 1) {
        const bundle = await this.#world.next(this.#receipt);
        const { code, problems } = await this.#world.import(site.adminUrl, bundle, receipt);
        if (code !== 0) throw new Error(problems);
        this.#before = bundle;
        this.#receipt = receipt;
      }
    } finally {
      await site.close();
    }
    // A store that is opened writes its journal anew meanwhile.
    return [...steps].filter((name) => !name.startsWith('compact.')).toSorted();
  }

  /**
   * One bundle. The site is killed at a `random` moment, or kills itself when it comes to a step the so
   * manieth time; at `none` it lives.
   */
  async run(killedAt: string, count = 1): Promise<ImportRound> {
    this.#round += 1;
    const after = await this.#world.next(this.#receipt);
    const isStep = killedAt !== 'random' && killedAt !== 'none';
    const victim = isStep ? await this.#start({ step: killedAt, count }) : await this.#running();
    const watch = new TagWatch({ mirror: victim, before: this.#before, after });
    const wrong: string[] = [];
    const importing = this.#import(victim, after);
    if (killedAt === 'random') {
      await pause(this.#chance.between(0, this.#importMs));
      await victim.kill();
      this.#mirror = undefined;
    }
    const { code, problems } = await importing;
    if (isStep) {
      const isAlive = (await Promise.race([victim.gone, pause(NOTICE_MS)])) === undefined;
      if (isAlive) wrong.push(`${killedAt} was not reached: ${problems}`);
      else this.#mirror = undefined;
    }
    const next = killedAt === 'none' ? victim : await this.#start();
    watch.target(next);
    const begun = performance.now();
    const second = await this.#import(next, after);
    this.#importMs = Math.max(this.#importMs, performance.now() - begun);
    if (second.code !== 0) wrong.push(`the second import: ${second.problems}`);
    wrong.push(...(await watch.end()), ...(await this.#inspect(next)));
    this.#before = after;
    const { pulls } = watch;
    return { round: this.#round, killedAt, wasUnderWay: code !== 0, pulls, wrong };
  }

  /** The last process ends in order; what it leaves that must not be. */
  async finish(): Promise<readonly string[]> {
    const end = await this.#mirror?.stop();
    const left = await readdir(join(this.#world.siteConfig.store.path, 'ingest'));
    return [...left.map((name) => `left over: ingest/${name}`), ...(end === '0' ? [] : [`${end}`])];
  }

  async #import(mirror: ChildMirror, generation: Generation) {
    const receipt = join(this.#folder, 'receipt');
    const ended = await this.#world.import(mirror.adminUrl, generation, receipt);
    if (ended.code === 0) this.#receipt = receipt;
    return ended;
  }

  async #running(): Promise<ChildMirror> {
    return this.#mirror ?? this.#start();
  }

  /** In the place of the one that runs, which ends in order. */
  async #start(killAt?: { readonly step: string; readonly count: number }): Promise<ChildMirror> {
    const ended = this.#mirror;
    this.#mirror = undefined;
    await ended?.stop();
    const mirror = await ChildMirror.start({
      config: this.#world.siteConfig,
      timing: TEST_TIMING,
      factsFile: join(this.#folder, 'facts'),
      logFile: join(this.#folder, 'log'),
      ...(killAt && { killAt }),
    });
    if (typeof mirror === 'string') throw new Error(`the site did not start: ${mirror}`);
    this.#mirror = mirror;
    return mirror;
  }

  /** Every file against its record, and what lies about. */
  async #inspect(mirror: ChildMirror): Promise<string[]> {
    const { wrong, activity } = await mirror.ask({ do: 'compare' });
    const { openFiles } = activity;
    return [...wrong, ...(openFiles === 0 ? [] : [`${openFiles} files are open`])];
  }
}
