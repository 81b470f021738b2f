import test, { type ExecutionContext } from 'ava';
import * as fc from 'fast-check';
import type { SyncConfig } from '../../src/config/sync-schema.ts';
import { Schedule } from '../../sync/schedule.ts';
import { HOUR, MINUTE, SECOND } from '../helpers/clock.ts';
import { FakeTimer } from '../helpers/fake-timer.ts';

const BERLIN = 'Europe/Berlin';
const NEW_YORK = 'America/New_York';

interface Options {
  readonly schedule?: string;
  readonly timezone?: string;
  readonly windows?: readonly SyncConfig['windows'][number][];
  readonly jitterMs?: number;
}

function createSchedule(options: Options, timer = new FakeTimer()): Schedule {
  const defaults = { schedule: '0 * * * *', timezone: 'UTC', windows: [], jitterMs: 0 };
  return new Schedule({ ...defaults, ...options }, timer);
}

const at = (text: string): number => Date.parse(text);
const iso = (moment: number): string =>
  new Date(moment).toISOString().replace(/(:00)?\.000Z$/, 'Z');

interface RunCase {
  readonly timezone: string;
  readonly schedule: string;
  readonly after: string;
  readonly runs: readonly string[];
}

function comes(t: ExecutionContext, { timezone, schedule, after, runs }: RunCase): void {
  const times = createSchedule({ timezone, schedule });
  const found: string[] = [];
  for (let last = at(after); found.length < runs.length;) {
    last = times.nextRun(last);
    found.push(iso(last));
  }
  t.deepEqual(found, runs);
}

// 2026: Berlin goes from +1 to +2 on 29 March at 01:00Z and back on 25 October at 01:00Z; New York
// from -5 to -4 on 8 March at 07:00Z and back on 1 November at 06:00Z.

test('a fixed time that does not exist comes after the gap: Berlin', comes, {
  timezone: BERLIN,
  schedule: '30 2 * * *',
  after: '2026-03-27T12:00Z',
  runs: ['2026-03-28T01:30Z', '2026-03-29T01:00Z', '2026-03-30T00:30Z'],
});

test('a fixed time that does not exist comes after the gap: New York', comes, {
  timezone: NEW_YORK,
  schedule: '30 2 * * *',
  after: '2026-03-06T12:00Z',
  runs: ['2026-03-07T07:30Z', '2026-03-08T07:00Z', '2026-03-09T06:30Z'],
});

test('a fixed time that exists twice comes the first time: Berlin', comes, {
  timezone: BERLIN,
  schedule: '30 2 * * *',
  after: '2026-10-23T12:00Z',
  runs: ['2026-10-24T00:30Z', '2026-10-25T00:30Z', '2026-10-26T01:30Z'],
});

test('a fixed time that exists twice comes the first time: New York', comes, {
  timezone: NEW_YORK,
  schedule: '30 1 * * *',
  after: '2026-10-30T12:00Z',
  runs: ['2026-10-31T05:30Z', '2026-11-01T05:30Z', '2026-11-02T06:30Z'],
});

test('between the two of them it is over for that day', comes, {
  timezone: BERLIN,
  schedule: '30 2 * * *',
  after: '2026-10-25T00:45Z',
  runs: ['2026-10-26T01:30Z'],
});

test('what comes every hour comes every hour when clocks are put forward', comes, {
  timezone: BERLIN,
  schedule: '0 * * * *',
  after: '2026-03-28T23:30Z',
  runs: ['2026-03-29T00:00Z', '2026-03-29T01:00Z', '2026-03-29T02:00Z'],
});

test('what comes every half hour comes in both hours when clocks are put back', comes, {
  timezone: NEW_YORK,
  schedule: '*/30 * * * *',
  after: '2026-11-01T05:00Z',
  runs: ['2026-11-01T05:30Z', '2026-11-01T06:00Z', '2026-11-01T06:30Z', '2026-11-01T07:00Z'],
});

test('six fields begin with seconds', comes, {
  timezone: 'UTC',
  schedule: '15 30 4 * * *',
  after: '2026-05-01T04:30:15Z',
  runs: ['2026-05-02T04:30:15Z', '2026-05-03T04:30:15Z'],
});

test('a date that never comes is never', (t) => {
  t.is(createSchedule({ schedule: '0 0 30 2 *' }).nextRun(at('2026-01-01')), Infinity);
});

interface WindowCase {
  readonly timezone?: string;
  readonly windows: readonly SyncConfig['windows'][number][];
  readonly from: string;
  /** The changes after `from`, in turn. */
  readonly changes: readonly ['opens' | 'closes', string][];
}

