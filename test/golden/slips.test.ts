import test from 'ava';
import { problemsOf } from '../config/config-folder.ts';
import { SLIPS } from '../config/slips.ts';
import { matchGolden } from './golden.ts';

test('what is said of a configuration with the slips that people make', (t) => {
  const told = SLIPS.map(([yaml]) => `${yaml}\n  ${problemsOf(t, { yaml }).join('\n  ')}\n`);
  matchGolden(t, 'config-slips.txt', told.join('\n'));
});
