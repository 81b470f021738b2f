import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { SyncImage, SyncProgress, SyncRunState, SyncStatus } from '../../src/api/sync-api.ts';
import { RegistryError } from '../../src/oci/errors.ts';
import { createFolder } from '../config/config-folder.ts';
import { DAY, DIGEST, FakeStoreApi, NGINX, NOON, REPORT } from '../admin/fake-store-api.ts';
import {
  FakeSyncApi,
  LOCK,
  OTHER_RULES,
  PARTIAL,
  PLAN,
  PROBLEM,
  PROGRESS,
  READY,
  STATUS,
  SYNC_REPORT,
} from '../admin/fake-sync-api.ts';
import { PrivateAdmin, runStoreCommand, serveAdmin, stepwise } from './run-store-command.ts';

async function startAdmin(t: ExecutionContext, sync: FakeSyncApi, store = new FakeStoreApi()) {
  const listener = await serveAdmin(store, undefined, sync);
  t.teardown(async () => listener.close(0));
  return new URL(listener.url).host;
}

const documentOf = (value: unknown): string => `${JSON.stringify(value, undefined, 2)}\n`;
const lines = (...texts: string[]): string => `${texts.join('\n')}\n`;

const SAME = {
  ...PLAN,
  images: [PLAN.images[0]!],
  released: [{ ...PLAN.released[0]!, action: 'guarded', why: 'its list came back empty' } as const],
  totals: {
    images: 1,
    toFetch: 0,
    fetchBytes: 0,
    heldBytes: 1_500,
    requests: 1,
    countedRequests: 0,
  },
};
const NOTHING = {
  ...PLAN,
  images: [],
  released: [],
  totals: { ...SAME.totals, images: 0, heldBytes: 0, requests: 0 },
};

const PLAN_ROWS = [
  'IMAGE                    TAG   DIGEST               ACTION                          FETCH                SIZE      RULE',
  'docker.io/library/nginx  1.27  sha256:0123456789ab  fetch, was sha256:fedcba987654  12.0 MiB in 3 blobs  57.2 MiB  sync.rules[0]',
  'ghcr.io/org/base               sha256:333333333333  keep                                                 1.46 KiB  sync.rules[2]',
  '',
  '1 of 2 images to fetch: 12.0 MiB, 5 requests, 1 of them counted, about 1m2s; 45.2 MiB held',
  '',
  'no longer selected:',
  'IMAGE                    TAG   DIGEST               ACTION   WHY',
  'docker.io/library/nginx  1.26  sha256:fedcba987654  release  not among the newest 1',
];

for (const [what, plan, code, text] of [
  ['something to do', PLAN, 2, lines(...PLAN_ROWS)],
  [
    'a tag that moves to what is held',
    {
      ...SAME,
      images: [{ ...PLAN.images[0]!, tag: 'v1', before: DIGEST }],
      released: [],
    },
    2,
    lines(
      'IMAGE             TAG  DIGEST               ACTION                         FETCH  SIZE      RULE',
      'ghcr.io/org/base  v1   sha256:333333333333  keep, was sha256:0123456789ab         1.46 KiB  sync.rules[2]',
      '',
      '0 of 1 image to fetch: 0 B, 1 request, 0 of them counted; 1.46 KiB held',
    ),
  ],
  [
    'nothing to do',
    SAME,
    0,
    lines(
      'IMAGE             TAG  DIGEST               ACTION  FETCH  SIZE      RULE',
      'ghcr.io/org/base       sha256:333333333333  keep           1.46 KiB  sync.rules[2]',
      '',
      '0 of 1 image to fetch: 0 B, 1 request, 0 of them counted; 1.46 KiB held',
      '',
      'no longer selected:',
      'IMAGE                    TAG   DIGEST               ACTION   WHY',
      'docker.io/library/nginx  1.26  sha256:fedcba987654  guarded  its list came back empty',
    ),
  ],
  [
    'nothing selected',
    NOTHING,
    0,
    'nothing is selected: write under "sync" what the site must hold\n',
  ],
  [
    'nothing resolved',
    { ...NOTHING, problems: [PROBLEM] },
    1,
    lines(
      '0 of 0 images to fetch: 0 B, 0 requests, 0 of them counted; 0 B held',
      '',
      'could not be resolved:',
      'IMAGE          RULE           REASON',
      'ghcr.io/org/*  sync.rules[1]  ghcr.io has no catalog: name its repositories',
    ),
  ],
  [
    'problems',
    { ...PLAN, problems: [PROBLEM] },
    1,
    lines(
      ...PLAN_ROWS,
      '',
      'could not be resolved:',
      'IMAGE          RULE           REASON',
      'ghcr.io/org/*  sync.rules[1]  ghcr.io has no catalog: name its repositories',
    ),
  ],
] as const) {
  test(`sync plan with ${what}: text, JSON and exit code ${code}`, async (t) => {
    const sync = new FakeSyncApi();
    sync.planNow = plan;
    const admin = await startAdmin(t, sync);
    const plain = await runStoreCommand(t, ['sync', 'plan'], { admin });
    t.deepEqual(plain, { code, stdout: text, stderr: '' });
    const structured = await runStoreCommand(t, ['sync', 'plan', '--json'], { admin });
    t.deepEqual(structured, { code, stdout: documentOf(plan), stderr: '' });
    t.deepEqual(sync.calls, [
      ['plan', undefined],
      ['plan', undefined],
    ]);
  });
}

