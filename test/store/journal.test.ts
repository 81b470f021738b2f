import { appendFile, open as openFile, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { digestOf, type Digest } from '../../src/oci/digest.ts';
import { formatTarget, parseRepository, parseTag } from '../../src/oci/reference.ts';
import { LevelCatalog } from '../../src/store/catalog/level-catalog.ts';
import type { JournalEntry } from '../../src/store/catalog/catalog.ts';
import { describeCatalog, Journal } from '../../src/store/journal/journal.ts';
import { Gate } from '../helpers/gate.ts';
import { createTempFolder } from '../helpers/mirror.ts';

const OF = 'registry.example/app';
const APP = { upstream: 'registry.example', repository: parseRepository('app') };

function digest(seed: string | number): Digest {
  return digestOf(Buffer.from(String(seed)));
}

function tagged(seed: string | number): JournalEntry {
  return { tag: parseTag(`t-${seed}`), of: OF, is: digest(seed), at: 1000 };
}

async function createJournal(t: ExecutionContext): Promise<{ path: string; journal: Journal }> {
  const path = join(await createTempFolder(t), 'journal');
  return { path, journal: await open(t, path) };
}

async function open(t: ExecutionContext, path: string): Promise<Journal> {
  const journal = await Journal.open(path);
  paths.set(journal, path);
  t.teardown(async () => journal.close().catch(() => undefined));
  return journal;
}

const paths = new WeakMap<Journal, string>();

/** What is on the disk by now. */
async function readAll(journal: Journal): Promise<JournalEntry[]> {
  return Array.fromAsync(Journal.read(paths.get(journal)!));
}

interface FaultyDisk {
  isFull: boolean;
}

/** While its disk is full, half of what is to be written is, and then the write fails. */
async function createFaultyJournal(
  t: ExecutionContext,
  options: { maxPendingBytes?: number } = {},
): Promise<{ journal: Journal; disk: FaultyDisk }> {
  const path = join(await createTempFolder(t), 'journal');
  const handle = await openFile(path, 'w+');
  const disk: FaultyDisk = { isFull: false };
  const write = handle.write.bind(handle) as (
    ...args: unknown[]
  ) => Promise<{ bytesWritten: number }>;
  const faulty = Object.assign(handle, {
    write: async (bytes: Buffer, offset: number, _: undefined, position: number) => {
      if (!disk.isFull) return write(bytes, offset, undefined, position);
      await write(bytes.subarray(0, bytes.length / 2), 0, undefined, position);
      throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
    },
  });
  const journal = new Journal(path, { handle: faulty, size: 0 }, options);
  paths.set(journal, path);
  t.teardown(async () => journal.close());
  return { journal, disk };
}

async function* give(...entries: JournalEntry[]): AsyncGenerator<JournalEntry> {
  yield* entries;
}

test('every kind of entry is read as it was appended, also after opening again', async (t) => {
  const { path, journal } = await createJournal(t);
  const entries: JournalEntry[] = [
    { manifest: digest('m'), of: OF, type: 'application/json', at: 1 },
    tagged('a'),
    { blob: digest('b'), of: OF },
    { gone: digest('m'), of: OF },
    { untagged: parseTag('v1'), of: OF },
    { pin: { origin: 'hand', image: 'a/b:*', reason: 'weil ü', since: 5 } },
    { unpin: { origin: 'hand', image: 'a/b:*' } },
  ];
  journal.append(entries.slice(0, 3));
  journal.append(entries.slice(3));
  await journal.idle();
  t.deepEqual(await readAll(journal), entries);
  await journal.close();
  const again = await open(t, path);
  t.deepEqual(await readAll(again), entries);
});

test('a torn last line is skipped, and what follows it is not', async (t) => {
  const { path, journal } = await createJournal(t);
  journal.append([tagged(1), tagged(2)]);
  await journal.close();
  const whole = await readFile(path);
  for (const cut of [1, 2, 40]) {
    await writeFile(path, whole.subarray(0, whole.length - cut));
    const torn = await open(t, path);
    const kept = cut === 1 ? [tagged(1), tagged(2)] : [tagged(1)];
    t.deepEqual(await readAll(torn), kept, `${cut}`);
    torn.append([tagged(3)]);
    await torn.idle();
    t.deepEqual(await readAll(torn), [...kept, tagged(3)], `${cut}`);
    await torn.close();
  }
});

test('lines that are no entry are skipped', async (t) => {
  const { path, journal } = await createJournal(t);
  const strange = [
    'null',
    '[]',
    '{}',
    '{"manifest":"sha256:zz","of":"a/b","type":"x","at":1}',
    `{"tag":"v1","of":"a/b","is":"${digest(1)}","at":"soon"}`,
    `{"gone":"${digest(1)}","of":"nowhere"}`,
    `{"gone":"${digest(1)}","of":"a/../b"}`,
    '{"pin":{"origin":"hand"}}',
    '\u0000\u0000\u0000',
    'x'.repeat(300_000),
  ];
  journal.append([tagged(1)]);
  await journal.idle();
  await journal.close();
  await appendFile(path, `\n${strange.join('\n')}\n${JSON.stringify(tagged(2))}\n`);
  const again = await open(t, path);
  t.deepEqual(await readAll(again), [tagged(1), tagged(2)]);
});

test('a disk that refuses fails nobody, and all is written when it takes it again', async (t) => {
  const { journal, disk } = await createFaultyJournal(t);
  journal.append([tagged(1)]);
  await journal.idle();
  disk.isFull = true;
  journal.append([tagged(2)]);
  await journal.idle();
  journal.append([tagged(3)]);
  await journal.idle();
  disk.isFull = false;
  journal.append([tagged(4)]);
  await journal.idle();
  t.deepEqual(await readAll(journal), [1, 2, 3, 4].map(tagged));
});

test('a journal that missed too much says so until it is compacted', async (t) => {
  const { journal, disk } = await createFaultyJournal(t, { maxPendingBytes: 200 });
  disk.isFull = true;
  for (const number of [1, 2, 3, 4]) {
    journal.append([tagged(number)]);
    await journal.idle();
  }
  t.true(journal.hasGap);
  disk.isFull = false;
  await journal.compact(give(tagged('all')));
  t.false(journal.hasGap);
  t.deepEqual((await readAll(journal))[0], tagged('all'));
});

test('what is appended during a compaction follows what it wrote', async (t) => {
  const { path, journal } = await createJournal(t);
  journal.append([tagged(1), tagged(2)]);
  const gate = new Gate();
  async function* entries(): AsyncGenerator<JournalEntry> {
    yield tagged('live');
    await gate.pass();
  }
  const compacted = journal.compact(entries());
  await gate.arrived();
  journal.append([tagged(3)]);
  await journal.idle();
  journal.append([tagged(4)]);
  gate.open();
  await compacted;
  journal.append([tagged(5)]);
  await journal.idle();
  t.deepEqual(await readAll(journal), ['live', 3, 4, 5].map(tagged));
  await journal.close();
  t.deepEqual(await readAll(await open(t, path)), ['live', 3, 4, 5].map(tagged));
});

test('a compaction that fails leaves all as it was', async (t) => {
  const { path, journal } = await createJournal(t);
  journal.append([tagged(1)]);
  async function* failing(): AsyncGenerator<JournalEntry> {
    yield tagged('live');
    throw new Error('no catalog');
  }
  await t.throwsAsync(journal.compact(failing()), { message: 'no catalog' });
  journal.append([tagged(2)]);
  await journal.idle();
  t.deepEqual(await readAll(journal), [tagged(1), tagged(2)]);
  t.deepEqual(await readdir(join(path, '..')), ['journal']);
});

for (const step of ['compact.written', 'compact.synced', 'compact.renamed']) {
  test(`killed at ${step}, the journal is the old or the new one`, async (t) => {
    const { path, journal } = await createJournal(t);
    journal.append([tagged(1), tagged(2)]);
    await journal.close();
    const dead = spawn(process.execPath, [CRASH, 'compact', path, step], { stdio: 'inherit' });
    t.deepEqual(await once(dead, 'exit'), [null, 'SIGKILL']);
    const again = await open(t, path);
    const kept = step === 'compact.renamed' ? [tagged('live')] : [tagged(1), tagged(2)];
    t.deepEqual(await readAll(again), kept);
    t.deepEqual(await readdir(join(path, '..')), ['journal']);
  });
}

const CRASH = fileURLToPath(new URL('step-crash.ts', import.meta.url));

test('a catalog is described in full, and compacted into the journal where that is due', async (t) => {
  const { path, journal } = await createJournal(t);
  const catalog = await LevelCatalog.open(join(path, '..', 'catalog'), { durability: 'rename' });
  t.teardown(async () => catalog.close());
  const manifest = { digest: digest('m'), mediaType: 'application/json', size: 3 };
  const listed = { ...manifest, digest: digest('listed') };
  const tags = [{ tag: parseTag('v1'), checkedAt: 7 }];
  await catalog.recordManifest(APP, { descriptor: manifest, successors: [listed], tags }, 5);
  await catalog.recordBlob(APP, digest('listed'), { size: 1, storedAt: 1 });
  await catalog.recordBlob(APP, digest('loose'), { size: 1, storedAt: 1 });
  const pin = { origin: 'hand', image: OF, since: 1 };
  await catalog.tables.pins.put(`hand ${OF}`, pin);
  const described: JournalEntry[] = [
    { manifest: digest('m'), of: OF, type: 'application/json', at: 5 },
    { tag: parseTag('v1'), of: OF, is: digest('m'), at: 7 },
    { blob: digest('loose'), of: OF },
    { pin },
  ];
  t.deepEqual(await Array.fromAsync(describeCatalog(catalog)), described);
  t.true(await journal.compactFrom(catalog), 'never before');
  t.deepEqual(await readAll(journal), described);
  t.false(await journal.compactFrom(catalog));
  journal.append([tagged(1)]);
  t.false(await journal.compactFrom(catalog), 'not worth it');
  for (let number = 0; journal.size < 1024 * 1024; number += 1) {
    journal.append(Array.from({ length: 5000 }, () => tagged(number)));
    await journal.idle();
  }
  t.true(await journal.compactFrom(catalog), 'grown');
  t.deepEqual(await readAll(journal), described);
  await journal.close();
  await rm(path);
  const anew = await open(t, path);
  t.true(await anew.compactFrom(catalog), 'its file was lost');
  t.deepEqual(await readAll(anew), described);
});

test('a link is told exactly where no manifest of its repository lists the blob', async (t) => {
  const { path } = await createJournal(t);
  const catalog = await LevelCatalog.open(join(path, '..', 'catalog'), { durability: 'rename' });
  t.teardown(async () => catalog.close());
  const mediaType = 'application/json';
  const listed = [digest('a'), digest('b'), digest('c')];
  const names = ['ap', 'app', 'app-x', 'app.x', 'app/y', 'appz', 'b'];
  const expected: string[] = [];
  for (const [position, name] of names.entries()) {
    const target = { upstream: APP.upstream, repository: parseRepository(name) };
    const mine = listed.filter((_, n) => (position & (1 << n)) !== 0);
    if (mine.length > 0) {
      const successors = mine.map((each) => ({ digest: each, mediaType, size: 1 }));
      const descriptor = { digest: digest(name), mediaType, size: 3 };
      await catalog.recordManifest(target, { descriptor, successors, tags: [] }, 5);
    }
    for (const each of listed) await catalog.recordBlob(target, each, { size: 1, storedAt: 1 });
    const others = listed.filter((each) => !mine.includes(each));
    expected.push(...others.map((each) => `${each} ${formatTarget(target)}`));
  }
  const entries = await Array.fromAsync(describeCatalog(catalog));
  const told = entries.flatMap((entry) => ('blob' in entry ? [`${entry.blob} ${entry.of}`] : []));
  t.deepEqual(told.toSorted(), expected.toSorted());
});
