import test from 'ava';
import { problemsOf } from './config-folder.ts';
import { SLIPS } from './slips.ts';

for (const [yaml, path, right] of SLIPS) {
  test(`${yaml} is refused with ${right}`, (t) => {
    const problems = problemsOf(t, { yaml });
    const found = problems.find((problem) => problem.startsWith(`${path}: `)) ?? '';
    t.true(found.slice(path.length).includes(right), problems.join('\n'));
  });
}
