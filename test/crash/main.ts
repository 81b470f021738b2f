// npm run crash [-- --rounds N --seed N --durability full|rename]
import { parseArgs } from 'node:util';
import { Harness, STEPS, type Round } from './harness.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '200' },
    seed: { type: 'string', default: '1' },
    durability: { type: 'string', default: 'full' },
  },
});
const durability = values.durability === 'rename' ? 'rename' : 'full';
const seed = Number(values.seed);
await using scope = new AsyncDisposableStack();
const harness = await Harness.open(
  { teardown: (work) => scope.defer(work) },
  {
    seed,
    durability,
  },
);
const rounds: Round[] = [];
const steps = Object.keys(STEPS);
for (let number = 0; number < Number(values.rounds); number += 1) {
  // Every second one at a step, in their order.
  const step = number % 2 === 1 ? steps[((number - 1) / 2) % steps.length] : undefined;
  const round = await harness.run(step ?? 'random');
  rounds.push(round);
  for (const wrong of round.wrong) {
    process.stdout.write(`round ${round.round} (${round.killedAt}): ${wrong}\n`);
  }
  if (number % 20 === 19) tell(round);
}
const { partials, wrong } = await harness.finish();
for (const what of wrong) process.stdout.write(`at the end: ${what}\n`);
const leaks = rounds.flatMap((round) => round.openFiles).length;
const found = rounds.flatMap((round) => round.wrong).length + wrong.length;
const faults = found + partials.length + leaks;
const sum = (pick: (round: Round) => number): number =>
  rounds.reduce((total, round) => total + pick(round), 0);
process.stdout.write(
  `${rounds.length} kills, ${sum(({ pulls }) => pulls)} pulls, ` +
    `${rounds.at(-1)?.evictions ?? 0} evictions, ${sum(({ owed }) => owed)} promises checked; ` +
    `at most ${Math.max(...rounds.map((round) => round.partials))} partial files, ` +
    `${partials.length} at the end; ${leaks} files left open; ${faults} faults (seed ${seed}, durability ${durability})\n`,
);
process.exitCode = faults === 0 ? 0 : 1;

function tell({ round, owed, partials: left, openFiles, evictions }: Round): void {
  process.stdout.write(
    `round ${round}: ${owed} owed, ${left} partial files, ${openFiles.length} files left open, ${evictions} evictions\n`,
  );
}
