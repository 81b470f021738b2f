import { get, type IncomingMessage } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BenchProcess } from './bench-process.ts';
import { BUDGETS, type Budget } from './budgets.ts';
import { startEntrepot } from './peers/entrepot.ts';
import { interleave } from './rounds.ts';
import { judge, type Row } from './row.ts';
import { blobUrl, REPOSITORY, type Workbench } from './workbench.ts';

const MIB = 1024 ** 2;
const ROUNDS = 3;

interface Link {
  readonly name: string;
  readonly link: Parameters<Workbench['startLink']>[0];
  readonly blobBytes: number;
  readonly budget?: Budget;
}

const LINKS: readonly Link[] = [
  {
    name: 'each connection 10 of 50 MB/s, 50 ms',
    link: { megabytesPerSecond: 50, roundTripMs: 50, eachMegabytesPerSecond: 10 },
    blobBytes: 256 * MIB,
    budget: BUDGETS.segmentsByDirect,
  },
  {
    name: '50 MB/s, 50 ms',
    link: { megabytesPerSecond: 50, roundTripMs: 50 },
    blobBytes: 256 * MIB,
    budget: BUDGETS.coldTotalByDirect,
  },
  {
    // A packet in a hundred is lost, and a round trip with it.
    name: '50 MB/s, 150 ms with stalls',
    link: { megabytesPerSecond: 50, roundTripMs: 150, stallBytes: 150_000 },
    blobBytes: 40 * MIB,
  },
];

interface Pull {
  readonly seconds: number;
  /** That left the link by those of the blob. */
  readonly bytes: number;
}

/** A large blob that nobody has pulled before, over links that are faster with more than one connection, or not. */
export async function measureSegments(bench: Workbench): Promise<Row[]> {
  const rows: Row[] = [];
  for (const link of LINKS) rows.push(...(await measureLink(bench, link)));
  return rows;
}

async function measureLink(
  bench: Workbench,
  { name, link: shape, blobBytes, budget }: Link,
): Promise<Row[]> {
  await using scope = new AsyncDisposableStack();
  const link = scope.use(await bench.startLink(shape));
  const servers = [link, scope.use(await startEntrepot(bench, link))];
  const results = await interleave(
    servers,
    bench.options.rounds ?? ROUNDS,
    async (server, round) => {
      const result = await pull(bench, { server, link, size: blobBytes });
      const { seconds, bytes } = result;
      bench.progress(
        `segments: ${name}: round ${round + 1}, ${server.name}: ${seconds.toFixed(2)} s, ${bytes.toFixed(4)} × the bytes`,
      );
      return result;
    },
  );
  const [direct = [], own = []] = results;
  const work = `cold ${blobBytes / MIB} MiB blob, ${name}`;
  return [
    judge({
      work: `${work}: total`,
      unit: 's',
      entrepot: own.map(({ seconds }) => seconds),
      peer: { name: 'direct', values: direct.map(({ seconds }) => seconds) },
      ...(budget && { budget }),
    }),
    judge({
      work: `${work}: upstream bytes`,
      unit: '×',
      entrepot: own.map(({ bytes }) => Math.round(bytes * 1000) / 1000),
      budget: BUDGETS.segmentsBytes,
    }),
  ];
}

async function pull(
  bench: Workbench,
  { server, link, size }: { server: BenchProcess; link: BenchProcess; size: number },
): Promise<Pull> {
  const tag = bench.newTag();
  const config = await bench.content.addConfig(tag);
  const layer = await bench.content.addBlob(size);
  await bench.content.addImage(tag, { config, layers: [layer] });
  // As any client does, from which the mirror knows the size.
  await read(`http://127.0.0.1:${server.port}/v2/${REPOSITORY}/manifests/${tag}`);
  await bench.settle();
  do await sleep(200);
  while (((await link.ask())['bytes'] ?? 0) > 0);
  const startedAt = performance.now();
  const bytes = await read(blobUrl(server, layer.digest));
  const seconds = (performance.now() - startedAt) / 1000;
  if (bytes !== size) throw new Error(`${server.name} sent ${bytes} of ${size} bytes`);
  await bench.settle();
  const offLink = await link.ask();
  return { seconds, bytes: (offLink['bytes'] ?? NaN) / size };
}

/** Resolves with how many bytes came. */
async function read(url: string): Promise<number> {
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    get(url, { agent: false }, resolve).on('error', reject);
  });
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) bytes += chunk.length;
  return bytes;
}
