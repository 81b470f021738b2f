import { rm } from 'node:fs/promises';
import type { BenchProcess } from './bench-process.ts';
import { BUDGETS, type Budget } from './budgets.ts';
import { runCommand } from './command-run.ts';
import type { BenchBlob } from './content.ts';
import { OTHER_CHECKOUT, startEntrepot, startOtherCheckout } from './peers/entrepot.ts';
import { startMirrors } from './peers/mirrors.ts';
import { interleave } from './rounds.ts';
import { judge, type Row } from './row.ts';
import { REPOSITORY, type Workbench } from './workbench.ts';

const LAYERS = 40;
const LAYER_BYTES = 8 * 1024 ** 2;
const ROUNDS = 5;

interface Pull {
  readonly seconds: number;
  /** Of the server, user and system. */
  readonly cpu: number;
  readonly user: number;
  /** By the bytes of the image. */
  readonly written: number;
}

/** A whole image that nobody has pulled before, by skopeo, over a link that is never the bottleneck. */
export async function measureColdImage(bench: Workbench): Promise<Row[]> {
  await using scope = new AsyncDisposableStack();
  const entrepot = scope.use(await startEntrepot(bench, bench.upstream));
  const other = await startOtherCheckout(bench, bench.upstream);
  if (other) scope.use(other);
  const mirrors = await startMirrors(bench, bench.upstream);
  for (const mirror of mirrors) scope.use(mirror);
  const servers = [bench.upstream, entrepot, ...(other ? [other] : []), ...mirrors];
  for (const server of servers) await pull(bench, server);
  const results = await interleave(
    servers,
    bench.options.rounds ?? ROUNDS,
    async (server, round) => {
      const result = await pull(bench, server);
      const { seconds, cpu, user, written } = result;
      bench.progress(
        `image: round ${round + 1}, ${server.name}: ${seconds.toFixed(2)} s, CPU ${cpu.toFixed(2)} s ` +
          `(user ${user.toFixed(2)}), written ${written.toFixed(3)} ×`,
      );
      return result;
    },
  );
  const of = (name: string, what: keyof Pull): number[] | undefined => {
    const pulls = results[servers.findIndex((server) => server.name === name)];
    return pulls?.map((each) => each[what]);
  };
  const beside = (what: keyof Pull, name: string, budget?: Budget): Row[] => {
    const values = of(name, what);
    if (!values) return [];
    const isTime = what === 'seconds';
    return [
      judge({
        work: `${WORK}: ${isTime ? 'total' : "the server's CPU"}`,
        unit: 's',
        entrepot: of('Entrepot', what) ?? [],
        peer: { name, values },
        ...(budget && { budget }),
      }),
    ];
  };
  return [
    ...beside('seconds', OTHER_CHECKOUT),
    ...beside('cpu', OTHER_CHECKOUT),
    ...beside('seconds', bench.upstream.name, BUDGETS.coldImageByDirect),
    ...mirrors.flatMap(({ name }) => [
      ...beside('seconds', name),
      ...beside('cpu', name, BUDGETS.coldImageCpuByPeer),
    ]),
    judge({
      work: `${WORK}: written to the disk`,
      unit: '× the image',
      entrepot: of('Entrepot', 'written') ?? [],
      budget: BUDGETS.coldImageWritten,
    }),
  ];
}

const WORK = `cold image of ${LAYERS} × ${LAYER_BYTES / 1024 ** 2} MiB, link without a limit`;

async function pull(bench: Workbench, server: BenchProcess): Promise<Pull> {
  const layers: BenchBlob[] = [];
  for (let layer = 0; layer < LAYERS; layer += 1) {
    layers.push(await bench.content.addBlob(LAYER_BYTES));
  }
  const tag = bench.newTag();
  await bench.content.addImage(tag, { config: await bench.content.addConfig(tag), layers });
  const folder = bench.newPath('image');
  const before = { cpu: server.cpu, written: server.writtenBytes };
  const { seconds } = await runCommand(
    'skopeo',
    'copy',
    '--quiet',
    '--insecure-policy',
    '--src-tls-verify=false',
    `docker://127.0.0.1:${server.port}/${REPOSITORY}:${tag}`,
    `dir:${folder}`,
  );
  await bench.settle();
  const user = server.cpu.user - before.cpu.user;
  const cpu = user + server.cpu.system - before.cpu.system;
  const written = (server.writtenBytes - before.written) / (LAYERS * LAYER_BYTES);
  await rm(folder, { recursive: true });
  for (const { digest } of layers) await rm(bench.content.blobPath(digest));
  return { seconds, cpu, user, written };
}
