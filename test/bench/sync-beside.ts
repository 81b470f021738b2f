import { once } from 'node:events';
import { request, type IncomingMessage } from 'node:http';
import { json } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import type { SyncReport, SyncRunState } from '../../src/api/sync-api.ts';
import { freePort } from './bench-process.ts';
import { BUDGETS } from './budgets.ts';
import { startEntrepot } from './peers/entrepot.ts';
import { quiet } from './quiet.ts';
import { median } from './rounds.ts';
import { judge, type Row } from './row.ts';
import { blobUrl, type Workbench } from './workbench.ts';

/**
 * Far away, and with room beside the cap: what queues on a narrow link is behind the mirror, and the
 * same for a pull that goes past it.
 */
const LINK = { megabytesPerSecond: 1000, roundTripMs: 20 };
const CAP_MIB = 20;
const MIB = 1024 ** 2;
/** Fetched at a time, each an image of one layer: a run of some six seconds. */
const IMAGES = 4;
const LAYER_BYTES = 32 * MIB;
const PULLED_BYTES = 64 * 1024;
const PULLS = 30;
const ROUNDS = 7;

/** Milliseconds to the first byte of the body, medians. */
interface FirstByte {
  readonly cold: number;
  readonly held: number;
}

/** What a pull notices of a sync that takes all that it may. */
export async function measureSyncBeside(bench: Workbench): Promise<Row[]> {
  await using link = await bench.startLink(LINK);
  const admin = `127.0.0.1:${await freePort()}`;
  const rule = { image: 'upstream.test/bench/image', tags: tagNames(), referrers: false };
  const sync = { schedule: '0 0 1 1 *', bandwidth: `${CAP_MIB}MiB/s`, rules: [rule] };
  await using entrepot = await startEntrepot(bench, link, { settings: { admin, sync } });
  const { digest: held } = await bench.content.addBlob(PULLED_BYTES);
  await bench.warm(entrepot, held);
  const runs = new SyncRuns(`http://${admin}/api/v1/sync/run`);
  // The one of the start, which finds no tag yet.
  await runs.end();
  const measure = async (): Promise<FirstByte> => {
    const urls = (await newBlobs(bench)).map((digest) => blobUrl(entrepot, digest));
    return pull(urls, blobUrl(entrepot, held));
  };
  await measure();

  const rounds: { idle: FirstByte; busy: FirstByte; capShare: number }[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    await publish(bench);
    const urls = (await newBlobs(bench)).map((digest) => blobUrl(entrepot, digest));
    await bench.settle();
    await quiet();
    const idle = await measure();
    await runs.begin();
    const busy = await pull(urls, blobUrl(entrepot, held));
    const { bytes, startedAt, endedAt } = await runs.endOfBusy();
    const capShare = bytes / MIB / ((endedAt - startedAt) / 1000) / CAP_MIB;
    rounds.push({ idle, busy, capShare });
    bench.progress(
      `sync: round ${round + 1}, cold ${idle.cold.toFixed(1)} ms idle, ${busy.cold.toFixed(1)} ms beside; ` +
        `held ${idle.held.toFixed(2)} ms idle, ${busy.held.toFixed(2)} ms beside; ` +
        `sync at ${(capShare * 100).toFixed(0)} % of its cap`,
    );
  }
  const share = median(rounds.map(({ capShare }) => capShare));
  return (['cold', 'held'] as const).map((kind) =>
    judge({
      work: `${kind} blob beside a sync at its cap of ${CAP_MIB} MiB/s: first byte`,
      unit: 'ms',
      entrepot: rounds.map(({ busy }) => busy[kind]),
      peer: { name: 'the idle mirror', values: rounds.map(({ idle }) => idle[kind]) },
      budget: BUDGETS.syncFirstByteByIdle,
      note: `${LINK.roundTripMs} ms link; sync at ${(share * 100).toFixed(0)} % of its cap over whole runs`,
    }),
  );
}

/** The runs of one mirror, by its admin API. */
class SyncRuns {
  readonly #url: string;

  constructor(url: string) {
    this.#url = url;
  }

  /** Resolves once bytes come as fast as they may. */
  async begin(): Promise<void> {
    await this.#ask('POST');
    for (;;) {
      const { running } = await this.#ask('GET');
      if (running && running.bytes.done > (CAP_MIB * MIB) / 2) return;
      if (!running) throw new Error('the sync was over before it was measured');
      await sleep(20);
    }
  }

  async end(): Promise<SyncReport> {
    for (;;) {
      const { running, last } = await this.#ask('GET');
      if (!running && last) return last;
      await sleep(50);
    }
  }

  /** Throws unless the run has gone on until now, and then fetched all. */
  async endOfBusy(): Promise<SyncReport> {
    const { running } = await this.#ask('GET');
    if (running?.phase !== 'fetching') throw new Error('the sync ended before the measurement');
    const report = await this.end();
    if (!report.isOk || report.bytes !== IMAGES * LAYER_BYTES) {
      throw new Error(`the sync went wrong: ${JSON.stringify(report)}`);
    }
    return report;
  }

  async #ask(method: 'GET' | 'POST'): Promise<SyncRunState> {
    const response = await send(this.#url, method);
    return (await json(response)) as SyncRunState;
  }
}

/** Cold and held in turn, each on a connection of its own. */
async function pull(cold: readonly string[], held: string): Promise<FirstByte> {
  const times = { cold: [] as number[], held: [] as number[] };
  for (const url of cold) {
    times.cold.push(await firstByteMs(url));
    times.held.push(await firstByteMs(held));
  }
  return { cold: median(times.cold), held: median(times.held) };
}

async function firstByteMs(url: string): Promise<number> {
  const startedAt = performance.now();
  const response = await send(url, 'GET');
  const chunks = (response as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
  await chunks.next();
  const firstByte = performance.now() - startedAt;
  while (!(await chunks.next()).done);
  if (response.statusCode !== 200) throw new Error(`${url}: ${response.statusCode}`);
  return firstByte;
}

async function send(url: string, method: 'GET' | 'POST'): Promise<IncomingMessage> {
  const headers = method === 'POST' ? { 'Content-Type': 'application/json' } : {};
  const asking = request(url, { method, headers, agent: false });
  asking.end(method === 'POST' ? '{}' : undefined);
  const [response] = (await once(asking, 'response')) as [IncomingMessage];
  return response;
}

async function newBlobs({ content }: Workbench): Promise<string[]> {
  const digests: string[] = [];
  while (digests.length < PULLS) digests.push((await content.addBlob(PULLED_BYTES)).digest);
  return digests;
}

/** From now on the tags mean images that nobody has. */
async function publish({ content }: Workbench): Promise<void> {
  for (const tag of tagNames()) {
    const layer = await content.addBlob(LAYER_BYTES);
    await content.addImage(tag, { config: layer, layers: [layer] });
  }
}

function tagNames(): string[] {
  return Array.from({ length: IMAGES }, (_, image) => `synced-${image}`);
}