/** Each change at its exact moment: not a millisecond before, and the state in between. */
function changes(
  t: ExecutionContext,
  { timezone = 'UTC', windows, from, changes: expected }: WindowCase,
): void {
  const schedule = createSchedule({ timezone, windows });
  let last = at(from);
  const found = expected.map((): unknown => {
    const change = schedule.nextChange(last);
    if (!change) return undefined;
    t.is(schedule.isOpen(change.at), change.opens);
    t.is(schedule.isOpen(change.at - 1), !change.opens);
    t.deepEqual(schedule.nextChange(change.at - 1), change);
    last = change.at;
    return [change.opens ? 'opens' : 'closes', iso(change.at)];
  });
  t.deepEqual(found, [...expected]);
}

test('a window over midnight', changes, {
  timezone: BERLIN,
  windows: [{ opens: '0 22 * * *', forMs: 8 * HOUR }],
  from: '2026-06-01T12:00Z',
  changes: [
    ['opens', '2026-06-01T20:00Z'],
    ['closes', '2026-06-02T04:00Z'],
    ['opens', '2026-06-02T20:00Z'],
  ],
});

test('a window on some days only, and one of seconds', changes, {
  windows: [
    { opens: '0 22 * * FRI', forMs: 50 * HOUR },
    { opens: '30 0 12 * * WED', forMs: 5 * SECOND },
  ],
  from: '2026-06-01T00:00Z',
  changes: [
    ['opens', '2026-06-03T12:00:30Z'],
    ['closes', '2026-06-03T12:00:35Z'],
    ['opens', '2026-06-05T22:00Z'],
    ['closes', '2026-06-08T00:00Z'],
  ],
});

test('windows that overlap, lie in each other or touch are one', changes, {
  windows: [
    { opens: '0 1 * * *', forMs: 2 * HOUR },
    { opens: '0 2 * * *', forMs: 10 * MINUTE },
    { opens: '30 2 * * *', forMs: HOUR },
    { opens: '30 3 * * *', forMs: HOUR },
    { opens: '31 4 * * *', forMs: MINUTE },
  ],
  from: '2026-06-01T00:00Z',
  changes: [
    ['opens', '2026-06-01T01:00Z'],
    ['closes', '2026-06-01T04:30Z'],
    ['opens', '2026-06-01T04:31Z'],
    ['closes', '2026-06-01T04:32Z'],
    ['opens', '2026-06-02T01:00Z'],
  ],
});

test('a window that opens again before it closes stays open', changes, {
  windows: [{ opens: '*/10 2 * * *', forMs: 30 * MINUTE }],
  from: '2026-06-01T00:00Z',
  changes: [
    ['opens', '2026-06-01T02:00Z'],
    ['closes', '2026-06-01T03:20Z'],
  ],
});

test('a window lasts its real time when clocks are put forward: Berlin', changes, {
  timezone: BERLIN,
  windows: [{ opens: '0 22 * * *', forMs: 8 * HOUR }],
  from: '2026-03-28T12:00Z',
  changes: [
    ['opens', '2026-03-28T21:00Z'],
    ['closes', '2026-03-29T05:00Z'],
    ['opens', '2026-03-29T20:00Z'],
    ['closes', '2026-03-30T04:00Z'],
  ],
});

test('a window lasts its real time when clocks are put back: Berlin', changes, {
  timezone: BERLIN,
  windows: [{ opens: '0 22 * * *', forMs: 8 * HOUR }],
  from: '2026-10-24T12:00Z',
  changes: [
    ['opens', '2026-10-24T20:00Z'],
    ['closes', '2026-10-25T04:00Z'],
    ['opens', '2026-10-25T21:00Z'],
  ],
});

test('a window lasts its real time when clocks are put forward: New York', changes, {
  timezone: NEW_YORK,
  windows: [{ opens: '0 23 * * *', forMs: 6 * HOUR }],
  from: '2026-03-07T12:00Z',
  changes: [
    ['opens', '2026-03-08T04:00Z'],
    ['closes', '2026-03-08T10:00Z'],
    ['opens', '2026-03-09T03:00Z'],
  ],
});

test('a window lasts its real time when clocks are put back: New York', changes, {
  timezone: NEW_YORK,
  windows: [{ opens: '0 23 * * *', forMs: 6 * HOUR }],
  from: '2026-10-31T12:00Z',
  changes: [
    ['opens', '2026-11-01T03:00Z'],
    ['closes', '2026-11-01T09:00Z'],
    ['opens', '2026-11-02T04:00Z'],
  ],
});

