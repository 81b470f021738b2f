import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { stripVTControlCharacters } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import { pino } from 'pino';
import type { ServerStatus } from '../../src/api/status-api.ts';
import type { Pin } from '../../src/api/store-api.ts';
import { doctor } from '../../src/cli/doctor.ts';
import { Listener } from '../../src/http/listener.ts';
import { createFakeAdmin, SERVER_STATUS } from '../admin/fake-admin.ts';
import {
  COLLECTION,
  DIGEST,
  FakeStoreApi,
  IMAGES,
  NOON,
  OTHER_DIGEST,
  REPORT,
  SUMMARY,
} from '../admin/fake-store-api.ts';
import {
  FakeSyncApi,
  PARTIAL,
  PLAN,
  PROBLEM,
  STATUS,
  SYNC_REPORT,
} from '../admin/fake-sync-api.ts';
import { createFolder } from '../config/config-folder.ts';
import { claimPort } from '../helpers/claim-port.ts';
import { missingPackages, testUnless } from '../helpers/needs.ts';
import { MAIN } from '../helpers/process.ts';
import { runStoreCommand } from './run-store-command.ts';

const NAME = 'registry.gitlab.corp.example_5050/platform/observability/collector-contrib';
const TAG = '2026.11.28-rc.1-linux-amd64-with-everything-that-fits-in-a-tag';
const REASON =
  'registry.gitlab.corp.example answered 503 to https://registry.gitlab.corp.example/v2/platform/observability/: a proxy on the way has no room';
const LONG_IMAGE = { ...IMAGES[0], image: NAME, tags: [TAG, 'latest'] };
const PINS: readonly Pin[] = [
  { origin: 'use:cluster-of-the-north', image: `${NAME}@${DIGEST}`, since: NOON },
  { origin: 'hand', image: `${NAME}:${TAG}`, reason: REASON, since: NOON },
];
const LONG_SYNC = {
  ...PARTIAL,
  image: NAME,
  tag: TAG,
  rule: 'teams/platform.yaml: rules[12]',
  reason: REASON,
};
const LONG_PROBLEM = { ...PROBLEM, image: NAME, reason: REASON };
const RELEASED = [{ ...PLAN.released[0]!, image: NAME, tag: TAG }];
const DOWN: ServerStatus = {
  ...SERVER_STATUS,
  upstreams: [
    {
      name: 'registry.gitlab.corp.example_5050',
      state: 'down',
      since: NOON,
      reason: REASON,
      accounts: [
        {
          account: 'robot$platform+observability',
          limit: 5_000,
          remaining: 12,
          windowSeconds: 21_600,
        },
        { account: 'anonymous', refused: { since: NOON, reason: REASON } },
      ],
    },
    { name: 'docker.io', state: 'up', accounts: [] },
  ],
};

/** The admin API of a site where all names and reasons are long. */
async function startAdmin(t: ExecutionContext): Promise<string> {
  const store = new FakeStoreApi();
  store.imagesNow = [LONG_IMAGE, IMAGES[1]];
  store.reportNow = { ...REPORT, ...LONG_IMAGE, pins: PINS };
  store.pinsNow = PINS;
  store.summaryNow = { ...SUMMARY, state: 'full', since: NOON, reason: REASON };
  store.collectionNow = {
    ...COLLECTION,
    images: [{ ...COLLECTION.images[0]!, image: NAME, tags: [TAG] }],
    kept: [{ image: NAME, tags: [TAG], digest: OTHER_DIGEST, why: `pinned (hand: ${REASON})` }],
  };
  const damaged = [
    {
      digest: DIGEST,
      fault: 'truncated',
      images: [NAME, 'ghcr.io/org/app'],
      healed: false,
      reason: REASON,
    },
  ] as const;
  const counts = { blobs: 9, bytes: 60_001_500 };
  store.verifyStart = { last: { startedAt: NOON, endedAt: NOON, ...counts, damaged } };
  const sync = new FakeSyncApi();
  sync.statusNow = { ...STATUS, images: [LONG_SYNC, ...STATUS.images], unresolved: [LONG_PROBLEM] };
  sync.planNow = {
    ...PLAN,
    images: [{ ...PLAN.images[1]!, image: NAME, tag: TAG }, ...PLAN.images],
    released: RELEASED,
    problems: [LONG_PROBLEM],
  };
  const failures = [LONG_PROBLEM];
  sync.runStart = { last: { ...SYNC_REPORT, aborted: REASON, failures, released: RELEASED } };
  sync.imageNow = LONG_SYNC;
  const app = createFakeAdmin({ store, sync, status: () => DOWN });
  const place = { host: '127.0.0.1', port: 0 };
  const listener = await Listener.open(place, app.callback(), pino({ level: 'silent' }));
  t.teardown(async () => listener.close(0));
  return new URL(listener.url).host;
}