test('a plan of more than fifty images shows the first fifty, what is to be fetched before', async (t) => {
  const sync = new FakeSyncApi();
  const [kept, fetched] = PLAN.images;
  const images = [...Array.from({ length: 51 }, () => kept!), fetched!];
  sync.planNow = { ...PLAN, images };
  const admin = await startAdmin(t, sync);
  const { stdout } = await runStoreCommand(t, ['sync', 'plan'], { admin });
  const rows = stdout.split('\n');
  t.true(rows[1]!.startsWith(`${NGINX}  1.27`));
  t.is(rows[51], '2 more: --all shows them');
  const all = await runStoreCommand(t, ['sync', 'plan', '--all'], { admin });
  t.is(all.stdout.split('\n').filter((row) => row.startsWith('ghcr.io/org/base')).length, 51);
});

test('the lock is written, read through, and replayed by plan and run', async (t) => {
  const sync = new FakeSyncApi();
  sync.runStart = { last: SYNC_REPORT };
  const admin = await startAdmin(t, sync);
  const file = join(createFolder(t, {}), 'plan.lock');
  t.is((await runStoreCommand(t, ['sync', 'plan', '--lock', file], { admin })).code, 2);
  t.is(readFileSync(file, 'utf8'), documentOf(LOCK));
  t.is((await runStoreCommand(t, ['sync', 'plan', '--locked', file], { admin })).code, 2);
  t.is((await runStoreCommand(t, ['sync', 'run', '--locked', file], { admin })).code, 0);
  t.deepEqual(sync.calls, [
    ['plan', undefined],
    ['plan', LOCK],
    ['run', LOCK],
  ]);
});

test('of some images a run is looked at apart, with a lock or without', async (t) => {
  const { sync, parts } = runScene([]);
  const only = ['a:1', 'b:2'];
  const last = { ...SYNC_REPORT, only };
  sync.someState = { id: 'images', last };
  const admin = await startAdmin(t, sync);
  const files = { 'plan.lock': documentOf(LOCK) };
  const run = ['sync', 'run', '--image', ...only];
  const options = { admin, files, parts };
  t.is((await runStoreCommand(t, run, options)).code, 0);
  const json = await runStoreCommand(t, [...run, '--locked', 'plan.lock', '--json'], options);
  t.deepEqual([json.code, JSON.parse(json.stdout)], [0, last]);
  t.deepEqual(sync.calls, [
    ['runSome', only, undefined],
    ['runSome', only, LOCK],
  ]);
  // What is wrong with the images is not said of the lock.
  const message = 'no rule selects a:1';
  sync.fault = new RegistryError('UNSUPPORTED', { status: 400, message, detail: {} });
  t.deepEqual(await runStoreCommand(t, [...run, '--locked', 'plan.lock'], options), {
    code: 64,
    stdout: '',
    stderr: `entrepot: ${message}\n`,
  });
});

