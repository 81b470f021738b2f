import { measureBlobThroughput, startBareBlobServer } from './blob-throughput.ts';
import { curl } from './curl.ts';
import { measureManifestRate } from './manifest-rate.ts';
import { interleave } from './rounds.ts';
import { judge, type Row } from './row.ts';
import { createTlsFiles, type TlsFiles } from './tls-files.ts';
import { blobUrl, type Workbench } from './workbench.ts';

const BLOB_BYTES = 512 * 1024 ** 2;
const ROUNDS = 7;

/** The rows of held blobs and manifests again over TLS, and what HTTP/2 would cost. */
export async function measureHttps(bench: Workbench): Promise<Row[]> {
  const tls = await createTlsFiles(bench);
  return [
    ...(await measureBlobThroughput(bench, tls)),
    ...(await measureManifestRate(bench, tls)),
    ...(await measureHttp2(bench, tls)),
  ];
}

/** The same bare server on either protocol: what there is to win before anything of Entrepot's is in it. */
async function measureHttp2(bench: Workbench, tls: TlsFiles): Promise<Row[]> {
  const { digest } = await bench.content.addBlob(BLOB_BYTES);
  await using one = await startBareBlobServer(bench, tls, 'http1');
  await using two = await startBareBlobServer(bench, tls, 'http2');
  const rounds = bench.options.rounds ?? ROUNDS;
  const [http2 = [], http1 = []] = await interleave([two, one], rounds, async (server, round) => {
    const cpuBefore = server.cpuSeconds;
    const begun = performance.now();
    await curl([blobUrl(server, digest)], { isHttp2: server === two });
    const seconds = (performance.now() - begun) / 1000;
    const result = {
      rate: BLOB_BYTES / 1e9 / seconds,
      cpu: (server.cpuSeconds - cpuBefore) / (BLOB_BYTES / 1e9),
    };
    bench.progress(
      `https: round ${round + 1}, ${server.name}: ${result.rate.toFixed(2)} GB/s, ${result.cpu.toFixed(2)} CPU s/GB`,
    );
    return result;
  });
  const work = 'not Entrepot: a bare Node server that sends 512 MiB over HTTP/2';
  return [
    judge({
      work,
      unit: 'GB/s',
      entrepot: http2.map(({ rate }) => rate),
      peer: { name: 'over HTTP/1.1', values: http1.map(({ rate }) => rate) },
    }),
    judge({
      work: `${work}: CPU`,
      unit: 's/GB',
      entrepot: http2.map(({ cpu }) => cpu),
      peer: { name: 'over HTTP/1.1', values: http1.map(({ cpu }) => cpu) },
    }),
  ];
}
