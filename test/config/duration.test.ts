import test, { type ExecutionContext } from 'ava';
import * as fc from 'fast-check';
import { ConfigError } from '../../src/config/problems.ts';
import {
  formatDuration,
  parseDuration,
  parseDurationOrForever,
} from '../../src/config/quantity.ts';

const reads = test.macro({
  exec: (t: ExecutionContext, text: string, milliseconds: number) =>
    t.is(parseDuration(text), milliseconds),
  title: (_, text, milliseconds) => `the duration ${text} is ${milliseconds} ms`,
});

test(reads, '5m', 300_000);
test(reads, '2s', 2000);
test(reads, '0s', 0);
test(reads, '500ms', 500);
test(reads, '1h30m', 5_400_000);
test(reads, '1m500ms', 60_500);
test(reads, '7d', 604_800_000);
test(reads, '1d2h3m4s5ms', 93_784_005);

const refuses = test.macro({
  exec(t: ExecutionContext, text: string) {
    const error = t.throws(() => parseDuration(text), { instanceOf: ConfigError });
    t.deepEqual(error.problems, [`write a duration such as "5m" or "1h30m", not "${text}"`]);
  },
  title: (_, text) => `the duration "${text}" is refused`,
});

const wrong = ['', '5', 'm', '30m1h', '1h 30m', '-5m', '1.5h', '5M', 'forever', '1m1m'];
for (const text of [...wrong, '99999999999999d']) test(refuses, text);

test('forever is a duration only where it is allowed', (t) => {
  t.is(parseDurationOrForever('forever'), Number.POSITIVE_INFINITY);
  t.is(parseDurationOrForever('5m'), 300_000);
  t.throws(() => parseDuration('forever'), { instanceOf: ConfigError });
});

test('a formatted duration reads as the same time', (t) => {
  const times = fc.nat({ max: 10 ** 12 });
  fc.assert(fc.property(times, (time) => parseDuration(formatDuration(time)) === time));
  t.is(formatDuration(0), '0s');
  t.is(formatDuration(5_400_000), '1h30m');
  t.is(formatDuration(Number.POSITIVE_INFINITY), 'forever');
});
