import { EventEmitter } from 'node:events';
import { createServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { createStoreContext, type StoreCommandParts } from '../../src/cli/command-context.ts';
import { syncDaemon, type SyncDaemonParts } from '../../src/cli/sync-daemon.ts';
import type { Listener } from '../../src/http/listener.ts';
import { createLog } from '../../src/observe/log.ts';
import { createFolder } from '../config/config-folder.ts';
import { DAY, FakeStoreApi, NOON } from '../admin/fake-store-api.ts';
import { FakeSyncApi, PROBLEM, PROGRESS, SYNC_REPORT } from '../admin/fake-sync-api.ts';
import { claimPort, untilRefused } from '../helpers/claim-port.ts';
import { serve } from '../helpers/serve.ts';
import { runStoreCommand, serveAdmin } from './run-store-command.ts';

/** It comes once a year: what begins meanwhile was due before. */
const YAML = `
sync:
  schedule: "0 0 1 1 *"
  rules: [{ image: docker.io/library/nginx }]
`;

/** A server at one address that can go away and come back. */
class Site {
  readonly sync = new FakeSyncApi();
  #listener: Listener | undefined;
  #port = 0;

  get url(): URL {
    return new URL(`http://127.0.0.1:${this.#port}`);
  }

  async open(): Promise<void> {
    this.#port ||= await claimPort();
    const place = { host: '127.0.0.1', port: this.#port };
    this.#listener = await serveAdmin(new FakeStoreApi(), place, this.sync);
  }

  async close(): Promise<void> {
    await this.#listener?.close(0);
    this.#listener = undefined;
    await untilRefused(this.#port);
  }
}

async function openSite(t: ExecutionContext): Promise<Site> {
  const site = new Site();
  await site.open();
  t.teardown(async () => site.close());
  return site;
}

type Line = Readonly<Record<string, unknown>>;

interface Scene {
  readonly server: URL;
  readonly signals?: EventEmitter;
  readonly pause: StoreCommandParts['pause'];
  readonly openSchedule?: SyncDaemonParts['openSchedule'];
  readonly heard?: (line: Line) => void;
}

/** Runs the daemon to its end; its log lines without what differs from run to run. */
async function runDaemon(t: ExecutionContext, scene: Scene) {
  const { server, signals = new EventEmitter(), pause, openSchedule, heard } = scene;
  const log: Line[] = [];
  const write = (text: string): void => {
    const {
      name: _,
      time: ___,
      file: __,
      ...line
    } = JSON.parse(
      text.replaceAll(server.href, 'SERVER').replaceAll(server.host, 'HOST'),
    ) as Record<string, unknown>;
    log.push(line);
    heard?.(line);
  };
  const process = {
    env: {},
    cwd: createFolder(t, { 'entrepot.yaml': YAML }),
    stdout: { write: () => t.fail('stdout is for the log') },
    stderr: { write: () => t.fail('stderr is for errors') },
    signals,
    kill: () => t.fail('the command must not end the process'),
  };
  const context = createStoreContext(process, { pause, now: () => NOON });
  const code = await syncDaemon({ server }, context, {
    log: createLog({ destination: { write } }),
    ...(openSchedule && { openSchedule }),
  });
  t.deepEqual(signals.eventNames(), []);
  return { code, log };
}

/** Yields so often at once, then sends the signal. */
function scriptedRuns(times: number, signals: EventEmitter) {
  const since: unknown[] = [];
  const openSchedule: SyncDaemonParts['openSchedule'] = async () => ({
    async *runs(_, from) {
      since.push(from);
      for (let time = 0; time < times; time += 1) yield NOON;
      signals.emit('SIGTERM', 'SIGTERM');
    },
  });
  return { since, openSchedule };
}

const STARTING = { level: 'info', server: 'SERVER', msg: 'starting' };
const STOPPED = { level: 'info', signal: 'SIGTERM', msg: 'stopped' };
const ENDED = { level: 'info', report: SYNC_REPORT, msg: 'sync ended' };
const AWAY =
  'no server answers at SERVER (connect ECONNREFUSED HOST): start it with "entrepot serve", or name its configuration with --config';
const away = (retryInMs: number) => ({ level: 'warn', reason: AWAY, retryInMs, msg: 'retrying' });

test('a server that is away, returns and restarts: the run is carried to its end', async (t) => {
  const site = await openSite(t);
  const { sync } = site;
  await site.close();
  const old = { ...SYNC_REPORT, startedAt: NOON - DAY };
  sync.runState = { last: old };
  sync.runStart = { running: PROGRESS, last: old };
  const pauses: number[] = [];
  const script = [
    async () => undefined,
    async () => site.open(),
    // It is polled while it goes on; then the server restarts in the middle of it.
    async () => undefined,
    async () => site.close(),
    async () => {
      sync.runState = { last: old };
      await site.open();
    },
    async () => undefined,
    async () => {
      sync.runState = { last: SYNC_REPORT };
    },
  ];
  const signals = new EventEmitter();
  const { since, openSchedule } = scriptedRuns(1, signals);
  const { code, log } = await runDaemon(t, {
    server: site.url,
    signals,
    openSchedule,
    pause: async (milliseconds) => {
      pauses.push(milliseconds);
      await script.shift()?.();
    },
  });
  t.deepEqual(log, [
    STARTING,
    away(1_000),
    away(2_000),
    away(1_000),
    {
      level: 'warn',
      reason: 'the run is gone without a report: the server has restarted',
      retryInMs: 1_000,
      msg: 'retrying',
    },
    ENDED,
    STOPPED,
  ]);
  t.deepEqual(pauses, [1_000, 2_000, 2_000, 2_000, 1_000, 1_000, 2_000]);
  t.deepEqual(sync.calls, [
    ['run', undefined],
    ['run', undefined],
  ]);
  t.deepEqual(since, [NOON - DAY]);
  t.is(code, 0);
});

test('the back-off doubles up to a minute', async (t) => {
  const site = await openSite(t);
  await site.close();
  const signals = new EventEmitter();
  const pauses: number[] = [];
  const { code } = await runDaemon(t, {
    server: site.url,
    signals,
    pause: async (milliseconds, signal) => {
      pauses.push(milliseconds);
      if (pauses.length === 8) signals.emit('SIGTERM', 'SIGTERM');
      signal?.throwIfAborted();
    },
  });
  t.deepEqual(pauses, [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
  t.is(code, 0);
});

test('each run is one request and one report, and what went wrong is a warning', async (t) => {
  const site = await openSite(t);
  const { sync } = site;
  const failed = { ...SYNC_REPORT, isOk: false, failures: [PROBLEM] };
  const aborted = { ...SYNC_REPORT, aborted: 'the server is stopping' };
  const reports = [SYNC_REPORT, failed, aborted];
  sync.runStart = { running: PROGRESS };
  const signals = new EventEmitter();
  const { since, openSchedule } = scriptedRuns(3, signals);
  const { code, log } = await runDaemon(t, {
    server: site.url,
    signals,
    openSchedule,
    pause: async () => {
      sync.runState = { last: reports.shift()! };
    },
  });
  t.deepEqual(log, [
    STARTING,
    ENDED,
    { ...ENDED, level: 'warn', report: failed },
    { ...ENDED, level: 'warn', report: aborted },
    STOPPED,
  ]);
  t.deepEqual(sync.calls, [
    ['run', undefined],
    ['run', undefined],
    ['run', undefined],
  ]);
  t.deepEqual(since, [0]);
  t.is(code, 0);
});

test('a run that was over before the answer is reported all the same', async (t) => {
  const site = await openSite(t);
  site.sync.runStart = { last: SYNC_REPORT };
  const signals = new EventEmitter();
  const { openSchedule } = scriptedRuns(1, signals);
  const pause = async () => t.fail('nothing to wait for');
  const { log } = await runDaemon(t, { server: site.url, signals, openSchedule, pause });
  t.deepEqual(log, [STARTING, ENDED, STOPPED]);
});

test('the schedule of the configuration is followed: what was never run begins at once', async (t) => {
  const site = await openSite(t);
  site.sync.runStart = { last: SYNC_REPORT };
  const signals = new EventEmitter();
  const { code, log } = await runDaemon(t, {
    server: site.url,
    signals,
    pause: async () => t.fail('nothing to wait for'),
    heard: ({ msg }) => {
      if (msg === 'sync ended') signals.emit('SIGINT', 'SIGINT');
    },
  });
  t.deepEqual(log, [STARTING, ENDED, { ...STOPPED, signal: 'SIGINT' }]);
  t.is(code, 0);
});

test('a signal ends the daemon in the middle of a pause', async (t) => {
  const site = await openSite(t);
  site.sync.runStart = { running: PROGRESS };
  const signals = new EventEmitter();
  const { openSchedule } = scriptedRuns(1, new EventEmitter());
  const { code, log } = await runDaemon(t, {
    server: site.url,
    signals,
    openSchedule,
    pause: async (_, signal) => {
      const pause = sleep(3_600_000, undefined, signal && { signal });
      signals.emit('SIGTERM', 'SIGTERM');
      await pause;
    },
  });
  t.deepEqual(log, [STARTING, STOPPED]);
  t.is(code, 0);
});

test('a signal ends the daemon in the middle of an answer; the path of its URL goes before', async (t) => {
  const signals = new EventEmitter();
  const asked: unknown[] = [];
  // Never silent for long: no time limit ends it.
  const endless = createServer(({ method, url }, response) => {
    asked.push([method, url]);
    const drip = setInterval(() => response.write(' '), 100);
    response.once('close', () => clearInterval(drip));
    signals.emit('SIGTERM', 'SIGTERM');
  });
  const server = new URL('/mirror/', await serve(t, endless));
  const pause = async () => t.fail('nothing to wait for');
  const { code, log } = await runDaemon(t, { server, signals, pause });
  t.deepEqual(log, [STARTING, STOPPED]);
  t.deepEqual(asked, [['GET', '/mirror/api/v1/sync/run']]);
  t.is(code, 0);
});

test('another program at the address is said, and asked again', async (t) => {
  const other = createServer((_, response) => response.end('<h1>hello</h1>'));
  const signals = new EventEmitter();
  const { log } = await runDaemon(t, {
    server: await serve(t, other),
    signals,
    pause: async (_, signal) => {
      signals.emit('SIGTERM', 'SIGTERM');
      signal?.throwIfAborted();
    },
  });
  t.deepEqual(log, [
    STARTING,
    {
      level: 'warn',
      reason: `what listens at SERVER is not an admin API of entrepot (it answered 200): stop that program, or name another address`,
      retryInMs: 1_000,
      msg: 'retrying',
    },
    STOPPED,
  ]);
});

test('without anything to sync the daemon does not start', async (t) => {
  const args = ['sync', 'daemon', '--server', 'http://127.0.0.1:1'];
  const { code, stdout, stderr } = await runStoreCommand(t, args);
  t.regex(
    stderr,
    /^entrepot: 1 problem in .*entrepot\.yaml\n {2}sync: write here what the site must hold, and when it is fetched\n$/,
  );
  t.deepEqual({ code, stdout }, { code: 78, stdout: '' });
});

for (const url of [
  'localhost:5001',
  'ftp://mirror.example',
  'http://user:secret@mirror.example',
  'http://mirror.example/?a=b',
  'mirror.example',
]) {
  test(`sync daemon --server ${url} is a usage error`, async (t) => {
    t.deepEqual(await runStoreCommand(t, ['sync', 'daemon', '--server', url]), {
      code: 64,
      stdout: '',
      stderr: `entrepot: 1 problem in the command line\n  --server ${url}: write a URL such as "http://127.0.0.1:5001"\n"entrepot sync daemon --help" tells how it is written\n`,
    });
  });
}

test('sync daemon without a server is a usage error', async (t) => {
  t.deepEqual(await runStoreCommand(t, ['sync', 'daemon']), {
    code: 64,
    stdout: '',
    stderr:
      'entrepot: 1 problem in the command line\n  --server <url> is missing: its admin API, such as http://127.0.0.1:5001\n"entrepot sync daemon --help" tells how it is written\n',
  });
});
