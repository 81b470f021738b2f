import test from 'ava';
import type { SyncConfig } from '../../src/config/sync-schema.ts';
import { Schedule } from '../../sync/schedule.ts';
import { HOUR, MINUTE } from '../helpers/clock.ts';
import { FakeTimer } from '../helpers/fake-timer.ts';

const NIGHT: SyncConfig['windows'][number] = { opens: '0 22 * * *', forMs: 8 * HOUR };

/** A schedule, and who was let through when. */
function createBench(start: string, windows: readonly SyncConfig['windows'][number][]) {
  const timer = new FakeTimer(start);
  const config = { schedule: '0 * * * *', timezone: 'Europe/Berlin', windows, jitterMs: 0 };
  const schedule = new Schedule(config, timer);
  const passed: [name: string, at: string][] = [];
  const pass = async (name: string, signal = new AbortController().signal): Promise<void> => {
    await schedule.opened(signal);
    passed.push([name, new Date(timer.now()).toISOString()]);
  };
  return { timer, schedule, passed, pass };
}

test('without windows nobody waits', async (t) => {
  const { schedule, passed, pass, timer } = createBench('2026-06-01T12:00Z', []);
  await pass('image');
  t.deepEqual(passed, [['image', '2026-06-01T12:00:00.000Z']]);
  t.is(schedule.closed, undefined);
  t.is(timer.waiting, 0);
});

test('it is passed at the moment of the opening, and at once until the closing', async (t) => {
  const { timer, schedule, passed, pass } = createBench('2026-06-01T12:00Z', [NIGHT]);
  const waiting = [pass('image'), pass('blob')];
  await timer.advanceTo('2026-06-01T19:59:59.999Z');
  t.deepEqual(passed, []);
  t.deepEqual(schedule.closed, { closedUntil: Date.parse('2026-06-01T20:00Z') });
  await timer.advance(1);
  await Promise.all(waiting);
  t.is(schedule.closed, undefined);
  await timer.advanceTo('2026-06-02T03:59:59.999Z');
  await pass('last');
  await timer.advance(1);
  const next = pass('next night');
  await timer.advance(MINUTE);
  t.deepEqual(schedule.closed, { closedUntil: Date.parse('2026-06-02T20:00Z') });
  await timer.advanceTo('2026-06-02T21:00Z');
  await next;
  t.deepEqual(passed, [
    ['image', '2026-06-01T20:00:00.000Z'],
    ['blob', '2026-06-01T20:00:00.000Z'],
    ['last', '2026-06-02T03:59:59.999Z'],
    ['next night', '2026-06-02T20:00:00.000Z'],
  ]);
});

test('it opens by the clock of its zone in the nights when clocks are put forward and back', async (t) => {
  const { timer, passed, pass } = createBench('2026-03-28T12:00Z', [
    { opens: '30 2 * * *', forMs: 10 * MINUTE },
  ]);
  const days = ['2026-03-28T12:00Z', '2026-03-29T12:00Z', '2026-10-24T12:00Z', '2026-10-25T12:00Z'];
  for (const day of days) {
    timer.set(day);
    const passing = pass(day);
    await timer.advance(24 * HOUR);
    await passing;
  }
  t.deepEqual(passed, [
    ['2026-03-28T12:00Z', '2026-03-29T01:00:00.000Z'],
    ['2026-03-29T12:00Z', '2026-03-30T00:30:00.000Z'],
    ['2026-10-24T12:00Z', '2026-10-25T00:30:00.000Z'],
    ['2026-10-25T12:00Z', '2026-10-26T01:30:00.000Z'],
  ]);
});

test('a closed window is told while somebody waits for it, and not before', (t) => {
  const { schedule } = createBench('2026-06-01T12:00Z', [NIGHT]);
  t.is(schedule.closed, undefined);
});

test('whoever gives up leaves the others waiting', async (t) => {
  const { timer, schedule, passed, pass } = createBench('2026-06-01T12:00Z', [NIGHT]);
  const abort = new AbortController();
  const left = t.throwsAsync(pass('left', abort.signal), { message: 'stopped' });
  const stays = pass('stays');
  await timer.advance(MINUTE);
  abort.abort(new Error('stopped'));
  await left;
  t.deepEqual(schedule.closed, { closedUntil: Date.parse('2026-06-01T20:00Z') });
  await timer.advance(8 * HOUR);
  await stays;
  t.deepEqual(passed, [['stays', '2026-06-01T20:00:00.000Z']]);
});

test('who has given up already does not pass, not even an open window', async (t) => {
  const { pass } = createBench('2026-06-01T21:00Z', [NIGHT]);
  await t.throwsAsync(pass('late', AbortSignal.abort(new Error('stopped'))), {
    message: 'stopped',
  });
});

test('a window that opens no more is waited for without a moment', async (t) => {
  const { timer, schedule, pass } = createBench('2026-06-01T12:00Z', [
    { opens: '0 0 30 2 *', forMs: HOUR },
  ]);
  const abort = new AbortController();
  const waiting = t.throwsAsync(pass('never', abort.signal), { message: 'stopped' });
  await timer.advance(HOUR);
  t.deepEqual(schedule.closed, {});
  abort.abort(new Error('stopped'));
  await waiting;
});