test('a lock is found from the folder of the command', async (t) => {
  const sync = new FakeSyncApi();
  const admin = await startAdmin(t, sync);
  const files = { 'plan.lock': JSON.stringify(LOCK) };
  await runStoreCommand(t, ['sync', 'plan', '--locked', 'plan.lock'], { admin, files });
  t.deepEqual(sync.calls, [['plan', LOCK]]);
});

test('a plan with problems is not written down: the lock would have holes', async (t) => {
  const sync = new FakeSyncApi();
  sync.planNow = { ...PLAN, problems: [PROBLEM] };
  const admin = await startAdmin(t, sync);
  const file = join(createFolder(t, {}), 'plan.lock');
  const { code, stderr } = await runStoreCommand(t, ['sync', 'plan', '--lock', file], { admin });
  t.deepEqual({ code, stderr }, { code: 1, stderr: `${file} is not written: 1 problem\n` });
  t.false(existsSync(file));
});

const REMEDY = 'write a new one with "entrepot sync plan --lock FILE"';
for (const [what, text, reason] of [
  ['is not there', undefined, 'cannot be read: no such file or directory'],
  [
    'is cut off',
    '{"version":1,',
    'is not JSON: Expected double-quoted property name in JSON at position 13 (line 1 column 14)',
  ],
] as const) {
  for (const command of ['plan', 'run']) {
    test(`sync ${command} --locked: a lock that ${what} is a usage error with path and remedy`, async (t) => {
      const sync = new FakeSyncApi();
      const admin = await startAdmin(t, sync);
      const folder = createFolder(t, text === undefined ? {} : { 'plan.lock': text });
      const file = join(folder, 'plan.lock');
      const result = await runStoreCommand(t, ['sync', command, '--locked', file], { admin });
      t.deepEqual(result, {
        code: 64,
        stdout: '',
        stderr: `entrepot: the lock ${file} ${reason}; ${REMEDY}\n`,
      });
      t.deepEqual(sync.calls, []);
    });
  }
}

for (const command of ['plan', 'run']) {
  test(`sync ${command} --locked: a lock that no longer matches is refused with its path`, async (t) => {
    const sync = new FakeSyncApi();
    sync.fault = OTHER_RULES;
    const admin = await startAdmin(t, sync);
    const file = join(createFolder(t, { 'plan.lock': documentOf(LOCK) }), 'plan.lock');
    const args = ['sync', command, '--locked', file];
    const error = `the lock ${file}: lock.rules: the rules have changed since it was written`;
    t.deepEqual(await runStoreCommand(t, args, { admin }), {
      code: 64,
      stdout: '',
      stderr: `entrepot: ${error}\n`,
    });
    t.deepEqual(await runStoreCommand(t, [...args, '--json'], { admin }), {
      code: 64,
      stdout: '',
      stderr: `${JSON.stringify({ error })}\n`,
    });
  });
}

test('a fault that is not of the lock is not told as one', async (t) => {
  const sync = new FakeSyncApi();
  sync.fault = new RegistryError('UNAVAILABLE', { message: 'ghcr.io does not answer' });
  const admin = await startAdmin(t, sync);
  const files = { 'plan.lock': documentOf(LOCK) };
  t.deepEqual(
    await runStoreCommand(t, ['sync', 'plan', '--locked', 'plan.lock'], { admin, files }),
    { code: 1, stdout: '', stderr: 'entrepot: ghcr.io does not answer\n' },
  );
});

test('a lock that cannot be written is a usage error', async (t) => {
  const admin = await startAdmin(t, new FakeSyncApi());
  const file = join(createFolder(t, {}), 'none', 'plan.lock');
  const { code, stderr } = await runStoreCommand(t, ['sync', 'plan', '--lock', file], { admin });
  t.is(
    stderr,
    `entrepot: the lock ${file} cannot be written: no such file or directory; name a file in a folder that is there\n`,
  );
  t.is(code, 64);
});

function runScene(steps: readonly SyncRunState[], stepMs?: number) {
  const sync = new FakeSyncApi();
  const [first = {}, ...rest] = steps;
  sync.runStart = first;
  return { sync, ...stepwise((state) => (sync.runState = state), rest, stepMs) };
}

