import test from 'ava';
import { growth, Soak } from './soak.ts';

const SLOW_MACHINE_MS = 300_000;

test('hours of pulls, moves, evictions and outages: nothing is wrong, nothing is left, nothing grows', async (t) => {
  t.timeout(SLOW_MACHINE_MS);
  const soak = await Soak.open(t, { seed: 20_261_121, hours: 3, pullsPerMinute: 4 });
  const { pulls, verified, wrong, measures, left } = await soak.run();
  t.deepEqual(wrong, []);
  t.deepEqual(left, { ingest: [], quarantine: [] });
  t.is(pulls, 3 * 60 * 4);
  t.true(verified > 0);
  // A short run sees only what leaks with every pull; `npm run soak` looks closer.
  t.true(growth(measures, 'heap') < 1.2, `heap ${growth(measures, 'heap')}`);
  t.true(growth(measures, 'rss') < 1.3, `rss ${growth(measures, 'rss')}`);
  t.true(growth(measures, 'files') < 1.5, `files ${growth(measures, 'files')}`);
});
