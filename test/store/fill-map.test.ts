/** The file beside one with holes: what is torn, foreign or of another boot says nothing. */
import { readFile, rename, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { digestOf } from '../../src/oci/digest.ts';
import { FillMap } from '../../src/store/files/fill-map.ts';
import { Intervals, type Interval } from '../../src/store/files/intervals.ts';
import { createTempFolder } from '../helpers/mirror.ts';

const MAPPED = { digest: digestOf(Buffer.from('mapped')), inode: 42, size: 1_000 };

async function pathOf(t: ExecutionContext): Promise<string> {
  return join(await createTempFolder(t), 'map');
}

async function writeMap(path: string, { isSynced = true } = {}): Promise<void> {
  const map = new FillMap(path, MAPPED, isSynced);
  await map.say(new Intervals([{ start: 0, end: 10 }]));
  await map.say(new Intervals([{ start: 100, end: 200 }]));
  await map.say(new Intervals([{ start: 10, end: 20 }]));
  await map.close();
}

async function read(path: string, of = MAPPED): Promise<Interval[] | undefined> {
  const said = await FillMap.read(path, of);
  if (said && said.size !== MAPPED.size) throw new Error(`a size of ${said.size}`);
  return said && [...said.filled];
}

test('what was said is read, whether it is synced or not', async (t) => {
  const path = await pathOf(t);
  const whole = [
    { start: 0, end: 20 },
    { start: 100, end: 200 },
  ];
  for (const isSynced of [true, false]) {
    await writeMap(path, { isSynced });
    t.deepEqual(await read(path), whole);
  }
  const map = new FillMap(path, MAPPED, false);
  await map.say(new Intervals(whole));
  await map.settle();
  t.deepEqual(await read(path), whole);
});

test('of a map that ends anywhere only what was said before counts', async (t) => {
  const path = await pathOf(t);
  await writeMap(path);
  const { length } = await readFile(path);
  const [record, first] = [16, length - 3 * 16];
  for (let end = length - 1; end >= 0; end -= 1) {
    await truncate(path, end);
    const said = await read(path);
    if (end < first) t.is(said, undefined, `${end}`);
    else {
      const expected = [
        { start: 0, end: 10 },
        { start: 100, end: 200 },
      ];
      t.deepEqual(said, expected.slice(0, Math.floor((end - first) / record)), `${end}`);
    }
  }
});

test('a map with any bit wrong says nothing that was not said', async (t) => {
  const path = await pathOf(t);
  await writeMap(path);
  const right = await readFile(path);
  for (let at = 0; at < right.length * 8; at += 1) {
    const wrong = Buffer.from(right);
    wrong[at >> 3]! ^= 1 << (at & 7);
    await writeFile(path, wrong);
    for (const { start, end } of (await read(path)) ?? []) {
      const isTrue = (start === 0 && end <= 20) || (start === 100 && end === 200);
      if (!isTrue) t.fail(`bit ${at}: ${start} to ${end}`);
    }
  }
  t.pass();
});

test('a map of another blob or file, or none at all, says nothing', async (t) => {
  const path = await pathOf(t);
  t.is(await read(path), undefined);
  await writeMap(path);
  t.is(await read(path, { ...MAPPED, inode: 43 }), undefined);
  t.is(await read(path, { ...MAPPED, digest: digestOf(Buffer.from('other')) }), undefined);
  const other = `${path}-other`;
  await writeMap(other);
  // Records of another map behind this one's.
  const foreign = new FillMap(other, { ...MAPPED, inode: 43 }, true);
  await foreign.say(new Intervals([{ start: 500, end: 600 }]));
  await foreign.close();
  const records = (await readFile(other)).subarray(-16);
  await writeFile(path, Buffer.concat([await readFile(path), records]));
  t.deepEqual((await read(path))?.at(-1), { start: 100, end: 200 });
});

test('what was said before its bytes were synced says nothing after the next boot', async (t) => {
  const path = await pathOf(t);
  await writeMap(path, { isSynced: false });
  const bytes = await readFile(path);
  const text = bytes.toString('latin1');
  const boot = /(\S+)\n/.exec(text)?.[1] ?? '';
  t.not(boot, 'synced');
  t.truthy(await read(path));
  // The same of a machine that was started anew since: a header that is right but for its boot.
  const end = text.indexOf('\n') + 1;
  const { crc32 } = await import('node:zlib');
  const header = text.slice(0, end).replace(boot, boot.replaceAll(/[0-9]/g, 'a'));
  const checksum = Buffer.alloc(4);
  checksum.writeUInt32LE(crc32(header));
  await writeFile(path, Buffer.concat([Buffer.from(header, 'latin1'), checksum]));
  t.is(await read(path), undefined);
});

test('it does not grow with how often something is said', async (t) => {
  const path = await pathOf(t);
  const map = new FillMap(path, { ...MAPPED, size: 100_000 }, false);
  for (let start = 0; start < 10_000; start += 1) {
    await map.say(new Intervals([{ start, end: start + 1 }]));
  }
  await map.close();
  const { length } = await readFile(path);
  t.true(length < 4096 * 16 + 500, `${length} bytes`);
  t.deepEqual([...((await FillMap.read(path, MAPPED))?.filled ?? [])], [{ start: 0, end: 10_000 }]);
  await rename(path, `${path}.moved`);
});
