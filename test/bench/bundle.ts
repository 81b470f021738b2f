import { mkdir, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { SyncRunState } from '../../src/api/sync-api.ts';
import { MAIN } from '../helpers/process.ts';
import { freePort, type BenchProcess } from './bench-process.ts';
import { BUDGETS } from './budgets.ts';
import { CatalogStore } from './catalog-store.ts';
import { runCommand, type CommandRun } from './command-run.ts';
import { startEntrepot } from './peers/entrepot.ts';
import { programOf } from './program.ts';
import { quiet } from './quiet.ts';
import { judge, type Row } from './row.ts';
import type { Workbench } from './workbench.ts';

const GIB = 1024 ** 3;
/** Of the full form, and of the usual one. */
const FULL_BYTES = 20 * GIB;
const SMALL_BYTES = 2 * GIB;
const LAYER_BYTES = GIB / 4;
const LAYERS = 2;
const CONFIG_BYTES = 7_000;
const CHANGED_BYTES = 8 * 1024 ** 2;
const ROUNDS = 3;
const INVENTORY_IMAGES = 10_000;
const BLOBS_AN_IMAGE = 10;
const IMAGE = 'upstream.test/bench/image';

/** One mirror, its admin API and the command that asks it. */
interface Mirror extends AsyncDisposable {
  readonly process: BenchProcess;
  readonly adminUrl: string;
  readonly store: string;
  readonly entrepot: (...args: string[]) => Promise<CommandRun>;
}

interface Round {
  readonly create: CommandRun;
  readonly import: CommandRun;
  /** Of the same file, after the one and before the other. */
  readonly sums: readonly [CommandRun, CommandRun];
  readonly bytes: number;
  readonly siteMiB: number;
}

/** What a bundle costs: packing and taking in beside `sha256sum`, memory, what an increment weighs. */
export async function measureBundle(bench: Workbench): Promise<Row[]> {
  const folder = bench.newPath('bundles');
  await mkdir(folder);
  const { isFull } = bench.options;
  const size = isFull ? FULL_BYTES : SMALL_BYTES;
  const tags = Array.from({ length: size / LAYER_BYTES / LAYERS }, (_, at) => `image-${at}`);
  const key = join(folder, 'key');
  await runCommand(...programOf(MAIN), 'bundle', 'keygen', '--out', key);
  const store = await fetchAll(bench, tags);
  if (isFull) await removeBlobs(bench);

  const rounds: Round[] = [];
  const nearMiB: number[] = [];
  let receipt = '';
  for (let round = 0; round < (isFull ? 1 : (bench.options.rounds ?? ROUNDS)); round += 1) {
    await using near = await start(bench, { store, settings: syncOf(tags) });
    await synced(near);
    const measured = await measureRound(bench, { near, key, folder, round });
    nearMiB.push(near.process.memoryMiB.peak);
    receipt = measured.receipt;
    rounds.push(measured);
    bench.progress(`bundle: round ${round + 1}, ${describe(measured)}`);
  }
  const increment = await measureIncrement(bench, { store, tags, key, folder, receipt });
  const note = `${(size / GIB).toFixed(0)} GiB in ${tags.length} images`;
  return [...toRows(rounds, { note, nearMiB }), increment, await measureInventory(bench, folder)];
}

/** The folder of a store that holds the images of all these tags. */
async function fetchAll(bench: Workbench, tags: readonly string[]): Promise<string> {
  const config = await bench.content.addBlob(CONFIG_BYTES);
  for (const tag of tags) {
    const layers = [];
    while (layers.length < LAYERS) layers.push(await bench.content.addBlob(LAYER_BYTES));
    await bench.content.addImage(tag, { config, layers });
  }
  await using mirror = await start(bench, { settings: syncOf(tags) });
  await synced(mirror);
  return mirror.store;
}

/** So that nothing is on the disk more than twice. */
async function removeBlobs({ content }: Workbench): Promise<void> {
  const blobs = join(content.path, 'blobs');
  for (const name of await readdir(blobs)) await rm(join(blobs, name));
}

interface RoundParts {
  readonly near: Mirror;
  readonly key: string;
  readonly folder: string;
  readonly round: number;
}

async function measureRound(
  bench: Workbench,
  { near, key, folder, round }: RoundParts,
): Promise<Round & { readonly receipt: string }> {
  const bundle = join(folder, `full-${round}.tar`);
  const receipt = join(folder, `receipt-${round}`);
  await quiet();
  const create = await near.entrepot('bundle', 'create', '--key', key, '--out', bundle);
  await quiet();
  const first = await runCommand('sha256sum', bundle);
  const trust = { near: { file: `${key}.pub` } };
  await using scope = new AsyncDisposableStack();
  const site = await start(bench, { settings: { offline: true, bundles: { trust } } });
  // Last of all: the server is gone by then.
  scope.defer(async () => rm(site.store, { recursive: true }));
  scope.use(site);
  await quiet();
  const taken = await site.entrepot('bundle', 'import', bundle, '--receipt', receipt);
  await quiet();
  const second = await runCommand('sha256sum', bundle);
  const { size: bytes } = await stat(bundle);
  await rm(bundle);
  const siteMiB = site.process.memoryMiB.peak;
  return { create, import: taken, sums: [first, second], bytes, siteMiB, receipt };
}

interface IncrementParts {
  readonly store: string;
  readonly tags: readonly string[];
  readonly key: string;
  readonly folder: string;
  readonly receipt: string;
}

/** One image has another layer; the site has all else. */
async function measureIncrement(
  bench: Workbench,
  { store, tags, key, folder, receipt }: IncrementParts,
): Promise<Row> {
  const config = await bench.content.addBlob(CONFIG_BYTES);
  const layer = await bench.content.addBlob(CHANGED_BYTES);
  const manifest = await bench.content.addImage(tags[0]!, { config, layers: [layer] });
  const missing = config.size + layer.size + manifest.size;
  const bundle = join(folder, 'next.tar');
  await using near = await start(bench, { store, settings: syncOf(tags) });
  await synced(near);
  const what = ['--key', key, '--out', bundle, '--for', receipt];
  await near.entrepot('bundle', 'create', ...what);
  return judge({
    work: 'a bundle for a site that lacks one layer of 8 MiB, by the bytes that it lacks',
    unit: 'bytes',
    entrepot: [(await stat(bundle)).size],
    peer: { name: 'missing', values: [missing] },
    budget: BUDGETS.bundleByMissing,
  });
}

async function measureInventory(bench: Workbench, folder: string): Promise<Row> {
  const store = bench.newPath('store');
  await CatalogStore.fill(store, INVENTORY_IMAGES * BLOBS_AN_IMAGE);
  const out = join(folder, 'inventory');
  await using scope = new AsyncDisposableStack();
  // Last of all: the server is gone by then.
  scope.defer(async () => rm(store, { recursive: true }));
  const site = scope.use(await start(bench, { store }));
  const { seconds, peakMiB } = await site.entrepot('inventory', '--out', out);
  return judge({
    work: 'inventory of 10,000 images with a tag each, of an image',
    unit: 'bytes',
    entrepot: [(await stat(out)).size / INVENTORY_IMAGES],
    budget: BUDGETS.inventoryBytesAnImage,
    note: `${seconds.toFixed(1)} s, the command at most ${Math.round(peakMiB)} MiB`,
  });
}

function toRows(
  rounds: readonly Round[],
  { note, nearMiB }: { readonly note: string; readonly nearMiB: readonly number[] },
): Row[] {
  const speed = (pick: (round: Round) => CommandRun): number[] =>
    rounds.map((round) => round.bytes / 1e6 / pick(round).seconds);
  const memory = (work: string, entrepot: readonly number[]): Row =>
    judge({
      work: `${work}: resident memory`,
      unit: 'MiB',
      entrepot,
      budget: BUDGETS.bundleMiB,
      note,
    });
  const common = { unit: 'MB/s', budget: BUDGETS.bundleSpeedBySha256sum, note };
  return [
    judge({
      ...common,
      work: 'bundle create',
      entrepot: speed(({ create }) => create),
      peer: { name: 'sha256sum', values: speed(({ sums }) => sums[0]) },
    }),
    judge({
      ...common,
      work: 'bundle import',
      entrepot: speed(({ import: taken }) => taken),
      peer: { name: 'sha256sum', values: speed(({ sums }) => sums[1]) },
    }),
    memory(
      'bundle create, the command',
      rounds.map(({ create }) => create.peakMiB),
    ),
    memory('bundle create, the server', nearMiB),
    memory(
      'bundle import, the command',
      rounds.map(({ import: taken }) => taken.peakMiB),
    ),
    memory(
      'bundle import, the server',
      rounds.map(({ siteMiB }) => siteMiB),
    ),
  ];
}

function describe({ create, import: taken, sums }: Round): string {
  const seconds = [create, sums[0], taken, sums[1]].map((run) => `${run.seconds.toFixed(2)} s`);
  return `create ${seconds[0]}, sha256sum ${seconds[1]}, import ${seconds[2]}, sha256sum ${seconds[3]}`;
}

function syncOf(tags: readonly string[]): object {
  return { sync: { schedule: '0 0 1 1 *', rules: [{ image: IMAGE, tags, referrers: false }] } };
}

/** On a new store, unless one is given. */
async function start(
  bench: Workbench,
  { store, settings = {} }: { readonly store?: string; readonly settings?: object },
): Promise<Mirror> {
  const admin = `127.0.0.1:${await freePort()}`;
  const path = store ?? bench.newPath('store');
  const file = bench.newPath('command.yaml');
  await writeFile(file, JSON.stringify({ admin }));
  const parts = { store: path, settings: { admin, ...settings } };
  const started = await startEntrepot(bench, bench.upstream, parts);
  return {
    process: started,
    adminUrl: `http://${admin}`,
    store: path,
    entrepot: async (...args) => runCommand(...programOf(MAIN), ...args, '--config', file),
    [Symbol.asyncDispose]: async () => started[Symbol.asyncDispose](),
  };
}

/** The run of its start, to its end. */
async function synced({ adminUrl }: Mirror): Promise<void> {
  for (;;) {
    const answer = await fetch(`${adminUrl}/api/v1/sync/run`);
    const { running, last } = (await answer.json()) as SyncRunState;
    if (last && !last.isOk) throw new Error(`the sync went wrong: ${JSON.stringify(last)}`);
    if (last && !running) return;
    await sleep(100);
  }
}
