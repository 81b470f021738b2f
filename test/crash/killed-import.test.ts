import anyTest from 'ava';
import { ImportHarness } from './import-harness.ts';
import { IMPORT_STEPS } from './import-steps.ts';

const RANDOM_KILLS = 3;
const SLOW_MACHINE_MS = 120_000;
/** They have one site, which takes in one bundle after the other. */
const test = anyTest.serial;
const scope = new AsyncDisposableStack();
let harness: ImportHarness;

test.before(async () => {
  harness = await ImportHarness.open(
    { teardown: (work) => scope.defer(work) },
    { seed: 20_261_128 },
  );
});

test.after.always(async () => scope.disposeAsync());

test('the steps of an import are those at which it is killed', async (t) => {
  t.deepEqual(await harness.listSteps(), Object.keys(IMPORT_STEPS).toSorted());
});

test('all tags of an import move at once', async (t) => {
  t.deepEqual((await harness.run('none')).wrong, []);
});

for (const [step, counts] of Object.entries(IMPORT_STEPS)) {
  test(`an import killed at ${step} is completed by a second one; all tags move at once`, async (t) => {
    t.timeout(SLOW_MACHINE_MS);
    // The first and the last of them; `npm run crash` takes them all.
    for (const count of new Set([counts[0], counts.at(-1)])) {
      const { wrong, pulls } = await harness.run(step, count);
      t.deepEqual(wrong, [], `the time ${count}`);
      t.true(pulls > 0);
    }
  });
}

test('imports killed at random moments are completed by a second one; all tags move at once', async (t) => {
  t.timeout(SLOW_MACHINE_MS);
  const rounds = [];
  while (rounds.length < RANDOM_KILLS) rounds.push(await harness.run('random'));
  t.deepEqual(
    rounds.flatMap(({ wrong }) => wrong),
    [],
  );
  t.true(rounds.some(({ wasUnderWay }) => wasUnderWay));
  t.deepEqual(await harness.finish(), []);
});
