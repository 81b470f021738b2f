// npm run crash [-- --only load|import] [--rounds N] [--seed N] [--durability full|rename]
import { parseArgs } from 'node:util';
import { Chance } from './chance.ts';
import { Harness, STEPS, type Round } from './harness.ts';
import { ImportHarness, type ImportRound } from './import-harness.ts';
import { IMPORT_STEPS } from './import-steps.ts';

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    rounds: { type: 'string', default: '200' },
    seed: { type: 'string', default: '1' },
    durability: { type: 'string', default: 'full' },
  },
});
const durability = values.durability === 'rename' ? 'rename' : 'full';
const seed = Number(values.seed);
const count = Number(values.rounds);
let faults = 0;
if (values.only !== 'import') faults += await killUnderLoad();
if (values.only !== 'load') faults += await killImports();
process.exitCode = faults === 0 ? 0 : 1;

async function killUnderLoad(): Promise<number> {
  await using scope = new AsyncDisposableStack();
  const harness = await Harness.open(
    { teardown: (work) => scope.defer(work) },
    { seed, durability },
  );
  const rounds: Round[] = [];
  for (let number = 0; number < count; number += 1) {
    const round = await harness.run(stepOf(number, Object.keys(STEPS)));
    rounds.push(round);
    tellWrong(round);
    if (number % 20 === 19) tell(round);
  }
  const { partials, wrong } = await harness.finish();
  for (const what of wrong) process.stdout.write(`at the end: ${what}\n`);
  const leaks = rounds.flatMap((round) => round.openFiles).length;
  const found = rounds.flatMap((round) => round.wrong).length + wrong.length;
  const sum = (pick: (round: Round) => number): number =>
    rounds.reduce((total, round) => total + pick(round), 0);
  process.stdout.write(
    `${rounds.length} kills, ${sum(({ pulls }) => pulls)} pulls, ` +
      `${rounds.at(-1)?.evictions ?? 0} evictions, ${sum(({ owed }) => owed)} promises checked; ` +
      `at most ${Math.max(...rounds.map((round) => round.partials))} partial files, ` +
      `${partials.length} at the end; ${leaks} files left open; ` +
      `${found + partials.length + leaks} faults (seed ${seed}, durability ${durability})\n`,
  );
  return found + partials.length + leaks;
}

/** Of imports of bundles, each of which a second import completes. */
async function killImports(): Promise<number> {
  await using scope = new AsyncDisposableStack();
  const harness = await ImportHarness.open({ teardown: (work) => scope.defer(work) }, { seed });
  const chance = new Chance(seed);
  const rounds: ImportRound[] = [await harness.run('none')];
  for (let number = 0; number < count; number += 1) {
    const step = stepOf(number, Object.keys(IMPORT_STEPS));
    const round = await harness.run(step, chance.pick(IMPORT_STEPS[step] ?? [1]));
    rounds.push(round);
    tellWrong(round);
    if (number % 20 === 19) process.stdout.write(`import ${round.round}: ${round.pulls} pulls\n`);
  }
  const wrong = await harness.finish();
  for (const what of wrong) process.stdout.write(`at the end: ${what}\n`);
  const found = rounds.flatMap((round) => round.wrong).length + wrong.length;
  const underWay = rounds.filter(({ wasUnderWay }) => wasUnderWay).length;
  const pulls = rounds.reduce((sum, round) => sum + round.pulls, 0);
  process.stdout.write(
    `${count} kills of imports, ${underWay} of them in the middle, ${pulls} pulls meanwhile; ` +
      `${found} faults (seed ${seed})\n`,
  );
  return found;
}

/** Every second one at a step, in their order. */
function stepOf(number: number, steps: readonly string[]): string {
  return (number % 2 === 1 ? steps[((number - 1) / 2) % steps.length] : undefined) ?? 'random';
}

function tellWrong({ round, killedAt, wrong }: Round | ImportRound): void {
  for (const what of wrong) process.stdout.write(`round ${round} (${killedAt}): ${what}\n`);
}

function tell({ round, owed, partials: left, openFiles, evictions }: Round): void {
  process.stdout.write(
    `round ${round}: ${owed} owed, ${left} partial files, ${openFiles.length} files left open, ${evictions} evictions\n`,
  );
}
