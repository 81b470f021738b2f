import type { Pin } from '../../src/api/store-api.ts';
import { rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { pino } from 'pino';
import { digestOf } from '../../src/oci/digest.ts';
import { parseRepository, parseTag, type Target } from '../../src/oci/reference.ts';
import { InUseFile } from '../../src/store/care/in-use-file.ts';
import type { JournalEntry } from '../../src/store/catalog/catalog.ts';
import { Pins } from '../../src/store/care/pins.ts';
import { get } from '../helpers/client.ts';
import { createTempFolder, startMirror, type MirrorOptions } from '../helpers/mirror.ts';
import { openCatalog } from './held-store.ts';
import { clockOf } from '../helpers/clock.ts';
import { until } from '../helpers/until.ts';

const APP: Target = { upstream: 'ghcr.io', repository: parseRepository('org/app') };
const DIGEST = digestOf(Buffer.from('a manifest'));
const LISTED = { target: APP, digest: DIGEST, tags: [parseTag('v1'), parseTag('stable')] };

const pinOf = (origin: string, image: string, reason?: string): Pin => ({
  origin,
  image,
  ...(reason !== undefined && { reason }),
  since: 5,
});

async function openPins(t: ExecutionContext, configured: readonly Pin[] = []) {
  const path = await createTempFolder(t);
  const told: JournalEntry[] = [];
  const catalog = await openCatalog(t, path, (entries) => told.push(...entries));
  return { catalog, told, pins: await Pins.open({ catalog, configured }) };
}

for (const [image, isMeant] of [
  ['ghcr.io/org/app', true],
  ['ghcr.io/org/app:v1', true],
  [`ghcr.io/org/app@${DIGEST}`, true],
  ['ghcr.io/org/*', true],
  ['ghcr.io/**', true],
  ['ghcr.io/org/*:stable', true],
  ['ghcr.io/org/app:{v1,v2}', true],
  ['*/org/app@sha256:*', true],
  ['ghcr.io/org', false],
  ['ghcr.io/org/app:v', false],
  ['ghcr.io/org/app:v2', false],
  ['ghcr.io/*', false],
  ['ghcr.io/org/*:v2', false],
  ['docker.io/org/app', false],
  ['ghcr.io/org/apps*', false],
  ['ghcr.io/org**', true],
  ['ghcr.io/**:v1', true],
  ['ghcr.io/**:v2', false],
  ['ghcr.io/(org|team)/*', false],
] as const) {
  test(`a pin of ${image} ${isMeant ? 'means' : 'does not mean'} ghcr.io/org/app:v1`, async (t) => {
    const pin = pinOf('hand', image, 'why');
    const { pins } = await openPins(t, [pin]);
    t.deepEqual(pins.of(LISTED), isMeant ? [pin] : []);
    await pins.remove(pin);
    t.deepEqual(pins.of(LISTED), []);
  });
}

test('one image is pinned by several, each with its reason, and stays until the last lets go', async (t) => {
  const configured = pinOf('config', 'ghcr.io/org/app:v1');
  const { pins, catalog, told } = await openPins(t, [configured]);
  const [hand, use] = [
    pinOf('hand', 'ghcr.io/org/app:v1', 'a reason'),
    pinOf('use:a', 'ghcr.io/org/*:stable'),
  ];
  await pins.add(pinOf('hand', 'ghcr.io/org/app:v1', 'an earlier reason'));
  await pins.add(hand);
  await pins.add(use);
  t.deepEqual(pins.of(LISTED), [configured, hand, use]);
  t.deepEqual((await Pins.open({ catalog, configured: [configured] })).list(), pins.list());
  t.true(await pins.remove(hand));
  t.false(await pins.remove(hand));
  t.deepEqual(pins.of(LISTED), [configured, use]);
  t.true(await pins.remove(use));
  t.deepEqual(pins.of(LISTED), [configured]);
  t.deepEqual(await catalog.tables.pins.keys().all(), []);
  const { image } = hand;
  t.deepEqual(told.slice(0, 4), [
    { pin: pinOf('hand', image, 'an earlier reason') },
    { pin: hand },
    { pin: use },
    { unpin: { origin: 'hand', image } },
  ]);
});

test('a list takes the place of the earlier one of its origin, and of no other', async (t) => {
  const { pins } = await openPins(t);
  const other = pinOf('use:b', 'a');
  await pins.add(other);
  await pins.replace('use:a', [pinOf('use:a', 'a'), pinOf('use:a', 'b'), pinOf('use:a', 'b')]);
  t.deepEqual(pins.list(), [other, pinOf('use:a', 'a'), pinOf('use:a', 'b')]);
  await pins.replace('use:a', [{ ...pinOf('use:a', 'b'), since: 9 }, pinOf('use:a', 'c')]);
  t.deepEqual(pins.list(), [other, pinOf('use:a', 'b'), pinOf('use:a', 'c')]);
  await pins.replace('use:a', []);
  t.deepEqual(pins.list(), [other]);
});

test('of two lists of one origin at once one stands, as a whole', async (t) => {
  const { pins } = await openPins(t);
  await Promise.all([
    pins.replace('use:a', [pinOf('use:a', 'a'), pinOf('use:a', 'b')]),
    pins.replace('use:a', [pinOf('use:a', 'c'), pinOf('use:a', 'd')]),
  ]);
  t.deepEqual(pins.list(), [pinOf('use:a', 'c'), pinOf('use:a', 'd')]);
});

/** At once: no look sees half of it. */
async function replace(path: string, text: string): Promise<void> {
  await writeFile(`${path}.new`, text);
  await rename(`${path}.new`, path);
}

/** A watched file, and what is told of it: `+` where it only adds. */
async function watchFile(t: ExecutionContext, text: string) {
  const path = join(await createTempFolder(t), 'in-use');
  const heard: string[] = [];
  const warnings: Record<string, unknown>[] = [];
  const file = new InUseFile({
    path,
    changed: async ({ entries, isWhole }) => {
      if (entries.includes('refused')) throw new Error('no image');
      heard.push(`${isWhole ? '' : '+ '}${entries.join(' ')}`);
      return entries
        .filter((entry) => entry.startsWith('<'))
        .map((entry) => ({ line: 1, text: entry, kind: 'unnamed', reason: 'no name' }));
    },
    log: pino(
      { level: 'warn' },
      { write: (line) => warnings.push(JSON.parse(line) as Record<string, unknown>) },
    ),
    pollMs: 1,
  });
  t.teardown(async () => file.close());
  await writeFile(path, text);
  await file.watch();
  const hears = async (what: string) => until(`it hears ${what}`, () => heard.at(-1) === what);
  const warns = async (what: string) =>
    until(`it warns: ${what}`, () => String(warnings.at(-1)?.['reason']) === what);
  return { path, file, heard, warnings, hears, warns };
}

test('the file is read at the start and on change; while it cannot be read nothing changes', async (t) => {
  const { path, file, heard, warnings, hears } = await watchFile(t, 'a\n');
  t.deepEqual(heard, ['+ a']);
  await hears('a');
  await replace(path, 'a\nb # new\n');
  await hears('a b # new');
  await rm(path);
  await until('the file is missed', () => warnings.length === 1);
  await replace(path, 'c\n');
  await hears('c');
  await file.close();
  // What it names counts at once; what it no longer names goes when it has stood still.
  t.deepEqual(heard, ['+ a', 'a', '+ a b # new', 'a b # new', '+ c', 'c']);
  // One for each time that it becomes unreadable, not one for each look.
  t.is(warnings.length, 1);
  await replace(path, 'after\n');
  t.is(heard.length, 6);
});

test('a file that is written twice with the same images is told once', async (t) => {
  const { path, file, heard, hears } = await watchFile(t, 'a\n');
  for (const text of ['a\n', 'a\n', 'b\n', 'b\n']) {
    await replace(path, text);
    await hears(text.trim());
  }
  await file.close();
  t.deepEqual(heard, ['+ a', 'a', '+ b', 'b']);
});

test('a list that has no end at its last line, or is refused, unpins nothing, and that is told once', async (t) => {
  const { path, file, heard, warnings, hears, warns } = await watchFile(t, 'a\n');
  await hears('a');
  await replace(path, 'a\nb');
  await until('it is told', () => String(warnings.at(-1)?.['msg']).includes('has no end'));
  await replace(path, 'refused\n');
  await warns('no image');
  await replace(path, '{"items": [');
  await until('it is told', () => String(warnings.at(-1)?.['reason']).includes('JSON'));
  await replace(path, 'c\n<none>\n');
  await until('it is told', () => warnings.at(-1)?.['passedOver'] === 1);
  await file.close();
  t.deepEqual(heard, ['+ a', 'a', '+ a b', '+ a b', '+ c <none>', 'c <none>']);
  t.is(warnings.length, 4);
  t.deepEqual(warnings[3]?.['lines'], [{ line: 1, text: '<none>', reason: 'no name' }]);
});

interface Told {
  readonly pins: readonly { origin: string; image: string; since: number; reason?: string }[];
}

const UPSTREAMS = { 'ghcr.io': { url: 'http://127.0.0.1:9', deny: ['secret/**'] } };

async function start(t: ExecutionContext, options: Omit<MirrorOptions, 'upstreams'>) {
  const mirror = await startMirror(t, {
    ...options,
    upstreams: UPSTREAMS,
    clock: clockOf(() => 7),
  });
  const ask = async (method: string, path: string, body?: object) => {
    const headers = { 'Content-Type': 'application/json' };
    const sent = body ? { body: JSON.stringify(body) } : {};
    const url = `${mirror.server.adminUrl}/api/v1/${path}`;
    const answer = await get(url, { method, headers, ...sent });
    const text = answer.body.toString();
    return { status: answer.status, body: text === '' ? undefined : (JSON.parse(text) as unknown) };
  };
  return { mirror, ask, pins: async () => ((await ask('GET', 'pins')).body as Told).pins };
}

test('pins of the configuration are named in full; what is no image of this mirror is said', async (t) => {
  const pins = ['org/app', 'ghcr.io/org/app:v1', 'ghcr.io/org/*:stable', 'quay.io/a', 'ghcr.io/A'];
  const { mirror, ...server } = await start(t, { store: { pins } });
  t.deepEqual(
    await server.pins(),
    ['ghcr.io/org/app', 'ghcr.io/org/app:v1', 'ghcr.io/org/*:stable'].map((image) => ({
      origin: 'config',
      image,
      since: 7,
    })),
  );
  t.deepEqual(
    mirror.log.filter(({ msg }) => msg === 'not pinned').map(({ pin }) => pin),
    ['quay.io/a', 'ghcr.io/A'],
  );
});

test('of a list in use what is no image of this mirror is passed over and told, the rest is pinned', async (t) => {
  const server = await start(t, {});
  const images = [
    'ghcr.io/org/app:v1',
    'quay.io/other:1',
    'ghcr.io/secret/x:1',
    'org/lib',
    '',
    '<none>:<none>',
    'NO:_',
    `docker-pullable://GHCR.io/org/run@${DIGEST}`,
  ];
  const pins = ['ghcr.io/org/app:v1', 'ghcr.io/org/lib', `ghcr.io/org/run@${DIGEST}`].map(
    (image) => ({ origin: 'use:cluster', image, since: 7 }),
  );
  const elsewhere = { kind: 'elsewhere', reason: 'not mirrored here' };
  t.deepEqual(await server.ask('PUT', 'in-use/cluster', { images }), {
    status: 200,
    body: {
      pins: pins.map((each) => ({ ...each, isHeld: false })),
      passedOver: [
        { line: 2, text: 'quay.io/other:1', ...elsewhere },
        { line: 3, text: 'ghcr.io/secret/x:1', ...elsewhere },
        { line: 6, text: '<none>:<none>', kind: 'unnamed', reason: 'an image without a name' },
        { line: 7, text: 'NO:_', kind: 'invalid', reason: '"NO": invalid repository name' },
      ],
    },
  });
  for (const nothing of [[''], ['# soon'], ['<none>:<none>'], ['NO:_']]) {
    const { status } = await server.ask('PUT', 'in-use/cluster', { images: nothing });
    t.is(status, 422);
  }
  await server.ask('PUT', 'in-use/cluster', { images: ['org/lib', 'org/new'], add: true });
  const added = { ...pins[0]!, image: 'ghcr.io/org/new' };
  t.deepEqual(await server.pins(), [...pins, added]);
  await server.ask('PUT', 'in-use/cluster', { images: ['org/new', 'quay.io/a'] });
  t.deepEqual(await server.pins(), [added]);
  await server.ask('PUT', 'in-use/cluster', { images: [] });
  t.deepEqual(await server.pins(), []);
});

test('after a restart a list that is cut or empty unpins nothing of the one before', async (t) => {
  const folder = await createTempFolder(t);
  const storePath = join(folder, 'store');
  const inUse = join(folder, 'in-use');
  const whole = ['ghcr.io/org/a:v1', 'ghcr.io/org/b:v1'];
  const kept = whole.map((image) => ({ origin: 'use:file', image, since: 7 }));
  for (const text of [`${whole.join('\n')}\n`, `${whole[0]}\nghcr.io/or`, '', '# soon\n']) {
    await writeFile(inUse, text);
    const server = await start(t, { storePath, store: { inUse } });
    const pins = await server.pins();
    t.deepEqual(
      pins.filter(({ image }) => whole.includes(image)),
      kept,
      text,
    );
    await server.mirror.stop();
  }
});

test('a pattern that could not be compiled at the next start is not kept', async (t) => {
  const server = await start(t, {});
  for (const length of [1025, 70_000]) {
    const { status } = await server.ask('POST', 'pins', { image: '*'.repeat(length) });
    t.is(status, 400);
  }
  t.deepEqual(await server.pins(), []);
});

test('pins by hand and by use outlive a restart, those of the configuration its end', async (t) => {
  const folder = await createTempFolder(t);
  const storePath = join(folder, 'store');
  const inUse = join(folder, 'in-use');
  await writeFile(inUse, 'ghcr.io/org/running:v1\n');
  const first = await start(t, { storePath, store: { pins: ['ghcr.io/a'], inUse } });
  await first.ask('POST', 'pins', { image: 'org/app:v1', reason: 'a reason' });
  const kept = [
    { origin: 'hand', image: 'ghcr.io/org/app:v1', reason: 'a reason', since: 7 },
    { origin: 'use:file', image: 'ghcr.io/org/running:v1', since: 7 },
  ];
  t.deepEqual(
    (await first.pins()).toSorted((a, b) => (a.image < b.image ? -1 : 1)),
    [{ origin: 'config', image: 'ghcr.io/a', since: 7 }, ...kept],
  );
  await first.mirror.stop();
  // It cannot be read any more: what was in use stays pinned.
  await rm(inUse);
  const second = await start(t, { storePath, store: { inUse } });
  t.deepEqual(await second.pins(), kept);
  const path = `pins?image=${encodeURIComponent('org/app:v1')}`;
  t.deepEqual(await second.ask('DELETE', path), { status: 204, body: undefined });
  t.is((await second.ask('DELETE', path)).status, 404);
  t.deepEqual(await second.pins(), kept.slice(1));
});
