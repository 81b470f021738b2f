import { setTimeout as sleep } from 'node:timers/promises';
import type { BenchProcess } from './bench-process.ts';
import { KeptConnections } from './kept-connections.ts';
import { startEntrepot } from './peers/entrepot.ts';
import { startMirrors } from './peers/mirrors.ts';
import { interleave, median } from './rounds.ts';
import { judge, type Row } from './row.ts';
import type { Workbench } from './workbench.ts';

const CONNECTIONS = 1_000;
const ROUNDS = 5;
/** By then memory of the start and of the requests has come and gone. */
const IDLE_MS = 3_000;

/** Clients that have asked once and stay: what each costs while it does nothing. */
export async function measureIdleConnections(bench: Workbench): Promise<Row[]> {
  const starts = [
    async () => [await startEntrepot(bench, bench.upstream)],
    async () => (bench.options.isShort ? [] : startMirrors(bench, bench.upstream)),
  ];
  const rounds = await interleave(starts, bench.options.rounds ?? ROUNDS, async (start, round) => {
    await using scope = new AsyncDisposableStack();
    const servers = await start();
    for (const server of servers) scope.use(server);
    await sleep(IDLE_MS);
    const results: { name: string; before: number; mebibytes: number }[] = [];
    for (const server of servers) {
      const result = { name: server.name, ...(await connect(server)) };
      bench.progress(
        `idle: round ${round + 1}, ${server.name}: ${Math.round(result.mebibytes)} MiB with ` +
          `${CONNECTIONS} connections, ${Math.round(result.before)} MiB without`,
      );
      results.push(result);
    }
    return results;
  });
  const [own = [], others = []] = rounds.map((each) => each.flat());
  const names = [...new Set(others.map(({ name }) => name))];
  const atRest = own.map(({ before }) => before);
  const work = `${CONNECTIONS.toLocaleString('en')} idle connections: resident memory`;
  const beside = names.map((name) => {
    const of = others.filter((each) => each.name === name);
    return `${name} ${Math.round(median(of.map(({ mebibytes }) => mebibytes)))} MiB`;
  });
  return [
    judge({
      work,
      unit: 'MiB',
      entrepot: own.map(({ mebibytes }) => mebibytes),
      peer: { name: 'without them', values: atRest },
      ...(beside.length > 0 && { note: `with as many: ${beside.join(', ')}` }),
    }),
  ];
}

async function connect(server: BenchProcess): Promise<{ before: number; mebibytes: number }> {
  const before = server.memoryMiB.now;
  await using clients = new KeptConnections(server, CONNECTIONS);
  await clients.ask('GET', () => '/v2/');
  await sleep(IDLE_MS);
  return { before, mebibytes: server.memoryMiB.now };
}
