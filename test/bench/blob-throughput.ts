import type { BenchProcess } from './bench-process.ts';
import { BUDGETS, type Budget } from './budgets.ts';
import type { BenchBlob } from './content.ts';
import { curl } from './curl.ts';
import { OTHER_CHECKOUT, startEntrepot, startOtherCheckout } from './peers/entrepot.ts';
import { startMirrors } from './peers/mirrors.ts';
import { startNginx } from './peers/nginx.ts';
import { PEER_NAMES } from './peers/peer-name.ts';
import { interleave } from './rounds.ts';
import { judge, type Row } from './row.ts';
import type { TlsFiles } from './tls-files.ts';
import { blobUrl, manifestUrl, type Workbench } from './workbench.ts';

const BLOB_BYTES = 1024 ** 3;
const SHORT_BLOB_BYTES = BLOB_BYTES / 4;
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
export async function measureBlobThroughput(bench: Workbench, tls?: TlsFiles): Promise<Row[]> {
  const { isShort } = bench.options;
  const bytes = isShort ? SHORT_BLOB_BYTES : BLOB_BYTES;
  const blob = await bench.content.addBlob(bytes);
  const { digest } = blob;
  const tag = bench.newTag();
  await bench.content.addImage(tag, { config: await bench.content.addConfig(tag), layers: [blob] });
  await using scope = new AsyncDisposableStack();
  const mirrors = await startMirrors(bench, bench.upstream, tls);
  const started = [
    await startEntrepot(bench, bench.upstream, { tls }),
    await startOtherCheckout(bench, bench.upstream, tls),
    ...mirrors,
    await startNginx(bench, tls),
    await startBareBlobServer(bench, tls),
  ];
  const servers = started.filter((server) => server !== undefined);
  for (const server of servers) scope.use(server);
  // Some fetch a blob with its image only.
  const headers = ['Accept: application/vnd.oci.image.manifest.v1+json'];
  for (const mirror of mirrors) await curl([manifestUrl(mirror, tag)], { headers });
  for (const server of servers) await bench.warm(server, digest);
  const rows: Row[] = [];
  for (const load of LOADS) {
    const work = `held ${isShort ? '256 MiB' : '1 GiB'} blob${tls ? ' over TLS' : ''}, ${load.clients} ${load.clients === 1 ? 'client' : 'clients'}`;
    const results = await interleave(
      servers,
      bench.options.rounds ?? ROUNDS,
      async (server, round) => {
        const result = await measure(server, blob, load);
        bench.progress(
          `blob: round ${round + 1}, ${work}, ${server.name}: ` +
            `${result.gigabytesPerSecond.toFixed(2)} GB/s, ${result.cpuSecondsPerGigabyte.toFixed(3)} CPU s/GB`,
        );
        return result;
      },
    );
    rows.push(...compare(work, new Map(servers.map(({ name }, i) => [name, results[i] ?? []]))));
  }
  return rows;
}

/** The least that Node can do to send a file. */
export async function startBareBlobServer(
  bench: Workbench,
  tls?: TlsFiles,
  protocol: 'http1' | 'http2' = 'http1',
): Promise<BenchProcess> {
  const name = protocol === 'http2' ? 'bare Node, HTTP/2' : 'bare Node';
  const args = [`${bench.content.path}/blobs`, ...(tls ? [tls.cert, tls.key, protocol] : [])];
  const options = { isTls: tls !== undefined };
  return bench.startScript(name, 'peers/bare-blob-server.ts', args, options);
}

async function measure(
  server: BenchProcess,
  { digest, size }: BenchBlob,
  load: Load,
): Promise<Result> {
  const urls = Array.from({ length: load.blobs }, () => blobUrl(server, digest));
  const cpuBefore = server.cpuSeconds;
  const startedAt = performance.now();
  await Promise.all(Array.from({ length: load.clients }, () => curl(urls)));
  const seconds = (performance.now() - startedAt) / 1000;
  const gigabytes = (load.clients * load.blobs * size) / 1e9;
  return {
    gigabytesPerSecond: gigabytes / seconds,
    cpuSecondsPerGigabyte: (server.cpuSeconds - cpuBefore) / gigabytes,
  };
}

function compare(work: string, results: ReadonlyMap<string, readonly Result[]>): Row[] {
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
    ...PEER_NAMES.flatMap((name) =>
      beside('gigabytesPerSecond', name, BUDGETS.blobThroughputByPeer),
    ),
    ...beside('gigabytesPerSecond', 'bare Node', BUDGETS.blobThroughputByNode),
    ...beside('cpuSecondsPerGigabyte', OTHER_CHECKOUT),
    ...beside('cpuSecondsPerGigabyte', 'docker-registry', BUDGETS.blobCpuByRegistry),
    ...beside('cpuSecondsPerGigabyte', 'distribution', BUDGETS.blobCpuByRegistry),
    ...beside('cpuSecondsPerGigabyte', 'zot'),
    ...beside('cpuSecondsPerGigabyte', 'nginx'),
    ...beside('cpuSecondsPerGigabyte', 'bare Node'),
  ];
}
