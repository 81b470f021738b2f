import type { BenchProcess } from './bench-process.ts';
import { BUDGETS, type Budget } from './budgets.ts';
import { curl } from './curl.ts';
import { startDockerRegistry } from './peers/docker-registry.ts';
import { OTHER_CHECKOUT, startEntrepot, startOtherCheckout } from './peers/entrepot.ts';
import { startNginx } from './peers/nginx.ts';
import { interleave } from './rounds.ts';
import { judge, type Row } from './row.ts';
import { blobUrl, type Workbench } from './workbench.ts';

const BLOB_BYTES = 1024 ** 3;
const ROUNDS = 7;
/** Blobs that each client fetches in a round, so that a round lasts about as long. */
const LOADS = [
  { clients: 1, blobs: 2 },
  { clients: 4, blobs: 1 },
] as const;

type Load = (typeof LOADS)[number];

interface Result {
  readonly gigabytesPerSecond: number;
  readonly cpuSecondsPerGigabyte: number;
}

/** A held blob to few clients on a fast link: what the machine can send, and what it costs. */
export async function measureBlobThroughput(bench: Workbench): Promise<Row[]> {
  bench.progress('blob: making a blob of 1 GiB');
  const { digest } = await bench.content.addBlob(BLOB_BYTES);
  await using scope = new AsyncDisposableStack();
  const started = [
    await startEntrepot(bench, bench.upstream),
    await startOtherCheckout(bench, bench.upstream),
    await startDockerRegistry(bench, bench.upstream),
    await startNginx(bench),
    await bench.startScript('bare Node', 'peers/bare-blob-server.ts', [
      `${bench.content.path}/blobs`,
    ]),
  ];
  const servers = started.filter((server) => server !== undefined);
  for (const server of servers) await bench.warm(scope.use(server), digest);
  const rows: Row[] = [];
  for (const load of LOADS) {
    const results = await interleave(
      servers,
      bench.options.rounds ?? ROUNDS,
      async (server, round) => {
        const result = await measure(server, digest, load);
        bench.progress(
          `blob: round ${round + 1}, ${load.clients} clients, ${server.name}: ` +
            `${result.gigabytesPerSecond.toFixed(2)} GB/s, ${result.cpuSecondsPerGigabyte.toFixed(3)} CPU s/GB`,
        );
        return result;
      },
    );
    rows.push(...compare(load, new Map(servers.map(({ name }, i) => [name, results[i] ?? []]))));
  }
  return rows;
}

async function measure(server: BenchProcess, digest: string, load: Load): Promise<Result> {
  const urls = Array.from({ length: load.blobs }, () => blobUrl(server, digest));
  const cpuBefore = server.cpuSeconds;
  const startedAt = performance.now();
  await Promise.all(Array.from({ length: load.clients }, () => curl(urls)));
  const seconds = (performance.now() - startedAt) / 1000;
  const gigabytes = (load.clients * load.blobs * BLOB_BYTES) / 1e9;
  return {
    gigabytesPerSecond: gigabytes / seconds,
    cpuSecondsPerGigabyte: (server.cpuSeconds - cpuBefore) / gigabytes,
  };
}

function compare({ clients }: Load, results: ReadonlyMap<string, readonly Result[]>): Row[] {
  const work = `held 1 GiB blob, ${clients} ${clients === 1 ? 'client' : 'clients'}`;
  const beside = (what: keyof Result, name: string, budget?: Budget): Row[] => {
    const values = (server: string): number[] =>
      results.get(server)?.map((result) => result[what]) ?? [];
    if (!results.has(name)) return [];
    const isCpu = what === 'cpuSecondsPerGigabyte';
    return [
      judge({
        work: `${work}: ${isCpu ? 'CPU' : 'throughput'}`,
        unit: isCpu ? 's/GB' : 'GB/s',
        entrepot: values('Entrepot'),
        peer: { name, values: values(name) },
        ...(budget && { budget }),
      }),
    ];
  };
  return [
    ...beside('gigabytesPerSecond', OTHER_CHECKOUT),
    ...beside('gigabytesPerSecond', 'docker-registry', BUDGETS.blobThroughputByRegistry),
    ...beside('gigabytesPerSecond', 'nginx', BUDGETS.blobThroughputByNginx),
    ...beside('gigabytesPerSecond', 'bare Node'),
    ...beside('cpuSecondsPerGigabyte', OTHER_CHECKOUT),
    ...beside('cpuSecondsPerGigabyte', 'docker-registry', BUDGETS.blobCpuByRegistry),
    ...beside('cpuSecondsPerGigabyte', 'nginx'),
    ...beside('cpuSecondsPerGigabyte', 'bare Node'),
  ];
}
