import { setTimeout as sleep } from 'node:timers/promises';
import type { BenchProcess } from './bench-process.ts';
import { BUDGETS } from './budgets.ts';
import { curl } from './curl.ts';
import { startDockerRegistry } from './peers/docker-registry.ts';
import { OTHER_CHECKOUT, startEntrepot, startOtherCheckout } from './peers/entrepot.ts';
import { quiet } from './quiet.ts';
import { interleave, median } from './rounds.ts';
import { judge, type Row } from './row.ts';
import { blobUrl, type Workbench } from './workbench.ts';

const BLOB_BYTES = 64 * 1024 ** 2;
const CLIENTS = 100;
const LINK = { megabytesPerSecond: 20, roundTripMs: 20 };
const ROUNDS = 3;
/** The peer's clients share the link with each other: it takes minutes, and tells its way at once. */
const PEER_PATIENCE_MS = 10_000;

/** Many clients at once for what is not held: one transfer, and nobody later than if alone. */
export async function measureColdBurst(bench: Workbench): Promise<Row[]> {
  await using link = await bench.startLink(LINK);
  await using entrepot = await startEntrepot(bench, link);
  await using other = await startOtherCheckout(bench, link);
  const servers = [entrepot, ...(other ? [other] : [])];
  // The first one is to warm up the process.
  for (const server of servers) await pull(bench, server, 1);
  const rounds = bench.options.rounds ?? ROUNDS;
  const [own = [], before] = await interleave(servers, rounds, async (server, round) => {
    const lone = median((await pull(bench, server, 1)).seconds);
    const idle = server.cpuSeconds;
    const burst = await pull(bench, server, CLIENTS);
    const cpu = server.cpuSeconds - idle;
    const middle = median(burst.seconds);
    const amplification = burst.upstreamBytes / BLOB_BYTES;
    bench.progress(
      `burst: round ${round + 1}, ${server.name}: alone ${lone.toFixed(2)} s, median of ${CLIENTS} ` +
        `${middle.toFixed(2)} s, last ${Math.max(...burst.seconds).toFixed(2)} s, ` +
        `amplification ${amplification.toFixed(2)}, CPU ${cpu.toFixed(2)} s`,
    );
    return { lone, middle, amplification };
  });
  const work = `${CLIENTS} clients, one cold 64 MiB blob, ${LINK.megabytesPerSecond} MB/s link`;
  const peer = await askPeer(bench, link);
  const middle = {
    work: `${work}: median client`,
    unit: 's',
    entrepot: own.map((each) => each.middle),
  };
  const values = before?.map((each) => each.middle);
  return [
    judge({
      work: `${work}: upstream bytes`,
      unit: '× the blob',
      entrepot: own.map((each) => each.amplification),
      budget: BUDGETS.burstAmplification,
      ...(peer !== undefined && {
        note: `docker-registry asked for ${peer} times the blob in the first ${PEER_PATIENCE_MS / 1000} s`,
      }),
    }),
    judge({
      ...middle,
      peer: { name: 'a lone client', values: own.map((each) => each.lone) },
      budget: BUDGETS.burstMedian,
    }),
    ...(values ? [judge({ ...middle, peer: { name: OTHER_CHECKOUT, values } })] : []),
  ];
}

async function pull(
  bench: Workbench,
  server: BenchProcess,
  clients: number,
): Promise<{ seconds: number[]; upstreamBytes: number }> {
  const { digest } = await bench.content.addBlob(BLOB_BYTES);
  await bench.settle();
  await quiet();
  const urls = Array.from({ length: clients }, () => blobUrl(server, digest));
  const downloads = await curl(urls, { parallel: clients });
  const { blobBytes = 0 } = await bench.upstream.ask();
  return { seconds: downloads.map(({ seconds }) => seconds), upstreamBytes: blobBytes };
}

/** How many times docker-registry asks for the blob. */
async function askPeer(bench: Workbench, link: BenchProcess): Promise<number | undefined> {
  const registry = await startDockerRegistry(bench, link);
  if (!registry) return undefined;
  await using server = registry;
  const { digest } = await bench.content.addBlob(BLOB_BYTES);
  await bench.settle();
  const stop = new AbortController();
  const urls = Array.from({ length: CLIENTS }, () => blobUrl(server, digest));
  const pulling = curl(urls, { parallel: CLIENTS, signal: stop.signal }).catch(() => undefined);
  await Promise.race([pulling, sleep(PEER_PATIENCE_MS)]);
  const { blobGets } = await bench.upstream.ask();
  stop.abort();
  await pulling;
  bench.progress(`burst: docker-registry asked upstream ${blobGets} times`);
  return blobGets;
}
