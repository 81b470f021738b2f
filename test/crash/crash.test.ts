import test from 'ava';
import { Harness, type Round } from './harness.ts';

/** One of each kind; `npm run crash` takes them all, for as long as it is told. */
const KILLS = [
  'random',
  'commit.verified',
  'commit.renamed',
  'spread.mapped',
  'fill.written',
  'fill.mapped',
  'evict.released',
  'evict.removed',
  'compact.renamed',
  'random',
  'rebuild.old-aside',
  'random',
];

const SLOW_MACHINE_MS = 300_000;

test('killed again and again under load: nothing held is lost, nothing is wrong, nothing piles up', async (t) => {
  t.timeout(SLOW_MACHINE_MS);
  const harness = await Harness.open(t, { seed: 20_261_121, durability: 'full' });
  const rounds: Round[] = [];
  for (const kill of KILLS) rounds.push(await harness.run(kill));
  t.deepEqual(
    rounds.flatMap(({ round, killedAt, wrong }) =>
      wrong.map((what) => `round ${round}, ${killedAt}: ${what}`),
    ),
    [],
  );
  t.deepEqual(await harness.finish(), { partials: [], wrong: [] });
  // The load was one that stores and lets go of things.
  t.true(rounds.at(-1)!.evictions > 0);
  t.true(rounds.some(({ owed }) => owed > 0));
  // What an inspection opens it closes.
  t.deepEqual(
    rounds.flatMap(({ openFiles }) => openFiles),
    [],
  );
  const partials = rounds.map((round) => round.partials);
  t.true(Math.max(...partials) <= harness.world.digests.size, `partials: ${partials.join(' ')}`);
});
