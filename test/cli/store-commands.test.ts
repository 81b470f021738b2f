import { existsSync, utimesSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { EventEmitter } from 'node:events';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { InUse, PassedOver, VerifyState } from '../../src/api/store-api.ts';
import { SERVER_STATUS } from '../admin/fake-admin.ts';
import {
  COLLECTION,
  DIGEST,
  FakeStoreApi,
  IMAGES,
  NGINX,
  NOON,
  NO_IMAGE,
  OTHER_DIGEST,
  PINS,
  REPORT,
  SUMMARY,
} from '../admin/fake-store-api.ts';
import { createFolder } from '../config/config-folder.ts';
import { Gate } from '../helpers/gate.ts';
import { serve } from '../helpers/serve.ts';
import {
  NOWHERE,
  PrivateAdmin,
  runStoreCommand,
  serveAdmin,
  stepwise,
} from './run-store-command.ts';

/** The address of a running server with this API. */
async function startAdmin(t: ExecutionContext, store: FakeStoreApi): Promise<string> {
  const listener = await serveAdmin(store);
  t.teardown(async () => listener.close(0));
  return new URL(listener.url).host;
}

const COLLECTION_TABLES = [
  'IMAGE            TAGS    DIGEST               SIZE      PULLED       WHY',
  'ghcr.io/org/app  v1, v2  sha256:fedcba987654  1.00 GiB  40 days ago  pulled longest ago',
  '',
  'older, and kept:',
  'IMAGE                    TAGS  DIGEST               WHY',
  'docker.io/library/nginx  1.27  sha256:0123456789ab  pinned by hand',
];

const documentOf = (value: unknown): string => `${JSON.stringify(value, undefined, 2)}\n`;
const lines = (...texts: string[]): string => `${texts.join('\n')}\n`;

interface Row {
  readonly args: readonly string[];
  readonly calls: readonly unknown[][];
  readonly text: string;
  readonly json: unknown;
  readonly files?: Readonly<Record<string, string>>;
}

/** The server reads each; the place in the list stays. */
const LIST_ENTRIES = ['# what runs', 'nginx:1.27\r', '', '  ghcr.io/org/app:v1  # the app'];

const ROWS: readonly Row[] = [
  {
    args: ['ls'],
    calls: [['images', { sort: 'name', limit: 1000 }]],
    text: lines(
      'IMAGE                    TAGS          DIGEST               SIZE      OWN       PULLS  PULLED       STATE',
      'docker.io/library/nginx  1.27, latest  sha256:0123456789ab  57.2 MiB  40.1 MiB  1204   3 hours ago  partial, 12.0 MiB missing, 37 % of it here, pinned',
      'ghcr.io/org/app                        sha256:fedcba987654  1.46 KiB  512 B     0      40 days ago  complete',
    ),
    json: { images: IMAGES },
  },
  {
    args: ['ls', 'docker.io/**:1.*', '--sort', 'oldest', '--limit', '7'],
    calls: [['images', { sort: 'oldest', limit: 7, match: 'docker.io/**:1.*' }]],
    text: lines(
      'IMAGE                    TAGS          DIGEST               SIZE      OWN       PULLS  PULLED       STATE',
      'docker.io/library/nginx  1.27, latest  sha256:0123456789ab  57.2 MiB  40.1 MiB  1204   3 hours ago  partial, 12.0 MiB missing, 37 % of it here, pinned',
      'ghcr.io/org/app                        sha256:fedcba987654  1.46 KiB  512 B     0      40 days ago  complete',
    ),
    json: { images: IMAGES },
  },
  {
    args: ['explain', `${NGINX}:1.27`],
    calls: [['explain', `${NGINX}:1.27`]],
    text: lines(
      'docker.io/library/nginx:1.27, latest',
      `  digest   ${DIGEST}`,
      '  type     application/vnd.oci.image.index.v1+json',
      '  state    partial, 12.0 MiB missing, 37 % of it here',
      `  in part  sha256:${'1'.repeat(64)}, 37 % of 12.0 MiB here, not verified`,
      '  size     57.2 MiB; without it there would be 40.1 MiB more room',
      '  stored   3 days ago',
      '  pulled   3 hours ago',
      '  pulls    1204',
      '  checked  1.27 1 day ago',
      '  checked  latest 5 minutes ago',
      '  pinned   by hand as docker.io/library/nginx:1.27 2 days ago: the rollout of Monday',
      `  part of  ${OTHER_DIGEST}`,
      '  bundle   7 of series 5b7a0c1e-93d4-4a52-8f60-1d2e3f405162',
      '',
      'MANIFEST             ROLE      PLATFORM        SIZE      STATE                     FROM',
      'sha256:0123456789ab  root                      1.00 KiB  held                      docker.io, 3 days ago',
      'sha256:fedcba987654  platform  linux/amd64     57.2 MiB  1 blob missing, 12.0 MiB  docker.io, 3 days ago',
      'sha256:222222222222  platform  linux/arm64/v8  0 B       nobody asked for it',
      '',
      'BLOB                 SIZE      FROM',
      'sha256:444444444444  38.1 MiB  bundle 7 of 5b7a0c1e, 9 days ago',
      'sha256:555555555555  9.54 MiB  unknown',
      'sha256:666666666666  9.53 MiB  a layout, 1 hour ago',
    ),
    json: REPORT,
  },
  {
    args: ['gc', '--dry-run', '--bytes', '2GiB'],
    calls: [['planCollection', 2_147_483_648]],
    text: lines(
      'would go: 1 image, 7 blobs, 1.00 GiB, less than the 2.00 GiB wanted',
      '',
      ...COLLECTION_TABLES,
    ),
    json: COLLECTION,
  },
  {
    args: ['gc'],
    calls: [['collect', undefined]],
    text: lines(
      'gone: 1 image, 7 blobs, 1.00 GiB, less than the 2.00 GiB wanted',
      '',
      ...COLLECTION_TABLES,
    ),
    json: COLLECTION,
  },
  {
    args: ['pins'],
    calls: [['pins']],
    text: lines(
      'IMAGE                         PINNED                SINCE       REASON',
      'docker.io/library/nginx:1.27  by hand               2 days ago  the rollout of Monday',
      'ghcr.io/org/*:stable          by the configuration  9 days ago',
      'ghcr.io/org/app:v1            in use by cluster-a   1 hour ago',
    ),
    json: { pins: PINS },
  },
  {
    args: ['pin', 'ghcr.io/org/app:v1', '--reason', 'a & b'],
    calls: [['pin', 'ghcr.io/org/app:v1', 'a & b']],
    text: 'pinned ghcr.io/org/app:v1\n',
    json: {
      origin: 'hand',
      image: 'ghcr.io/org/app:v1',
      reason: 'a & b',
      since: NOON,
      isHeld: true,
    },
  },
  {
    args: ['pin', 'ghcr.io/org/app'],
    calls: [['pin', 'ghcr.io/org/app', undefined]],
    text: 'pinned ghcr.io/org/app\n',
    json: { origin: 'hand', image: 'ghcr.io/org/app', since: NOON, isHeld: true },
  },
  {
    args: ['pin', '--in-use', 'list.txt', '--source', 'cluster-a'],
    files: { 'list.txt': `${LIST_ENTRIES.join('\n')}\n` },
    calls: [['setInUse', 'cluster-a', { entries: LIST_ENTRIES, isWhole: true }]],
    text: '4 images pinned as in use by cluster-a\n',
    json: {
      pins: LIST_ENTRIES.map((image) => {
        return { origin: 'use:cluster-a', image, since: NOON, isHeld: true };
      }),
      passedOver: [],
      isWhole: true,
    },
  },
  {
    args: ['pin', '--in-use', 'list.txt'],
    files: { 'list.txt': '[]' },
    calls: [['setInUse', 'default', { entries: [], isWhole: true }]],
    text: '0 images pinned as in use by default\n',
    json: { pins: [], passedOver: [], isWhole: true },
  },
  {
    args: ['unpin', `${NGINX}:1.27`],
    calls: [['unpin', `${NGINX}:1.27`]],
    text: 'unpinned docker.io/library/nginx:1.27\n',
    json: { unpinned: `${NGINX}:1.27` },
  },
];

// One after the other: each has a server and a client that waits for it no longer than it waits for any.
for (const { args, calls, text, json, files = {} } of ROWS) {
  test.serial(`${args.join(' ')}: text and JSON of the running server`, async (t) => {
    const store = new FakeStoreApi();
    const admin = await startAdmin(t, store);
    const plain = await runStoreCommand(t, args, { admin, files });
    t.deepEqual(plain, { code: 0, stdout: text, stderr: '' });
    const structured = await runStoreCommand(t, [...args, '--json'], { admin, files });
    t.deepEqual(structured, { code: 0, stdout: documentOf(json), stderr: '' });
    t.deepEqual(store.calls, [...calls, ...calls]);
  });

  test.serial(`${args.join(' ')}: the same without a server, from a private socket`, async (t) => {
    const home = new PrivateAdmin(new FakeStoreApi());
    const parts = { startPrivateAdmin: home.start };
    const plain = await runStoreCommand(t, args, { files, parts });
    t.deepEqual(plain, { code: 0, stdout: text, stderr: '' });
    t.deepEqual(home.store.calls, calls as unknown[][]);
    t.deepEqual(home.events, ['opened /srv/store in a folder of mode 700', 'closed']);
    t.false(existsSync(home.folder));
  });
}

test('an empty store says so', async (t) => {
  const store = new FakeStoreApi();
  Object.assign(store, { imagesNow: [], pinsNow: [] });
  store.collectionNow = {
    wantedBytes: 0,
    released: { images: 0, blobs: 0, bytes: 0 },
    images: [],
    kept: [],
  };
  const admin = await startAdmin(t, store);
  for (const [args, text] of [
    [['ls'], 'nothing is held\n'],
    [['ls', 'a*'], 'nothing of a* is held\n'],
    [['pins'], 'nothing is pinned\n'],
    [['gc', '--dry-run'], 'nothing has to go\n'],
  ] as const) {
    t.deepEqual(await runStoreCommand(t, args, { admin }), { code: 0, stdout: text, stderr: '' });
  }
});

test('a list that was cut says so', async (t) => {
  const admin = await startAdmin(t, new FakeStoreApi());
  const { code, stderr } = await runStoreCommand(t, ['ls', '--limit', '2'], { admin });
  t.is(stderr, 'no more than 2 images are shown: --limit shows more\n');
  t.is(code, 0);
});

test('a list that was cut to one image is spoken of as one', async (t) => {
  const store = new FakeStoreApi();
  store.imagesNow = [IMAGES[0]];
  const admin = await startAdmin(t, store);
  const { code, stderr } = await runStoreCommand(t, ['ls', '--limit', '1'], { admin });
  t.is(stderr, 'no more than 1 image is shown: --limit shows more\n');
  t.is(code, 0);
});

for (const [image, text] of [
  ['reg.local/nope', 'pinned reg.local/nope: nothing of it is held yet\n'],
  [
    'reg.local/*',
    'pinned reg.local/*: nothing of it is held yet ("*" stops at a slash, "**" does not)\n',
  ],
  ['reg.local/team**', 'pinned reg.local/team**: nothing of it is held yet\n'],
  ['reg.local/**', 'pinned reg.local/**: nothing of it is held yet\n'],
] as const) {
  test(`pin ${image}: that nothing of it is held is said, and it is pinned`, async (t) => {
    const store = new FakeStoreApi();
    store.unheldNow = new Set([image]);
    const admin = await startAdmin(t, store);
    const plain = await runStoreCommand(t, ['pin', image], { admin });
    t.deepEqual(plain, { code: 0, stdout: text, stderr: '' });
    const { stdout } = await runStoreCommand(t, ['pin', image, '--json'], { admin });
    t.is(stdout, documentOf({ origin: 'hand', image, since: NOON, isHeld: false }));
  });
}

for (const [unheld, lack] of [
  [['a'], ', of which 1 is not held'],
  [['a', 'b'], ', of which 2 are not held'],
] as const) {
  test(`pin --in-use: that ${unheld.join(' and ')} of two images are not held is said`, async (t) => {
    const store = new FakeStoreApi();
    store.unheldNow = new Set(unheld);
    const admin = await startAdmin(t, store);
    const args = ['pin', '--in-use', 'list'];
    t.deepEqual(await runStoreCommand(t, args, { admin, files: { list: 'a\nb\n' } }), {
      code: 0,
      stdout: `2 images pinned as in use by default${lack}\n`,
      stderr: '',
    });
  });
}

test('pin --in-use: what is passed over is told with its line, and a line that names no image is a failure', async (t) => {
  const store = new FakeStoreApi();
  const passed = (line: number, kind: PassedOver['kind'], text: string, reason: string) => {
    return { line, text, kind, reason };
  };
  const elsewhere = passed(1, 'elsewhere', 'quay.io/a', 'not mirrored here');
  const unnamed = passed(3, 'unnamed', '<none>:<none>', 'an image without a name');
  const invalid = passed(4, 'invalid', 'A\u0007', 'invalid repository name');
  const admin = await startAdmin(t, store);
  const args = ['pin', '--in-use', 'list'];
  const run = async () => runStoreCommand(t, args, { admin, files: { list: 'a\n' } });
  store.passedOverNow = [elsewhere, unnamed];
  t.deepEqual(await run(), {
    code: 0,
    stdout: lines(
      '1 image pinned as in use by default',
      '1 entry passed over:',
      '  line 3: <none>:<none>: an image without a name',
      '1 image of registries that are not mirrored here',
    ),
    stderr: '',
  });
  store.passedOverNow = [...Array.from({ length: 21 }, () => unnamed), invalid];
  const { code, stdout } = await run();
  t.is(code, 1);
  t.true(stdout.includes('\n22 entries passed over:\n'), stdout);
  t.true(stdout.endsWith('an image without a name\n  and 2 more\n'), stdout);
  store.passedOverNow = [invalid];
  const json = await runStoreCommand(t, [...args, '--json'], { admin, files: { list: 'a\n' } });
  t.is(json.code, 1);
  t.deepEqual((JSON.parse(json.stdout) as InUse).passedOver, [invalid]);
});

for (const [what, text, error] of [
  ['JSON that is cut', '{"items":[{"image":"a"', /^entrepot: the list is JSON that ends early/],
  ['an array that is cut', '["a",', /^entrepot: the list is JSON that ends early/],
] as const) {
  test(`pin --in-use: ${what} changes nothing`, async (t) => {
    const files = { list: text };
    const { code, stderr } = await runStoreCommand(t, ['pin', '--in-use', 'list'], { files });
    t.regex(stderr, error);
    t.is(code, 1);
  });
}

test('pin --in-use: a list whose last line has no end only adds, and that is said', async (t) => {
  const store = new FakeStoreApi();
  const admin = await startAdmin(t, store);
  const files = { list: 'a:1\nb' };
  const { code, stdout } = await runStoreCommand(t, ['pin', '--in-use', 'list'], { admin, files });
  t.deepEqual(store.calls[0], ['setInUse', 'default', { entries: ['a:1', 'b'], isWhole: false }]);
  t.true(stdout.endsWith('has no end: what it no longer names stays pinned\n'), stdout);
  t.is(code, 0);
});

test('pin --in-use: a file that was written just now is read when it stands still, or not at all', async (t) => {
  const store = new FakeStoreApi();
  const admin = await startAdmin(t, store);
  const folder = createFolder(t, { list: 'a\n' });
  const list = join(folder, 'list');
  let wrote = 0;
  const write = (text: string): void => {
    writeFileSync(list, text);
    utimesSync(list, NOON / 1000, (NOON + (wrote += 1)) / 1000);
  };
  write('a\n');
  const args = ['pin', '--in-use', list];
  const more = ['a\nb\n'];
  const pause = async (): Promise<void> => {
    const next = more.shift();
    if (next !== undefined) write(next);
  };
  t.is((await runStoreCommand(t, args, { admin, parts: { pause } })).code, 0);
  t.deepEqual(store.calls, [['setInUse', 'default', { entries: ['a', 'b'], isWhole: true }]]);
  const { code, stderr } = await runStoreCommand(t, args, {
    admin,
    parts: { pause: async () => write('c\n') },
  });
  t.regex(stderr, /^entrepot: .* is still being written: nothing is changed/);
  t.is(code, 1);
  t.is(store.calls.length, 1);
});

test('words of others can neither break a table nor command the terminal', async (t) => {
  const store = new FakeStoreApi();
  store.pinsNow = [{ origin: 'hand', image: 'a', reason: 'b\n\u001B[2Jc\u009B', since: NOON }];
  const admin = await startAdmin(t, store);
  const { stdout } = await runStoreCommand(t, ['pins'], { admin });
  t.is(stdout, lines('IMAGE  PINNED   SINCE     REASON', 'a      by hand  just now  b [2Jc'));
});

for (const [args, calls, code, error] of [
  [['explain', 'a'], [['explain', 'a']], 1, 'nothing of a is held'],
  [['unpin', 'a'], [['unpin', 'a']], 1, 'a is not pinned by hand'],
] as const) {
  test(`${args.join(' ')}: what is not there is exit code ${code}`, async (t) => {
    const store = new FakeStoreApi();
    store.reportNow = undefined;
    const admin = await startAdmin(t, store);
    const plain = await runStoreCommand(t, args, { admin });
    t.deepEqual(plain, { code, stdout: '', stderr: `entrepot: ${error}\n` });
    const structured = await runStoreCommand(t, [...args, '--json'], { admin });
    t.deepEqual(structured, { code, stdout: '', stderr: `${JSON.stringify({ error })}\n` });
    t.deepEqual(store.calls, [[...calls[0]], [...calls[0]]]);
  });
}

test('of what is not pinned by hand it is said who else keeps it', async (t) => {
  const store = new FakeStoreApi();
  const since = NOON;
  store.pinsOfNow = [
    { origin: 'config', image: 'ghcr.io/org/*', since },
    { origin: 'use:cluster-a', image: 'ghcr.io/org/a:v2', since },
    { origin: 'sync', image: 'ghcr.io/org/a@sha256:1', reason: 'sync.rules[0]', since },
    { origin: 'hand', image: 'ghcr.io/**', since },
  ];
  const admin = await startAdmin(t, store);
  t.deepEqual(await runStoreCommand(t, ['unpin', 'a'], { admin }), {
    code: 1,
    stdout: '',
    stderr:
      'entrepot: a is not pinned by hand, but by the configuration as ghcr.io/org/*, in use by cluster-a as ghcr.io/org/a:v2, by sync (sync.rules[0]) as ghcr.io/org/a@sha256:1, by another pin by hand as ghcr.io/**\n',
  });
});

for (const args of [
  ['explain', 'x'],
  ['pin', 'x'],
]) {
  test(`${args.join(' ')}: what names no image is a usage error in the server's words`, async (t) => {
    const store = new FakeStoreApi();
    store.fault = NO_IMAGE;
    t.deepEqual(await runStoreCommand(t, args, { admin: await startAdmin(t, store) }), {
      code: 64,
      stdout: '',
      stderr: 'entrepot: write it as docker.io/library/nginx:1.27: this names no image\n',
    });
  });
}

for (const [args, problem] of [
  [['ls', '--sort', 'colour'], '--sort colour: write one of name, size, oldest, pulls'],
  [['ls', '--limit', '0'], '--limit 0: write a whole number from 1 to 100000'],
  [['gc', '--bytes', 'much'], '--bytes much: write a size such as "10GiB" or "500MB"'],
  [['gc', '--bytes', '0'], '--bytes 0: write a size such as "10GiB" or "500MB"'],
  [['explain'], '<image> is missing; write it behind "entrepot explain"'],
  [['unpin'], '<image> is missing; write it behind "entrepot unpin"'],
  [['pin'], 'write an image, or --in-use with a file of them'],
  [['pin', 'a', '--source', 'b'], '--source goes with --in-use'],
  [
    ['pin', 'a', '--in-use', 'list.txt'],
    'write either an image with its reason, or --in-use with a file',
  ],
  [
    ['pin', '--in-use', 'list.txt', '--reason', 'b'],
    'write either an image with its reason, or --in-use with a file',
  ],
] as const) {
  test(`${args.join(' ')} is a usage error`, async (t) => {
    const stderr = `entrepot: 1 problem in the command line\n  ${problem}\n"entrepot ${args[0]} --help" tells how it is written\n`;
    t.deepEqual(await runStoreCommand(t, args), { code: 64, stdout: '', stderr });
  });
}

test('a list that cannot be read is a usage error', async (t) => {
  const { code, stderr } = await runStoreCommand(t, ['pin', '--in-use', 'none.txt']);
  t.regex(stderr, /^entrepot: the list of images cannot be read: ENOENT: .*none\.txt'\n$/);
  t.is(code, 64);
});

const COMMANDS = [
  ['ls'],
  ['explain', 'a'],
  ['gc'],
  ['rm', 'a:1'],
  ['warm', 'a'],
  ['verify'],
  ['pin', 'a'],
  ['pins'],
  ['unpin', 'a'],
];
const LOCKED =
  'the store /srv/store is in use by another process; stop it, or set another store.path';

for (const args of [...COMMANDS, ['verify', '--rebuild']]) {
  test(`${args.join(' ')}: a store that another process has open is one line`, async (t) => {
    const lock = Object.assign(new Error('lock'), { code: 'LEVEL_LOCKED' });
    const fail = async () => Promise.reject(new Error('not opened', { cause: lock }));
    const parts = { startPrivateAdmin: fail, rebuildCatalog: fail };
    const plain = await runStoreCommand(t, args, { parts });
    t.deepEqual(plain, { code: 1, stdout: '', stderr: `entrepot: ${LOCKED}\n` });
    const { code, stderr } = await runStoreCommand(t, [...args, '--json'], { parts });
    t.deepEqual(JSON.parse(stderr), { error: LOCKED });
    t.is(code, 1);
  });
}

for (const args of [...COMMANDS, ['verify', '--rebuild']]) {
  test(`${args.join(' ')}: another program at the address is told from a server`, async (t) => {
    const other = createServer((_, response) => response.end('<h1>hello</h1>'));
    const { host: admin } = await serve(t, other);
    t.deepEqual(await runStoreCommand(t, args, { admin }), {
      code: 1,
      stdout: '',
      stderr: `entrepot: what listens at ${admin} is not an admin API of entrepot (it answered 200): stop that program, or name another address\n`,
    });
  });
}

test('a fault while the private socket is served closes and removes it', async (t) => {
  const home = new PrivateAdmin(new FakeStoreApi());
  home.store.fault = new TypeError('a bug');
  const result = await runStoreCommand(t, ['ls'], { parts: { startPrivateAdmin: home.start } });
  t.deepEqual(result, { code: 1, stdout: '', stderr: 'entrepot: internal error\n' });
  t.deepEqual(home.events, ['opened /srv/store in a folder of mode 700', 'closed']);
  t.false(existsSync(home.folder));
});

const RUNNING = {
  startedAt: NOON,
  blobs: 4,
  bytes: 1_073_741_824,
  totalBlobs: 9,
  totalBytes: 2_147_483_648,
  damaged: 0,
};
const REPORTED = { startedAt: NOON, endedAt: NOON + 192_400, blobs: 9, bytes: 2_147_483_648 };
const HEALED = {
  digest: DIGEST,
  fault: 'truncated',
  images: [`${NGINX}:1.27`, 'ghcr.io/org/app:v1'],
  healed: true,
} as const;
const LOST = {
  digest: OTHER_DIGEST,
  fault: 'missing',
  images: ['ghcr.io/org/app:v1'],
  healed: false,
  reason: 'ghcr.io answered 404',
} as const;

function verifyScene(steps: readonly VerifyState[], stepMs?: number) {
  const store = new FakeStoreApi();
  const [first = {}, ...rest] = steps;
  store.verifyStart = first;
  return { store, ...stepwise((state) => (store.verifyState = state), rest, stepMs) };
}

for (const [what, damaged, code, text] of [
  ['whole', [], 0, '9 blobs, 2.00 GiB in 3m12s: all as they should be\n'],
  [
    'healed',
    [HEALED],
    0,
    lines(
      '9 blobs, 2.00 GiB in 3m12s: 1 damaged, 1 of them fetched again',
      '',
      'DIGEST                                                                   FAULT      IMAGES                                            STATE',
      `${DIGEST}  truncated  docker.io/library/nginx:1.27, ghcr.io/org/app:v1  fetched again`,
    ),
  ],
  [
    'damaged',
    [HEALED, LOST],
    1,
    lines(
      '9 blobs, 2.00 GiB in 3m12s: 2 damaged, 1 of them fetched again',
      '',
      'DIGEST                                                                   FAULT      IMAGES                                            STATE',
      `${DIGEST}  truncated  docker.io/library/nginx:1.27, ghcr.io/org/app:v1  fetched again`,
      `${OTHER_DIGEST}  missing    ghcr.io/org/app:v1                                not fetched again: ghcr.io answered 404`,
    ),
  ],
] as const) {
  test(`verify of a ${what} store: exit code ${code}`, async (t) => {
    const last = { ...REPORTED, damaged };
    for (const isJson of [false, true]) {
      const { store, parts, pauses } = verifyScene([{ running: RUNNING }, { last }]);
      const admin = await startAdmin(t, store);
      const args = isJson ? ['verify', '--json'] : ['verify'];
      const result = await runStoreCommand(t, args, { admin, parts });
      t.deepEqual(result, { code, stdout: isJson ? documentOf(last) : text, stderr: '' });
      t.deepEqual(pauses, [500]);
      t.deepEqual(store.calls, [['startVerify']]);
    }
  });
}

const WHOLE = { ...REPORTED, damaged: [] };
const AT_HALF = 'verifying: 4 of 9 blobs, 1.00 GiB of 2.00 GiB, 0 damaged';
const AT_END = 'verifying: 9 of 9 blobs, 1.00 GiB of 2.00 GiB, 1 damaged';
const NEARLY = { running: { ...RUNNING, blobs: 9, damaged: 1 } };

test('on a terminal the progress is one line, rewritten and gone at the end', async (t) => {
  const { store, parts } = verifyScene([{ running: RUNNING }, NEARLY, { last: WHOLE }]);
  const admin = await startAdmin(t, store);
  const { stderr } = await runStoreCommand(t, ['verify'], { admin, parts, isTTY: true });
  t.is(stderr, `\r\u001B[K${AT_HALF}\r\u001B[K${AT_END}\r\u001B[K`);
});

test('elsewhere the progress is a line every ten seconds', async (t) => {
  const half = { running: RUNNING };
  const steps = [half, half, half, NEARLY, NEARLY, { last: WHOLE }];
  const { store, parts } = verifyScene(steps, 5_000);
  const admin = await startAdmin(t, store);
  const { stderr } = await runStoreCommand(t, ['verify'], { admin, parts });
  t.is(stderr, `${AT_HALF}\n${AT_END}\n`);
});

test('with --json no progress is told', async (t) => {
  const { store, parts } = verifyScene([{ running: RUNNING }, { last: WHOLE }], 60_000);
  const admin = await startAdmin(t, store);
  const { stderr } = await runStoreCommand(t, ['verify', '--json'], { admin, parts, isTTY: true });
  t.is(stderr, '');
});

test('a verification that ends without its report is no success', async (t) => {
  const old = { ...WHOLE, startedAt: NOON - 1 };
  const { store, parts } = verifyScene([{ running: RUNNING, last: old }, { last: old }]);
  const admin = await startAdmin(t, store);
  t.deepEqual(await runStoreCommand(t, ['verify'], { admin, parts }), {
    code: 1,
    stdout: '',
    stderr: 'entrepot: the verification ended without a report; the log of the server says why\n',
  });
});

test('a signal ends the work on a private socket, which is closed and removed', async (t) => {
  const { store } = verifyScene([{ running: RUNNING }]);
  const home = new PrivateAdmin(store);
  const gate = new Gate();
  const signals = new EventEmitter();
  const parts = { startPrivateAdmin: home.start, pause: async () => gate.pass() };
  const result = runStoreCommand(t, ['verify'], { parts, signals });
  await gate.arrived();
  signals.emit('SIGINT', 'SIGINT');
  t.deepEqual(await result, { code: 130, stdout: '', stderr: 'entrepot: stopped by SIGINT\n' });
  t.deepEqual(home.events, ['opened /srv/store in a folder of mode 700', 'closed']);
  t.false(existsSync(home.folder));
  t.deepEqual(signals.eventNames(), []);
  gate.open();
});

test('verify --rebuild makes the catalog anew where no server runs', async (t) => {
  const report = { manifests: 12, tags: 1, blobs: 40, images: 6 };
  const paths: string[] = [];
  const parts = {
    rebuildCatalog: async (config: { store: { path: string } }) => {
      paths.push(config.store.path);
      return report;
    },
  };
  t.deepEqual(await runStoreCommand(t, ['verify', '--rebuild'], { parts }), {
    code: 0,
    stdout:
      'the catalog is made anew from the files: 6 images, 12 manifests, 1 tag, 40 blobs; when and how often images were pulled is lost, and counted from now on\n',
    stderr: '',
  });
  t.deepEqual(await runStoreCommand(t, ['verify', '--rebuild', '--json'], { parts }), {
    code: 0,
    stdout: documentOf(report),
    stderr: '',
  });
  t.deepEqual(paths, ['/srv/store', '/srv/store']);
});

test('verify --rebuild is refused while a server runs', async (t) => {
  const store = new FakeStoreApi();
  const admin = await startAdmin(t, store);
  t.deepEqual(await runStoreCommand(t, ['verify', '--rebuild'], { admin }), {
    code: 1,
    stdout: '',
    stderr: `entrepot: a server runs at ${admin}: stop the server first, then rebuild\n`,
  });
  t.deepEqual(store.calls, []);
});

for (const [state, reason] of [
  ['full', 'no room for 12.0 MiB: all that is older is pinned'],
  ['failing', 'EIO: i/o error, write'],
] as const) {
  test(`status tells that the store is ${state}, and the exit code says it`, async (t) => {
    const store = new FakeStoreApi();
    store.summaryNow = { ...SUMMARY, state, reason, since: NOON };
    const admin = await startAdmin(t, store);
    t.deepEqual(await runStoreCommand(t, ['status'], { admin }), {
      code: 1,
      stdout: lines(
        'entrepot 1.2.3, up 3d4h, 0 downloads running',
        'store /srv/store: 9 blobs, 57.2 MiB of 100GiB, 466 GiB of its disk free',
        '87.2% of 1204 requests since the start were hits',
        `store ${state} since 2026-11-21T12:00:00.000Z: ${reason}`,
        '',
        'UPSTREAM  ACCOUNT  QUOTA  STATE',
      ),
      stderr: '',
    });
    const { code, stdout } = await runStoreCommand(t, ['status', '--json'], { admin });
    t.deepEqual(JSON.parse(stdout), { ...SERVER_STATUS, store: store.summaryNow });
    t.is(code, 1);
  });
}

test('status needs a running server, and does not open the store', async (t) => {
  const { code, stdout, stderr } = await runStoreCommand(t, ['status']);
  t.is(code, 1);
  t.is(stdout, '');
  t.true(stderr.startsWith(`entrepot: no server answers at ${NOWHERE} (`), stderr);
});
