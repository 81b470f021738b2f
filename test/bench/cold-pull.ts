import { get, type IncomingMessage } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BenchProcess } from './bench-process.ts';
import { BUDGETS } from './budgets.ts';
import { startDockerRegistry } from './peers/docker-registry.ts';
import { OTHER_CHECKOUT, startEntrepot, startOtherCheckout } from './peers/entrepot.ts';
import { interleave, median } from './rounds.ts';
import { judge, type Row } from './row.ts';
import { blobUrl, type Workbench } from './workbench.ts';

const BLOB_BYTES = 128 * 1024 ** 2;
const LINK = { megabytesPerSecond: 50, roundTripMs: 50 };
const ROUNDS = 5;

interface Pull {
  readonly seconds: number;
  /** From the first byte off the link to the client's first byte of the body. */
  readonly firstByteMs: number;
}

/** What a mirror adds to a download that it has to pass on. */
export async function measureColdPull(bench: Workbench): Promise<Row[]> {
  await using scope = new AsyncDisposableStack();
  const link = scope.use(await bench.startLink(LINK));
  const entrepot = scope.use(await startEntrepot(bench, link));
  const other = await startOtherCheckout(bench, link);
  if (other) scope.use(other);
  const registry = await startDockerRegistry(bench, link);
  if (registry) scope.use(registry);
  // Straight through the link, and through each mirror behind it.
  const servers = [link, entrepot, other, registry].filter((server) => server !== undefined);
  for (const server of servers) await pull(bench, server, link);
  const results = await interleave(
    servers,
    bench.options.rounds ?? ROUNDS,
    async (server, round) => {
      const result = await pull(bench, server, link);
      bench.progress(
        `cold: round ${round + 1}, ${server.name}: ${result.seconds.toFixed(3)} s, ` +
          `first byte after ${result.firstByteMs.toFixed(1)} ms`,
      );
      return result;
    },
  );
  const pulls = new Map(servers.map(({ name }, position) => [name, results[position] ?? []]));
  const [direct = [], own = []] = results;
  const peer = pulls.get('docker-registry');
  const before = pulls.get(OTHER_CHECKOUT);
  const seconds = (pulls: readonly Pull[]): number[] => pulls.map((each) => each.seconds);
  const firstByteMs = (pulls: readonly Pull[]): number[] => pulls.map((each) => each.firstByteMs);
  const work = `cold 128 MiB blob, ${LINK.megabytesPerSecond} MB/s and ${LINK.roundTripMs} ms link`;
  const beside = (what: string, unit: string, of: (pulls: readonly Pull[]) => number[]): Row[] =>
    before
      ? [
          judge({
            work: `${work}: ${what}`,
            unit,
            entrepot: of(own),
            peer: { name: OTHER_CHECKOUT, values: of(before) },
          }),
        ]
      : [];
  return [
    ...beside('total', 's', seconds),
    ...beside("first byte after upstream's", 'ms', firstByteMs),
    judge({
      work: `${work}: total`,
      unit: 's',
      entrepot: seconds(own),
      peer: { name: 'direct', values: seconds(direct) },
      budget: BUDGETS.coldTotalByDirect,
      ...(peer && { note: `docker-registry ${median(seconds(peer)).toFixed(2)} s` }),
    }),
    judge({
      work: `${work}: first byte after upstream's`,
      unit: 'ms',
      entrepot: firstByteMs(own),
      budget: BUDGETS.coldFirstByteMs,
      ...(peer && { note: `docker-registry ${median(firstByteMs(peer)).toFixed(2)} ms` }),
    }),
  ];
}

/** A blob that nobody has pulled before, on a connection that nobody has used before. */
async function pull(bench: Workbench, server: BenchProcess, link: BenchProcess): Promise<Pull> {
  const { digest } = await bench.content.addBlob(BLOB_BYTES);
  await bench.settle();
  await drain(link);
  const startedAt = monotonicMs();
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    get(blobUrl(server, digest), { agent: false }, resolve).on('error', reject);
  });
  let bytes = 0;
  let firstByteAt: number | undefined;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    firstByteAt ??= monotonicMs();
    bytes += chunk.length;
  }
  const endedAt = monotonicMs();
  if (bytes !== BLOB_BYTES || firstByteAt === undefined) {
    throw new Error(`${server.name} sent ${bytes} of ${BLOB_BYTES} bytes`);
  }
  const offLink = await link.ask();
  return {
    seconds: (endedAt - startedAt) / 1000,
    firstByteMs: firstByteAt - (offLink['firstByteAt'] ?? NaN),
  };
}

/** What has left the upstream may still be on its way. */
async function drain(link: BenchProcess): Promise<void> {
  do await sleep(200);
  while (((await link.ask())['bytes'] ?? 0) > 0);
}

/** The same in every process of the machine. */
function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
