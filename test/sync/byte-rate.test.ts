import test from 'ava';
import { ByteRate } from '../../sync/run-progress.ts';
import { Clock, SECOND } from '../helpers/clock.ts';

test('a million chunks are kept as the sums of ten seconds', (t) => {
  const clock = new Clock();
  const rate = new ByteRate(clock);
  for (let chunk = 0; chunk < 1_000_000; chunk += 1) {
    rate.add(64);
    clock.advance(0.25);
  }
  t.is(rate.size, 10);
  t.is(rate.bytesPerSecond, 4_000 * 64);
});

test('the rate is of the time that has passed, of the last ten seconds at most, and of a second at least', (t) => {
  const clock = new Clock();
  const rate = new ByteRate(clock);
  t.is(rate.bytesPerSecond, 0);
  rate.add(500);
  t.is(rate.bytesPerSecond, 500);
  clock.advance(5 * SECOND);
  rate.add(500);
  t.is(rate.bytesPerSecond, 200);
  clock.advance(4.5 * SECOND);
  t.is(rate.bytesPerSecond, 1_000 / 9.5);
  clock.advance(0.5 * SECOND);
  t.is(rate.bytesPerSecond, 500 / 9);
  clock.advance(SECOND * 5);
  t.is(rate.bytesPerSecond, 0);
  t.is(rate.size, 0);
});

test('a wall clock that is set back changes nothing', (t) => {
  const clock = new Clock();
  const rate = new ByteRate(clock);
  clock.advance(2 * SECOND);
  rate.add(1_000);
  clock.setBack(72 * 3_600 * SECOND);
  t.is(rate.bytesPerSecond, 500);
});