const FAILED = {
  ...SYNC_REPORT,
  isOk: false,
  images: { fetched: 2, kept: 9, failed: 1 },
  failures: [PROBLEM],
  released: PLAN.released,
};

for (const [what, last, code, text] of [
  ['went well', SYNC_REPORT, 0, '1 image fetched, 11 kept, 0 failed: 4.00 GiB in 3m12s\n'],
  [
    'failed in part',
    FAILED,
    1,
    lines(
      '2 images fetched, 9 kept, 1 failed: 4.00 GiB in 3m12s',
      '',
      'no longer selected:',
      'IMAGE                    TAG   DIGEST               ACTION   WHY',
      'docker.io/library/nginx  1.26  sha256:fedcba987654  release  not among the newest 1',
      '',
      'failed:',
      'IMAGE          RULE           REASON',
      'ghcr.io/org/*  sync.rules[1]  ghcr.io has no catalog: name its repositories',
    ),
  ],
  [
    'missed its link',
    {
      ...FAILED,
      released: [
        { ...PLAN.released[0]!, action: 'guarded', why: 'no link', isUnasked: true } as const,
      ],
    },
    1,
    lines(
      '2 images fetched, 9 kept, 1 failed: 4.00 GiB in 3m12s',
      '',
      'could not be asked:',
      'IMAGE                    TAG   DIGEST               ACTION   WHY',
      'docker.io/library/nginx  1.26  sha256:fedcba987654  guarded  no link',
      '',
      'failed:',
      'IMAGE          RULE           REASON',
      'ghcr.io/org/*  sync.rules[1]  ghcr.io has no catalog: name its repositories',
    ),
  ],
  [
    'was aborted',
    { ...SYNC_REPORT, aborted: 'the server\nis stopping' },
    1,
    lines(
      '1 image fetched, 11 kept, 0 failed: 4.00 GiB in 3m12s',
      'ended early: the server is stopping',
    ),
  ],
] as const) {
  test(`sync run that ${what}: text, JSON and exit code ${code}`, async (t) => {
    for (const isJson of [false, true]) {
      const { sync, parts, pauses } = runScene([{ running: PROGRESS }, { last }]);
      const admin = await startAdmin(t, sync);
      const args = ['sync', 'run', ...(isJson ? ['--json'] : [])];
      const result = await runStoreCommand(t, args, { admin, parts });
      t.deepEqual(result, { code, stdout: isJson ? documentOf(last) : text, stderr: '' });
      t.deepEqual(pauses, [500]);
      t.deepEqual(sync.calls, [['run', undefined]]);
    }
  });
}

const PLANNING: SyncProgress = {
  ...PROGRESS,
  phase: 'planning',
  images: { done: 0, failed: 0, total: 0 },
  bytes: { done: 0, total: 0 },
  bytesPerSecond: 0,
};
const { secondsLeft: _, ...UNKNOWN_END } = PROGRESS;
const WAITING: SyncProgress = {
  ...UNKNOWN_END,
  phase: 'waiting',
  until: NOON + 10 * 3_600_000,
  images: { done: 3, failed: 1, total: 12 },
  bytesPerSecond: 0,
};
const STEPS = [
  { running: PLANNING },
  { running: PROGRESS },
  { running: WAITING },
  { running: { ...UNKNOWN_END, images: { done: 4, failed: 1, total: 12 } } },
  { last: SYNC_REPORT },
];
const FAR = '3 of 12 images, 1.00 GiB of 4.00 GiB, 20.0 MiB/s, 2m34s left';
const WAIT =
  'waiting for a window to open at 2026-11-21T22:00:00.000Z: 3 of 12 images, 1 failed, 1.00 GiB of 4.00 GiB';
const LATER = '4 of 12 images, 1 failed, 1.00 GiB of 4.00 GiB, 20.0 MiB/s';
const CLEAR = '\r\u001B[K';

