import { writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { once } from 'node:events';
import { json } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import type { SyncReport, SyncRunState } from '../../src/api/sync-api.ts';
import { toolPath } from '../clients/tools.ts';
import { freePort, type BenchProcess } from './bench-process.ts';
import { BUDGETS } from './budgets.ts';
import { runCommand } from './command-run.ts';
import { startEntrepot } from './peers/entrepot.ts';
import { interleave, median } from './rounds.ts';
import { judge, type Row } from './row.ts';
import type { Workbench } from './workbench.ts';

/** A satellite is farther, another continent is not. */
const LINK = { megabytesPerSecond: 1000, roundTripMs: 50 };
const IMAGES = 100;
const LAYERS = 5;
const LAYER_BYTES = 20 * 1024;
const ROUNDS = 3;
/** Images at a time: the default of Entrepot. */
const PARALLEL = 4;

/** Of one run: its time, what the upstream was asked, and CPU seconds where they were counted. */
interface Run {
  readonly seconds: number;
  readonly requests: number;
  readonly cpuSeconds?: number;
}

/** What each run of one subject took: the first, and one where nothing has changed. */
type Runs = readonly [first: Run, second: Run];

/** Many small images from afar: what counts is how many questions are asked, and how many at a time. */
export async function measureSyncImages(bench: Workbench): Promise<Row[]> {
  await publish(bench);
  await using link = await bench.startLink(LINK);
  const subjects = [syncByEntrepot, syncByRegsync];
  const [own = [], peer = []] = await interleave(
    subjects,
    bench.options.rounds ?? ROUNDS,
    async (sync, round) => {
      const runs = await sync(bench, link);
      const told = runs.map(({ seconds, requests }) => `${seconds.toFixed(1)} s, ${requests}`);
      bench.progress(`sync of many: round ${round + 1}, ${sync.name}: ${told.join('; ')}`);
      return runs;
    },
  );
  return (['first', 'second'] as const).flatMap((which, at) => rowsOf(which, at, own, peer));
}

function rowsOf(which: 'first' | 'second', at: number, own: Runs[], peer: Runs[]): Row[] {
  const runs = [own, peer].map((each) => each.map((both) => both[at] ?? both[0]));
  const [entrepot = [], regsync = []] = runs;
  const what = which === 'first' ? 'from nothing' : 'with nothing changed';
  const work = `sync of ${IMAGES} images of ${LAYERS} layers over ${LINK.roundTripMs} ms, ${what}`;
  const cpu = median(entrepot.map(({ cpuSeconds = NaN }) => cpuSeconds));
  return [
    judge({
      work,
      unit: 's',
      entrepot: entrepot.map(({ seconds }) => seconds),
      peer: { name: 'regsync', values: regsync.map(({ seconds }) => seconds) },
      budget: BUDGETS.syncImagesByRegsync,
      note: `${cpu.toFixed(1)} s of CPU`,
    }),
    {
      ...judge({
        work: `${work}: requests beyond regsync's`,
        unit: '',
        entrepot: entrepot.map(({ requests }, round) => requests - (regsync[round]?.requests ?? 0)),
        budget: BUDGETS.syncRequestsBeyondRegsync,
        note: `${median(regsync.map(({ requests }) => requests))} by regsync`,
      }),
    },
  ];
}

/** Into a store of its own, on defaults: what is attached to the images is looked for as well. */
async function syncByEntrepot(bench: Workbench, link: BenchProcess): Promise<Runs> {
  const admin = `127.0.0.1:${await freePort()}`;
  const rule = { image: 'upstream.test/bench/image', tags: { globs: ['many-*'] } };
  const sync = { schedule: '0 0 1 1 *', rules: [rule] };
  await bench.upstream.ask();
  await using entrepot = await startEntrepot(bench, link, { settings: { admin, sync } });
  const url = `http://${admin}/api/v1/sync/run`;
  const first = await ended(url);
  const atFirst = entrepot.cpuSeconds;
  const { requests: asked = NaN } = await bench.upstream.ask();
  await send(url, 'POST');
  const second = await ended(url);
  const { requests = NaN } = await bench.upstream.ask();
  return [
    { ...timeOf(first), requests: asked, cpuSeconds: atFirst },
    { ...timeOf(second), requests, cpuSeconds: entrepot.cpuSeconds - atFirst },
  ];
}

/** Into a layout on the disk, so that it writes as little as Entrepot does. */
async function syncByRegsync(bench: Workbench, link: BenchProcess): Promise<Runs> {
  const file = bench.newPath('regsync.json');
  const registry = `127.0.0.1:${link.port}`;
  // JSON is YAML.
  await writeFile(
    file,
    JSON.stringify({
      version: 1,
      creds: [{ registry, tls: 'disabled' }],
      defaults: { parallel: PARALLEL },
      sync: [
        {
          source: `${registry}/bench/image`,
          target: `ocidir://${bench.newPath('layout')}`,
          type: 'repository',
          tags: { allow: ['many-.*'] },
        },
      ],
    }),
  );
  const runs: Run[] = [];
  await bench.upstream.ask();
  while (runs.length < 2) {
    const { seconds } = await runCommand(toolPath('regsync'), 'once', '-c', file);
    const { requests = NaN } = await bench.upstream.ask();
    runs.push({ seconds, requests });
  }
  return [runs[0]!, runs[1]!];
}

async function ended(url: string): Promise<SyncReport> {
  for (;;) {
    const { running, last } = await send(url, 'GET');
    if (!running && last) {
      const images = last.images.fetched + last.images.kept;
      if (last.isOk && images === IMAGES) return last;
      throw new Error(`the sync went wrong: ${JSON.stringify(last)}`);
    }
    await sleep(50);
  }
}

function timeOf({ startedAt, endedAt }: SyncReport): Pick<Run, 'seconds'> {
  return { seconds: (endedAt - startedAt) / 1000 };
}

async function send(url: string, method: 'GET' | 'POST'): Promise<SyncRunState> {
  const headers = method === 'POST' ? { 'Content-Type': 'application/json' } : {};
  const asking = request(url, { method, headers, agent: false });
  asking.end(method === 'POST' ? '{}' : undefined);
  const [response] = await once(asking, 'response');
  return (await json(response)) as SyncRunState;
}

async function publish({ content }: Workbench): Promise<void> {
  for (let image = 0; image < IMAGES; image += 1) {
    const blobs = [];
    while (blobs.length <= LAYERS) blobs.push(await content.addBlob(LAYER_BYTES));
    const [config, ...layers] = blobs;
    await content.addImage(`many-${image}`, { config: config!, layers });
  }
}