test('a window whose opening does not exist opens after the gap', changes, {
  timezone: NEW_YORK,
  windows: [{ opens: '30 2 * * *', forMs: HOUR }],
  from: '2026-03-08T00:00Z',
  changes: [
    ['opens', '2026-03-08T07:00Z'],
    ['closes', '2026-03-08T08:00Z'],
    ['opens', '2026-03-09T06:30Z'],
  ],
});

test('a window whose opening exists twice opens once', changes, {
  timezone: BERLIN,
  windows: [{ opens: '30 2 * * *', forMs: 20 * MINUTE }],
  from: '2026-10-25T00:00Z',
  changes: [
    ['opens', '2026-10-25T00:30Z'],
    ['closes', '2026-10-25T00:50Z'],
    ['opens', '2026-10-26T01:30Z'],
  ],
});

test('a daily window of 24 hours is closed for an hour when clocks are put back', changes, {
  timezone: BERLIN,
  windows: [{ opens: '0 0 * * *', forMs: 24 * HOUR }],
  from: '2026-06-01T00:00Z',
  changes: [
    ['closes', '2026-10-25T22:00Z'],
    ['opens', '2026-10-25T23:00Z'],
  ],
});

test('without windows it is open for good', (t) => {
  const schedule = createSchedule({});
  t.true(schedule.isOpen(0));
  t.is(schedule.nextChange(0), undefined);
});

test('windows without a pause never close', (t) => {
  const schedule = createSchedule({ windows: [{ opens: '0 * * * *', forMs: HOUR }] });
  t.true(schedule.isOpen(at('2026-06-01T12:34:56.789Z')));
  t.is(schedule.nextChange(at('2026-06-01T12:34:56.789Z')), undefined);
});

test('a window that never opens is closed for good', (t) => {
  const schedule = createSchedule({ windows: [{ opens: '0 0 30 2 *', forMs: HOUR }] });
  t.false(schedule.isOpen(at('2026-06-01')));
  t.is(schedule.nextChange(at('2026-06-01')), undefined);
});

test('between changes nothing changes, whatever the windows, through a whole year', (t) => {
  const fields = ['0 22 * * *', '30 2 * * *', '0 */12 * * *', '15 1 * * SUN', '0 0 1 * *'];
  const window = fc.record({
    opens: fc.constantFrom(...fields),
    forMs: fc.integer({ min: 1, max: 600 }).map((minutes) => minutes * MINUTE),
  });
  const year = { min: at('2026-01-01'), max: at('2027-01-01') };
  const property = fc.property(
    fc.constantFrom(BERLIN, NEW_YORK),
    fc.array(window, { minLength: 1, maxLength: 3 }),
    fc.integer(year),
    fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 5, maxLength: 5 }),
    (timezone, windows, moment, shares) => {
      const schedule = createSchedule({ timezone, windows });
      const change = schedule.nextChange(moment);
      // Too many in a row to follow.
      if (!change) return schedule.isOpen(moment);
      const isOpen = schedule.isOpen(moment);
      const between = shares.map((share) => Math.floor(moment + share * (change.at - 1 - moment)));
      return (
        change.at > moment &&
        change.opens === !isOpen &&
        schedule.isOpen(change.at) === change.opens &&
        [...between, change.at - 1].every((other) => schedule.isOpen(other) === isOpen)
      );
    },
  );
  t.notThrows(() => fc.assert(property, { numRuns: 100 }));
});

/** Takes runs, each as long as its entry says, and notes when they began. */
function follow(schedule: Schedule, timer: FakeTimer, lengths: number[] = [], since?: number) {
  const abort = new AbortController();
  const began: string[] = [];
  let running = 0;
  let most = 0;
  const over = (async () => {
    for await (const moment of schedule.runs(abort.signal, since)) {
      began.push(iso(moment));
      most = Math.max(most, (running += 1));
      await timer.wait(lengths.shift() ?? 0);
      running -= 1;
    }
  })();
  return { began, over, abort, most: () => most };
}

test('runs begin when they are due, and none when the daemon starts', async (t) => {
  const timer = new FakeTimer('2026-06-01T09:30Z');
  const { began } = follow(createSchedule({}, timer), timer);
  await timer.advanceTo('2026-06-01T09:59:59.999Z');
  t.deepEqual(began, []);
  await timer.advance(1);
  t.deepEqual(began, ['2026-06-01T10:00Z']);
  await timer.advanceTo('2026-06-01T12:30Z');
  t.deepEqual(began, ['2026-06-01T10:00Z', '2026-06-01T11:00Z', '2026-06-01T12:00Z']);
});