test('on a terminal the progress is one line with a bar, rewritten and gone at the end', async (t) => {
  const { sync, parts } = runScene(STEPS);
  const admin = await startAdmin(t, sync);
  const options = { admin, parts, isTTY: true, columns: 160 };
  const { code, stderr } = await runStoreCommand(t, ['sync', 'run'], options);
  const bar = `[${'#'.repeat(7)}${'-'.repeat(23)}]`;
  t.is(
    stderr,
    ['', 'planning', `${bar} ${FAR}`, `${bar} ${WAIT}`, `${bar} ${LATER}`, ''].join(CLEAR),
  );
  t.is(code, 0);
});

test('on a terminal of eighty columns the bar takes what is left, and no line wraps', async (t) => {
  const { sync, parts } = runScene(STEPS);
  const admin = await startAdmin(t, sync);
  const { stderr } = await runStoreCommand(t, ['sync', 'run'], { admin, parts, isTTY: true });
  t.deepEqual(stderr.split(CLEAR), [
    '',
    'planning',
    `[####------------] ${FAR}`,
    WAIT.slice(0, 79),
    `[####--------------] ${LATER}`,
    '',
  ]);
});

test('elsewhere the progress is a line every ten seconds', async (t) => {
  const running = { running: PROGRESS };
  const steps = [{ running: PLANNING }, running, running, running, ...STEPS.slice(2)];
  const { sync, parts } = runScene(steps, 5_000);
  const admin = await startAdmin(t, sync);
  const { stderr } = await runStoreCommand(t, ['sync', 'run'], { admin, parts });
  t.is(stderr, lines(FAR, WAIT));
});

test('with --json no progress is told', async (t) => {
  const { sync, parts } = runScene(STEPS, 60_000);
  const admin = await startAdmin(t, sync);
  const options = { admin, parts, isTTY: true };
  const { stderr } = await runStoreCommand(t, ['sync', 'run', '--json'], options);
  t.is(stderr, '');
});

test('a run that ends without its report is no success', async (t) => {
  const old = { ...SYNC_REPORT, startedAt: NOON - 1 };
  const { sync, parts } = runScene([{ running: PROGRESS, last: old }, { last: old }]);
  const admin = await startAdmin(t, sync);
  t.deepEqual(await runStoreCommand(t, ['sync', 'run'], { admin, parts }), {
    code: 1,
    stdout: '',
    stderr: 'entrepot: the run ended without a report; the log of the server says why\n',
  });
});

test('a lock is not replayed while another run is under way', async (t) => {
  const sync = new FakeSyncApi();
  sync.runState = { running: PROGRESS };
  const admin = await startAdmin(t, sync);
  const files = { 'plan.lock': documentOf(LOCK) };
  const args = ['sync', 'run', '--locked', 'plan.lock'];
  t.deepEqual(await runStoreCommand(t, args, { admin, files }), {
    code: 1,
    stdout: '',
    stderr: 'entrepot: a run is under way already: wait for its end, then begin this one\n',
  });
  t.deepEqual(sync.calls, []);
});

const ALL_READY: SyncStatus = {
  ...STATUS,
  counts: { ready: 1, partial: 0, stale: 0, unresolved: 0 },
  images: [READY],
  run: { last: { ...SYNC_REPORT, endedAt: NOON - DAY } },
};
const LACKING: SyncImage = { ...PARTIAL, missingBytes: 0, missing: [] };
const READY_TEXT = [
  'IMAGE                    TAG   STATE  MISSING  AGE         RULE           WHY',
  'docker.io/library/nginx  1.27  ready           1 hour ago  sync.rules[0]',
  '',
  '1 ready, 0 partial, 0 stale',
];

