import test from 'ava';
import { ConfigError } from '../../src/config/problems.ts';
import { formatRate, parseRate } from '../../src/config/quantity.ts';

test('a rate is a size a second', (t) => {
  t.is(parseRate('50MiB/s'), 52_428_800);
  t.is(parseRate('1.5 kB/s'), 1500);
});

test('a formatted rate reads as the same rate', (t) => {
  for (const text of ['50MiB/s', '1500B/s', '1GB/s']) t.is(formatRate(parseRate(text)), text);
});

test('a rate of nothing is refused', (t) => {
  for (const text of ['0B/s', '0MiB/s', '0.4B/s']) {
    const error = t.throws(() => parseRate(text), { instanceOf: ConfigError });
    t.deepEqual(error.problems, ['write more than 0; leave the key out for no limit']);
  }
});

for (const text of ['', '50MiB/m', '50/s', '/s', '50MiB/s ']) {
  test(`the rate "${text}" is refused`, (t) => {
    const error = t.throws(() => parseRate(text), { instanceOf: ConfigError });
    t.deepEqual(error.problems, [`write a rate such as "50MiB/s", not "${text}"`]);
  });
}
