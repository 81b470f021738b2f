import type { ExecutionContext } from 'ava';
import { compareOnZipf, type ZipfComparison } from '../store/zipf.ts';
import { judge, type Row } from './row.ts';
import type { Workbench } from './workbench.ts';

const SEEDS = [1, 2, 3];
const TRACE = { repositories: 40, versions: 8, machines: 25, pulls: 700, share: 0.15 };

/** How often a pull by popularity finds all it wants, beside a cache that evicts single blobs. */
export async function measureZipf(bench: Workbench): Promise<Row[]> {
  await using scope = new AsyncDisposableStack();
  // Of a test's context the simulation needs no more than its end.
  const context = {
    teardown: (work: () => void | Promise<void>) => scope.defer(work),
  } as unknown as ExecutionContext;
  const all: ZipfComparison[] = [];
  for (const seed of SEEDS) {
    bench.progress(`zipf: trace ${seed}`);
    all.push(await compareOnZipf(context, { ...TRACE, seed }));
  }
  const percent = (ratio: number): number => ratio * 100;
  return (['images', 'blobs'] as const).map((kind) =>
    judge({
      work: `Zipf trace, store of ${TRACE.share * 100} %: ${kind} hit`,
      unit: '%',
      entrepot: all.map(({ graph }) => percent(graph[kind])),
      peer: { name: 'LRU of blobs', values: all.map(({ lru }) => percent(lru[kind])) },
    }),
  );
}