for (const [what, status, code, text] of [
  [
    'all is ready',
    ALL_READY,
    0,
    lines(
      ...READY_TEXT,
      'last run 1 day ago: 1 image fetched, 11 kept, 0 failed',
      'next run at 2026-11-21T13:00:00.000Z',
    ),
  ],
  [
    'some is not',
    STATUS,
    1,
    lines(
      'IMAGE                    TAG                  STATE    MISSING   AGE         RULE                   WHY',
      'ghcr.io/org/app          v1                   partial  12.0 MiB  2 days ago  team-a.yaml: rules[1]  ghcr.io answered 503',
      'ghcr.io/org/base         sha256:333333333333  stale              9 days ago  sync.rules[2]',
      'docker.io/library/nginx  1.27                 ready              1 hour ago  sync.rules[0]',
      '',
      '1 ready, 1 partial (12.0 MiB missing), 1 stale',
      'no run yet',
      'next run at 2026-11-21T13:00:00.000Z',
    ),
  ],
  [
    'a tag is all that is missing',
    {
      ...STATUS,
      counts: { ready: 0, partial: 1, stale: 0, unresolved: 0 },
      images: [{ ...LACKING, lacksTag: true, reason: 'its tag is not recorded yet' }],
    },
    1,
    lines(
      'IMAGE            TAG  STATE    MISSING  AGE         RULE                   WHY',
      'ghcr.io/org/app  v1   partial  the tag  2 days ago  team-a.yaml: rules[1]  its tag is not recorded yet',
      '',
      '0 ready, 1 partial (1 tag missing), 0 stale',
      'no run yet',
      'next run at 2026-11-21T13:00:00.000Z',
    ),
  ],
  [
    'bytes, a tag, and a manifest that was never seen are missing',
    {
      ...STATUS,
      counts: { ready: 0, partial: 3, stale: 0, unresolved: 0 },
      images: [
        { ...PARTIAL, lacksTag: true, reason: 'one file is missing' },
        { ...LACKING, lacksTag: true, reason: 'its tag is not recorded yet' },
        {
          ...LACKING,
          missing: [{ digest: DIGEST, size: 0 }],
          lacksTag: true,
          reason: 'one file is missing',
        },
      ],
    },
    1,
    lines(
      'IMAGE            TAG  STATE    MISSING       AGE         RULE                   WHY',
      'ghcr.io/org/app  v1   partial  12.0 MiB      2 days ago  team-a.yaml: rules[1]  one file is missing',
      'ghcr.io/org/app  v1   partial  the tag       2 days ago  team-a.yaml: rules[1]  its tag is not recorded yet',
      'ghcr.io/org/app  v1   partial  size unknown  2 days ago  team-a.yaml: rules[1]  one file is missing',
      '',
      '0 ready, 3 partial (12.0 MiB and 1 tag missing), 0 stale',
      'no run yet',
      'next run at 2026-11-21T13:00:00.000Z',
    ),
  ],
  [
    'a rule was never resolved',
    {
      ...ALL_READY,
      counts: { ...ALL_READY.counts, unresolved: 1 },
      unresolved: [PROBLEM],
      closedUntil: NOON + DAY,
      run: { running: PROGRESS },
    },
    1,
    lines(
      ...READY_TEXT.slice(0, -1),
      '1 ready, 0 partial, 0 stale, 1 unresolved',
      `running: ${FAR}`,
      'next run at 2026-11-21T13:00:00.000Z',
      'no window is open before 2026-11-22T12:00:00.000Z',
      '',
      'not resolved:',
      'IMAGE          RULE           REASON',
      'ghcr.io/org/*  sync.rules[1]  ghcr.io has no catalog: name its repositories',
    ),
  ],
  [
    'the last run had its troubles',
    { ...ALL_READY, run: { last: { ...FAILED, endedAt: NOON, aborted: 'stopped' } } },
    0,
    lines(
      ...READY_TEXT,
      'last run just now: 2 images fetched, 9 kept, 1 failed, 1 problem, ended early: stopped',
      'next run at 2026-11-21T13:00:00.000Z',
    ),
  ],
  [
    'nothing was selected yet',
    { rules: 1, counts: { ready: 0, partial: 0, stale: 0, unresolved: 0 }, images: [], run: {} },
    1,
    lines('0 ready, 0 partial, 0 stale', 'no run yet'),
  ],
  [
    'there are no rules',
    { rules: 0, counts: { ready: 0, partial: 0, stale: 0, unresolved: 0 }, images: [], run: {} },
    1,
    'no rules: write under "sync" what the site must hold\n',
  ],
] as const) {
  test(`sync status when ${what}: text, JSON and exit code ${code}`, async (t) => {
    const sync = new FakeSyncApi();
    sync.statusNow = status;
    const admin = await startAdmin(t, sync);
    const plain = await runStoreCommand(t, ['sync', 'status'], { admin });
    t.deepEqual(plain, { code, stdout: text, stderr: '' });
    const structured = await runStoreCommand(t, ['sync', 'status', '--json'], { admin });
    t.deepEqual(structured, { code, stdout: documentOf(status), stderr: '' });
    t.deepEqual(sync.calls, [['status'], ['status']]);
  });
}

