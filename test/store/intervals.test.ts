/** Which bytes are there, beside a model that has one mark for each byte. */
import test from 'ava';
import * as fc from 'fast-check';
import { Intervals, type Interval } from '../../src/store/files/intervals.ts';

const SIZE = 60;
const interval = fc
  .tuple(fc.nat(SIZE), fc.nat(SIZE))
  .map(([one, other]) => ({ start: Math.min(one, other), end: Math.max(one, other) }));

test('whatever is added in whatever order, it is what a mark for each byte says', (t) => {
  fc.assert(
    fc.property(fc.array(interval, { maxLength: 25 }), interval, (added, range) => {
      const intervals = new Intervals(added);
      const marks = Array.from({ length: SIZE }, (_, at) =>
        added.some(({ start, end }) => start <= at && at < end),
      );
      const list = [...intervals];
      t.deepEqual(list, runsOf(marks, { start: 0, end: SIZE }, true));
      t.is(intervals.count, list.length);
      t.is(intervals.bytes, marks.filter(Boolean).length);
      t.is(intervals.end, marks.lastIndexOf(true) + 1);
      t.deepEqual([...intervals.holes(range)], runsOf(marks, range, false));
      const next = marks.indexOf(false, range.start);
      t.is(intervals.endFrom(range.start), next === -1 ? Math.max(SIZE, range.start) : next);
    }),
    { numRuns: 500 },
  );
});

function runsOf(marks: readonly boolean[], { start, end }: Interval, what: boolean): Interval[] {
  const runs: { start: number; end: number }[] = [];
  for (let at = start; at < end; at += 1) {
    if (marks[at] !== what) continue;
    const last = runs.at(-1);
    if (last?.end === at) last.end += 1;
    else runs.push({ start: at, end: at + 1 });
  }
  return runs;
}
