import { quiet } from './quiet.ts';

/** Middle of what was measured; of an even number the lower one of the two. */
export function median(values: readonly number[]): number {
  const middle = values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) / 2)];
  if (middle === undefined) throw new RangeError('a median of nothing');
  return middle;
}

/**
 * Measures each subject once a round, in turn, so that what disturbs the machine for a while
 * disturbs all of them. One list of results a subject, in their order. A lone round compares nothing and waits
 * for no quiet.
 */
export async function interleave<Subject, Result>(
  subjects: readonly Subject[],
  rounds: number,
  measure: (subject: Subject, round: number) => Promise<Result>,
): Promise<Result[][]> {
  const results: Result[][] = subjects.map(() => []);
  for (let round = 0; round < rounds; round += 1) {
    for (const [position, subject] of subjects.entries()) {
      if (rounds > 1) await quiet();
      results[position]?.push(await measure(subject, round));
    }
  }
  return results;
}