test('sync status of more than fifty images shows those first that are not ready', async (t) => {
  const sync = new FakeSyncApi();
  const ready = Array.from({ length: 51 }, () => READY);
  sync.statusNow = { ...STATUS, images: [...ready, PARTIAL] };
  const admin = await startAdmin(t, sync);
  const { stdout } = await runStoreCommand(t, ['sync', 'status'], { admin });
  const rows = stdout.split('\n');
  t.true(rows[1]!.startsWith('ghcr.io/org/app'));
  t.is(rows.filter((row) => row.startsWith(NGINX)).length, 49);
  t.is(rows[51], '2 more: --all shows them');
  const all = await runStoreCommand(t, ['sync', 'status', '--all'], { admin });
  t.is(all.stdout.split('\n').filter((row) => row.startsWith(NGINX)).length, 51);
});

for (const [args, code] of [
  [['sync', 'status'], 1],
  [['sync', 'plan'], 2],
  [['sync', 'run'], 0],
] as const) {
  test(`${args.join(' ')}: the same without a server, from a private socket`, async (t) => {
    const { sync, parts } = runScene([{ running: PROGRESS }, { last: SYNC_REPORT }]);
    const home = new PrivateAdmin(new FakeStoreApi(), sync);
    const own = await runStoreCommand(t, args, {
      parts: { ...parts, startPrivateAdmin: home.start },
    });
    t.is(own.code, code);
    const again = runScene([{ running: PROGRESS }, { last: SYNC_REPORT }]);
    const admin = await startAdmin(t, again.sync);
    t.deepEqual(await runStoreCommand(t, args, { admin, parts: again.parts }), own);
    t.deepEqual(home.events, ['opened /srv/store in a folder of mode 700', 'closed']);
  });
}

const WANTED_TEXT = [
  '  rule     team-a.yaml: rules[1], all platforms',
  `  wanted   ${PARTIAL.digest}, checked 2 days ago`,
  '  sync     partial, 12.0 MiB missing: ghcr.io answered 503',
  `  missing  ${PARTIAL.missing[0]!.digest}, 8.00 MiB`,
  '  missing  and more, 4.00 MiB',
];

test('explain shows the rule, its digest, what is missing and why', async (t) => {
  const sync = new FakeSyncApi();
  const admin = await startAdmin(t, sync);
  const args = ['explain', `${NGINX}:1.27`];
  const before = (await runStoreCommand(t, args, { admin })).stdout.split('\n');
  const end = before.indexOf('');
  sync.imageNow = PARTIAL;
  t.deepEqual(await runStoreCommand(t, args, { admin }), {
    code: 0,
    stdout: [...before.slice(0, end), ...WANTED_TEXT, ...before.slice(end)].join('\n'),
    stderr: '',
  });
  t.deepEqual(await runStoreCommand(t, [...args, '--json'], { admin }), {
    code: 0,
    stdout: documentOf({ ...REPORT, sync: PARTIAL }),
    stderr: '',
  });
});

test('explain shows what a rule wants of an image of which nothing is held, and fails', async (t) => {
  const [store, sync] = [new FakeStoreApi(), new FakeSyncApi()];
  store.reportNow = undefined;
  sync.imageNow = READY;
  const admin = await startAdmin(t, sync, store);
  const args = ['explain', `${NGINX}:1.27`];
  t.deepEqual(await runStoreCommand(t, args, { admin }), {
    code: 1,
    stdout: lines(
      `${NGINX}:1.27`,
      '  state    nothing of it is held',
      '  rule     sync.rules[0], linux/amd64, linux/arm64',
      `  wanted   ${DIGEST}, checked 1 hour ago`,
      '  sync     ready',
    ),
    stderr: '',
  });
  t.deepEqual(await runStoreCommand(t, [...args, '--json'], { admin }), {
    code: 1,
    stdout: documentOf({ image: `${NGINX}:1.27`, sync: READY }),
    stderr: '',
  });
});