/** All that is to be read, whatever lines it is on. */
function wordsOf(printed: string): Set<string> {
  return new Set(printed.split(/\s+/));
}

/** Lines that are wider than the terminal, but for a lone word behind its label, to be copied whole. */
function tooWide(printed: string, columns: number): string[] {
  return printed.split('\n').filter((line) => {
    const [, ...cells] = ` ${line}`.split(/ {2,}/);
    return line.length > columns && (cells.length > 2 || /\S \S/.test(cells.at(-1) ?? line));
  });
}

/** Where each cell has a line of its own, the name needs no heading. */
const NEEDLESS = new Set(['IMAGE', 'DIGEST', 'UPSTREAM', 'MANIFEST']);

function assertFits(
  t: ExecutionContext,
  shown: string,
  { piped, columns }: { piped: string; columns: number },
) {
  t.deepEqual(tooWide(shown, columns), [], shown);
  const lost = wordsOf(piped).difference(wordsOf(shown));
  t.deepEqual(lost.difference(NEEDLESS), new Set(), shown);
}

/** A terminal shows the same text in colours; a pipe, and one that wants none, show none. */
async function assertColours(
  t: ExecutionContext,
  args: readonly string[],
  { admin, piped }: { admin: string; piped: string },
): Promise<void> {
  const show = async (env: Readonly<Record<string, string>>, ...more: string[]) =>
    (await runStoreCommand(t, [...args, ...more], { admin, printColumns: 0, env })).stdout;
  const coloured = await show({});
  t.not(coloured, piped);
  t.is(stripVTControlCharacters(coloured), piped);
  t.is(await show({ TERM: 'dumb' }), piped);
  t.is(await show({ NO_COLOR: '1' }), piped);
  t.is(await show({ FORCE_COLOR: '0' }), piped);
  t.is(await show({ NO_COLOR: '1', FORCE_COLOR: '1' }), coloured);
  const json = await show({ FORCE_COLOR: '1' }, '--json');
  t.is(stripVTControlCharacters(json), json);
}

for (const command of [
  'ls',
  'pins',
  'explain nginx',
  'gc --dry-run',
  'verify',
  'status',
  'sync plan --all',
  'sync status --all',
  'sync run',
]) {
  test(`${command}: fits a terminal, and is whole and unfolded in a pipe`, async (t) => {
    const admin = await startAdmin(t);
    const args = command.split(' ');
    const piped = await runStoreCommand(t, args, { admin });
    t.is(piped.stderr, '');
    t.true(tooWide(piped.stdout, 120).length > 0);
    for (const printColumns of [80, 60]) {
      const shown = await runStoreCommand(t, args, { admin, printColumns });
      assertFits(t, shown.stdout, { piped: piped.stdout, columns: printColumns });
    }
    const unknown = await runStoreCommand(t, args, { admin, printColumns: 0 });
    t.deepEqual(unknown, piped);
    await assertColours(t, args, { admin, piped: piped.stdout });
  });
}

test('doctor: fits a terminal, and is whole and unfolded in a pipe', async (t) => {
  const yaml = [
    'upstreams:',
    `  registry.gitlab.corp.example: { url: 'http://127.0.0.1:${await claimPort()}' }`,
    'defaultUpstream: registry.gitlab.corp.example',
  ].join('\n');
  const run = async (columns?: number) => {
    let printed = '';
    const stdout = {
      ...(columns !== undefined && { isTTY: true, columns }),
      write: (text: string) => (printed += text),
    };
    const cwd = createFolder(t, { 'entrepot.yaml': yaml });
    const stderr = { write: (text: string) => t.fail(text) };
    const kill = () => t.fail('the command must not end the process');
    await doctor([], {}, { env: { NO_COLOR: '1' }, cwd, stdout, stderr, signals: process, kill });
    return printed;
  };
  const piped = await run();
  t.true(tooWide(piped, 80).length > 0, piped);
  for (const columns of [80, 60]) {
    const shown = await run(columns);
    assertFits(t, shown, { piped, columns });
  }
});

const testTerminal = testUnless('a terminal', missingPackages('script'));

testTerminal('on a terminal of the system the tables have its width', async (t) => {
  const admin = await startAdmin(t);
  const yaml = `listen: 127.0.0.1:0\nadmin: ${admin}\n`;
  const cwd = createFolder(t, { 'entrepot.yaml': yaml });
  const line = `stty columns 60; ${process.execPath} ${MAIN} sync status`;
  const terminal = spawn('script', ['--quiet', '--return', '--command', line, '/dev/null'], {
    cwd,
    env: { ...process.env, NO_COLOR: '1', FORCE_COLOR: '0' },
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const shown = (await text(terminal.stdout)).replaceAll('\r', '');
  const { stdout: piped } = await runStoreCommand(t, ['sync', 'status'], {
    admin,
    parts: { now: Date.now },
  });
  assertFits(t, shown, { piped, columns: 60 });
});
