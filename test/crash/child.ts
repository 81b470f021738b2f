/**
 * A mirror in a process of its own, run by `ChildMirror`: it does what its messages say, notes in a
 * file what the store keeps and lets go of, and ends itself at the step it is told.
 */
import { setFlagsFromString } from 'node:v8';
import { readdirSync } from 'node:fs';
import { runInNewContext } from 'node:vm';
import { pino } from 'pino';
import { startServer, type RunningServer } from '../../src/server.ts';
import { Store } from '../../src/store/store.ts';
import type { Measures, Order, Settings } from './child-mirror.ts';
import { compare } from './compare.ts';
import { noteFacts } from './facts.ts';
import { clockOf } from '../helpers/clock.ts';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;
let clock: number | undefined;
let server: RunningServer | undefined;

process.once('message', (settings: Settings) => void run(settings));
process.once('disconnect', () => process.exit());

async function run(settings: Settings): Promise<void> {
  const { config, timing, factsFile, logFile, startAt } = settings;
  const step = countDown(settings);
  if (settings.work === 'rebuild') {
    await Store.rebuild({ ...config.store, step });
    process.disconnect?.();
    return;
  }
  clock = startAt;
  server = await startServer(
    { ...config, graceMs: 0 },
    {
      log: pino({ level: 'warn' }, pino.destination(logFile)),
      timing,
      step,
      clock: clockOf(() => clock ?? Date.now()),
    },
  );
  noteFacts(server, factsFile);
  process.on('message', (order: Order) => void obey(order));
  tell({ url: server.url, adminUrl: server.adminUrl });
}

async function obey(order: Order): Promise<void> {
  if (!server) return;
  if (order.do === 'stop') {
    await server.close();
    process.disconnect?.();
    return;
  }
  if (order.do === 'advance') clock = (clock ?? Date.now()) + order.ms;
  const wrong = order.do === 'compare' ? await compare(server, server.store.path) : [];
  tell({ ...measure(server), wrong });
}

function tell(answer: Measures | { url: string; adminUrl: string }): void {
  process.send!(answer);
}

function measure(running: RunningServer): Omit<Measures, 'wrong'> {
  collectGarbage();
  const { rss, heapUsed, external } = process.memoryUsage();
  const timers = process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout');
  return {
    rss,
    heap: heapUsed + external,
    // One of them reads the folder.
    files: readdirSync('/proc/self/fd').length - 1,
    timers: timers.length,
    activity: running.activity(),
    usage: running.catalog.usage,
  };
}

function countDown({ killAt }: Settings): (name: string) => void {
  let left = killAt?.count ?? 0;
  return (name) => {
    if (name !== killAt?.step) return;
    left -= 1;
    if (left === 0) process.kill(process.pid, 'SIGKILL');
  };
}
