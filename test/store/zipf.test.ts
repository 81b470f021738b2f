import test, { type ExecutionContext } from 'ava';
import { compareOnZipf, type HitRatios, type ZipfOptions } from './zipf.ts';

const OPTIONS = { repositories: 40, versions: 8, pulls: 700, share: 0.15 };
const SEEDS = [1, 2];

interface Lead {
  /** Whole images hit, more than by an LRU of blobs; below zero: fewer. */
  readonly ofBudget: number;
  readonly ofSameBytes: number;
}

async function compare(t: ExecutionContext, options: ZipfOptions): Promise<Lead> {
  const { graph, lru, lruOfSameBytes, mostBytes, maxBytes } = await compareOnZipf(t, options);
  t.log(
    `seed ${options.seed}: ${told(graph)}; LRU with the same budget ${told(lru)}; ` +
      `LRU with as many bytes in use ${told(lruOfSameBytes)}`,
  );
  t.true(mostBytes <= maxBytes);
  return {
    ofBudget: graph.images - lru.images,
    ofSameBytes: graph.images - lruOfSameBytes.images,
  };
}

function told({ images, blobs }: HitRatios): string {
  return `images ${(images * 100).toFixed(1)} %, blobs ${(blobs * 100).toFixed(1)} %`;
}

function mean(numbers: readonly number[]): number {
  return numbers.reduce((sum, each) => sum + each, 0) / numbers.length;
}

for (const [who, machines] of [
  ['machines that have some layers', { machines: 25 }],
  ['machines that have nothing', {}],
] as const) {
  test(`pulls by ${who}: the hit ratio beside an LRU of blobs, within the budget`, async (t) => {
    const leads: Lead[] = [];
    for (const seed of SEEDS) leads.push(await compare(t, { ...OPTIONS, ...machines, seed }));
    t.log(
      `images, mean lead: ${mean(leads.map(({ ofBudget }) => ofBudget)).toFixed(4)} of the budget,`,
    );
    t.log(
      `${mean(leads.map(({ ofSameBytes }) => ofSameBytes)).toFixed(4)} of the same bytes in use`,
    );
    t.true(mean(leads.map(({ ofSameBytes }) => ofSameBytes)) >= 0);
    // An LRU that evicts within a request uses the room between the watermarks too.
    t.true(mean(leads.map(({ ofBudget }) => ofBudget)) >= -0.01);
  });
}