test('runs go by the clock of their zone through a change of it', async (t) => {
  const timer = new FakeTimer('2026-03-28T00:00Z');
  const { began } = follow(
    createSchedule({ schedule: '0 4 * * *', timezone: BERLIN }, timer),
    timer,
  );
  await timer.advanceTo('2026-03-31T00:00Z');
  t.deepEqual(began, ['2026-03-28T03:00Z', '2026-03-29T02:00Z', '2026-03-30T02:00Z']);
});

test('what falls due during a long run comes once, right after it', async (t) => {
  const timer = new FakeTimer('2026-06-01T09:30Z');
  const long = 3 * HOUR + 10 * MINUTE;
  const { began, most } = follow(createSchedule({}, timer), timer, [long, 5 * MINUTE]);
  await timer.advanceTo('2026-06-01T15:30Z');
  t.deepEqual(began, [
    '2026-06-01T10:00Z',
    '2026-06-01T13:10Z',
    '2026-06-01T14:00Z',
    '2026-06-01T15:00Z',
  ]);
  t.is(most(), 1);
});

test('jitter puts each run off by its own share', async (t) => {
  const timer = new FakeTimer('2026-06-01T09:30Z');
  timer.chances(0.5, 0, 0.999);
  const { began } = follow(createSchedule({ jitterMs: 10 * MINUTE }, timer), timer);
  await timer.advanceTo('2026-06-01T12:30Z');
  t.deepEqual(began, ['2026-06-01T10:05Z', '2026-06-01T11:00Z', '2026-06-01T12:09:59.400Z']);
});

test('jitter beyond the interval swallows the runs in between', async (t) => {
  const timer = new FakeTimer('2026-06-01T09:30Z');
  timer.chances(0.5, 0);
  const schedule = createSchedule({ schedule: '* * * * *', jitterMs: 5 * MINUTE }, timer);
  const { began } = follow(schedule, timer);
  await timer.advanceTo('2026-06-01T09:35:30Z');
  t.deepEqual(began, ['2026-06-01T09:33:30Z', '2026-06-01T09:34Z', '2026-06-01T09:35Z']);
});

test('a run that fell due while no process ran comes at once, and once', async (t) => {
  const timer = new FakeTimer('2026-06-01T09:30Z');
  const { began } = follow(createSchedule({}, timer), timer, [], at('2026-05-30T00:00Z'));
  await timer.advance(0);
  t.deepEqual(began, ['2026-06-01T09:30Z']);
  await timer.advanceTo('2026-06-01T10:30Z');
  t.deepEqual(began, ['2026-06-01T09:30Z', '2026-06-01T10:00Z']);
});

test('a machine that learns the time late runs within a minute of it', async (t) => {
  const timer = new FakeTimer('1970-01-01T00:00:10Z');
  const { began } = follow(createSchedule({ schedule: '0 4 * * *' }, timer), timer);
  await timer.advance(30 * SECOND);
  timer.set('2026-06-01T12:00Z');
  await timer.advance(MINUTE);
  t.deepEqual(began, ['2026-06-01T12:00:30Z']);
  await timer.advanceTo('2026-06-02T05:00Z');
  t.deepEqual(began, ['2026-06-01T12:00:30Z', '2026-06-02T04:00Z']);
});

test('a clock that is put back far does not stop the runs; a little does not repeat one', async (t) => {
  const timer = new FakeTimer('2030-01-01T09:30Z');
  const { began } = follow(createSchedule({}, timer), timer);
  await timer.advanceTo('2030-01-01T10:00Z');
  timer.set('2030-01-01T09:58:30Z');
  await timer.advanceTo('2030-01-01T10:20Z');
  t.deepEqual(began, ['2030-01-01T10:00Z']);
  timer.set('2026-06-01T09:30Z');
  await timer.advanceTo('2026-06-01T10:30Z');
  t.deepEqual(began, ['2030-01-01T10:00Z', '2026-06-01T10:00Z']);
});

test('an abort ends the runs: while one is waited for, and before', async (t) => {
  const timer = new FakeTimer('2026-06-01T09:30Z');
  const schedule = createSchedule({}, timer);
  const { began, over, abort } = follow(schedule, timer);
  await timer.advance(MINUTE);
  abort.abort();
  await over;
  for await (const run of schedule.runs(AbortSignal.abort(), 0)) began.push(iso(run));
  t.deepEqual(began, []);
  t.is(timer.waiting, 0);
});

test('a schedule with no more dates waits until it is ended', async (t) => {
  const timer = new FakeTimer('2026-06-01T09:30Z');
  const { began, over, abort } = follow(createSchedule({ schedule: '0 0 30 2 *' }, timer), timer);
  await timer.advance(HOUR);
  t.deepEqual([began, timer.waiting], [[], 1]);
  abort.abort();
  await over;
});
