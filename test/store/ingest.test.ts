import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import * as fc from 'fast-check';
import { type Digest, digestOf, IntegrityError } from '../../src/oci/digest.ts';
import { Ingest, type IngestPlace } from '../../src/store/files/ingest.ts';
import { OpenFiles } from '../../src/store/files/stored-blob.ts';
import { noCrashPoint } from '../../src/store/faults.ts';
import { randomBytes } from '../helpers/image.ts';
import { createTempFolder } from '../helpers/mirror.ts';

interface World {
  readonly bytes: Buffer;
  readonly digest: Digest;
  readonly place: IngestPlace;
  readonly openFiles: OpenFiles;
  readonly open: () => Promise<Ingest>;
}

async function createWorld(
  t: ExecutionContext,
  { size = 10_000, algorithm = 'sha256' }: { size?: number; algorithm?: 'sha256' | 'sha512' } = {},
): Promise<World> {
  const folder = await createTempFolder(t);
  await mkdir(join(folder, 'ingest'));
  const bytes = randomBytes(t.title, size);
  const digest = digestOf(bytes, algorithm);
  const openFiles = new OpenFiles();
  const place = {
    partial: join(folder, 'ingest', 'partial'),
    final: join(folder, 'blobs', 'ab', 'final'),
    durability: 'full' as const,
    openFiles,
    createFolder: async () => mkdir(join(folder, 'blobs', 'ab'), { recursive: true }),
    claim: { resize: () => undefined, end: () => undefined },
    putAside: async () => undefined,
    step: noCrashPoint,
  };
  return { bytes, digest, place, openFiles, open: async () => Ingest.open(digest, place) };
}

async function exists(path: string): Promise<boolean> {
  return readdir(dirname(path)).then(
    (names) => names.some((name) => path.endsWith(`/${name}`)),
    () => false,
  );
}

for (const algorithm of ['sha256', 'sha512'] as const) {
  test(`${algorithm}: what was appended and verified is committed and final`, async (t) => {
    const { bytes, digest, place, openFiles, open } = await createWorld(t, { algorithm });
    const ingest = await open();
    t.is(ingest.digest, digest);
    t.is(ingest.written, 0);
    await ingest.append(bytes.subarray(0, 1));
    t.is(ingest.written, 1);
    await ingest.append(bytes.subarray(1, 1));
    await ingest.append(bytes.subarray(1));
    t.false(await exists(place.final));
    await ingest.verify(bytes.length);
    t.false(await exists(place.final));
    await ingest.commit();
    t.deepEqual(await readFile(place.final), bytes);
    t.is((await stat(place.final)).mode & 0o777, 0o600);
    t.false(await exists(place.partial));
    t.is(openFiles.count, 0);
  });
}

test('an empty blob is a blob', async (t) => {
  const { place, open } = await createWorld(t, { size: 0 });
  const ingest = await open();
  await ingest.verify(0);
  await ingest.commit();
  t.is((await stat(place.final)).size, 0);
});

test('the size need not be known to verify the digest', async (t) => {
  const { bytes, place, open } = await createWorld(t);
  const ingest = await open();
  await ingest.append(bytes);
  await ingest.verify(undefined);
  await ingest.commit();
  t.deepEqual(await readFile(place.final), bytes);
});

test('an ingest goes on where an earlier one of the digest stopped', async (t) => {
  const { bytes, place, openFiles, open } = await createWorld(t, { size: 3_000_000 });
  for (const [from, to] of [
    [0, 1],
    [1, 2_500_000],
    [2_500_000, 2_999_999],
  ] as const) {
    const ingest = await open();
    t.is(ingest.written, from);
    await ingest.append(bytes.subarray(from, to));
    await ingest.abort({ keep: true });
    t.deepEqual(await readFile(place.partial), bytes.subarray(0, to));
  }
  const last = await open();
  await last.append(bytes.subarray(2_999_999));
  await last.verify(bytes.length);
  await last.commit();
  t.deepEqual(await readFile(place.final), bytes);
  t.is(openFiles.count, 0);
});

test('bytes behind those that count are cut off when a part is kept', async (t) => {
  const { bytes, place, open } = await createWorld(t);
  const ingest = await open();
  await ingest.append(bytes.subarray(0, 1000));
  // As a write that failed in the middle of a chunk leaves it.
  await writeFile(place.partial, Buffer.alloc(500, 'x'), { flag: 'a' });
  await ingest.abort({ keep: true });
  t.deepEqual(await readFile(place.partial), bytes.subarray(0, 1000));
});

test('a wrong digest is an IntegrityError that says both', async (t) => {
  const { bytes, digest, place, openFiles, open } = await createWorld(t);
  const wrong = Buffer.from(bytes);
  wrong[5_000] = (wrong[5_000] ?? 0) ^ 1;
  const ingest = await open();
  await ingest.append(wrong);
  const error = await t.throwsAsync<IntegrityError>(ingest.verify(bytes.length), {
    instanceOf: IntegrityError,
  });
  t.is(error?.expected, digest);
  t.is(error?.actual, digestOf(wrong));
  await ingest.abort({ keep: false });
  t.false(await exists(place.partial));
  t.false(await exists(place.final));
  t.is(openFiles.count, 0);
});

test('a damaged part found on resumption fails the verification', async (t) => {
  const { bytes, place, open } = await createWorld(t);
  await writeFile(place.partial, Buffer.alloc(1000, 'x'));
  const ingest = await open();
  t.is(ingest.written, 1000);
  await ingest.append(bytes.subarray(1000));
  await t.throwsAsync(ingest.verify(bytes.length), { instanceOf: IntegrityError });
  await ingest.abort({ keep: false });
});

test('a wrong size is an IntegrityError, short and long', async (t) => {
  const { bytes, open } = await createWorld(t);
  for (const count of [bytes.length - 1, bytes.length + 1]) {
    const ingest = await open();
    await ingest.append(Buffer.concat([bytes, Buffer.from('x')]).subarray(0, count));
    const error = await t.throwsAsync<IntegrityError>(ingest.verify(bytes.length), {
      instanceOf: IntegrityError,
    });
    t.is(error?.expected, `${bytes.length} bytes`);
    t.is(error?.actual, `${count} bytes`);
    await ingest.abort({ keep: false });
  }
});

test('an ingest without bytes leaves no file, kept or not', async (t) => {
  const { place, openFiles, open } = await createWorld(t);
  for (const keep of [true, false]) {
    await (await open()).abort({ keep });
    t.false(await exists(place.partial));
  }
  t.is(openFiles.count, 0);
});

test('an ingest that is not kept leaves no file', async (t) => {
  const { bytes, place, open } = await createWorld(t);
  const ingest = await open();
  await ingest.append(bytes);
  await ingest.abort({ keep: false });
  t.false(await exists(place.partial));
  const next = await open();
  t.is(next.written, 0);
  await next.abort({ keep: false });
});

test('a reset forgets what was kept, and its hash', async (t) => {
  const { bytes, place, open } = await createWorld(t);
  await writeFile(place.partial, Buffer.alloc(20_000, 'x'));
  const ingest = await open();
  await ingest.reset();
  t.is(ingest.written, 0);
  await ingest.append(bytes);
  await ingest.verify(bytes.length);
  await ingest.commit();
  t.deepEqual(await readFile(place.final), bytes);
});

test('the hash over what is written can be taken elsewhere and this one goes on', async (t) => {
  const { bytes, digest, open } = await createWorld(t);
  const ingest = await open();
  await ingest.append(bytes.subarray(0, 4000));
  const elsewhere = await ingest.digester();
  elsewhere.update(bytes.subarray(4000));
  t.is(elsewhere.value(), digest);
  await ingest.append(bytes.subarray(4000));
  await ingest.verify(bytes.length);
  await ingest.abort({ keep: false });
});

test('readers survive the renaming of the file', async (t) => {
  const { bytes, openFiles, open } = await createWorld(t);
  const ingest = await open();
  await ingest.append(bytes);
  ingest.retain();
  ingest.retain();
  await ingest.verify(bytes.length);
  await ingest.commit();
  for (let reader = 0; reader < 2; reader += 1) {
    const buffer = Buffer.alloc(bytes.length);
    t.is(await ingest.readAt(buffer, 0), bytes.length);
    t.deepEqual(buffer, bytes);
    t.is(openFiles.count, 1);
    await ingest.release();
  }
  t.is(openFiles.count, 0);
});

test('readers survive the removal of the file', async (t) => {
  const { bytes, openFiles, open, place } = await createWorld(t);
  const ingest = await open();
  await ingest.append(bytes);
  ingest.retain();
  await ingest.abort({ keep: false });
  t.false(await exists(place.partial));
  const buffer = Buffer.alloc(100);
  t.is(await ingest.readAt(buffer, 9_950), 50);
  t.deepEqual(buffer.subarray(0, 50), bytes.subarray(9_950));
  await ingest.release();
  t.is(openFiles.count, 0);
});

test('a commit that fails leaves an ingest that can still be given up', async (t) => {
  const { bytes, place, openFiles, open } = await createWorld(t);
  const ingest = await open();
  await ingest.append(bytes);
  await ingest.verify(bytes.length);
  // A folder where the file should be lets everything succeed but the renaming.
  await mkdir(place.final, { recursive: true });
  await t.throwsAsync(ingest.commit());
  // Read-only before its renaming, it could not be gone on with after a crash between the two.
  t.is((await stat(place.partial)).mode & 0o200, 0o200);
  await ingest.abort({ keep: false });
  t.false(await exists(place.partial));
  t.is(openFiles.count, 0);
});

test('a file that is closed cannot be retained', async (t) => {
  const { bytes, open } = await createWorld(t);
  const ingest = await open();
  await ingest.append(bytes);
  t.true(ingest.retain());
  await ingest.abort({ keep: false });
  t.true(ingest.retain());
  await ingest.release();
  await ingest.release();
  t.false(ingest.retain());
});

test('any interleaving of appending and reading equals the source', async (t) => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant('append' as const), size: fc.nat(3000) }),
    fc.record({
      kind: fc.constant('read' as const),
      position: fc.nat(25_000),
      size: fc.integer({ min: 1, max: 5000 }),
    }),
    fc.record({ kind: fc.constant('resume' as const) }),
  );
  const { bytes, place, openFiles, open } = await createWorld(t, { size: 100_000 });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
      let ingest = await open();
      const reads: Promise<void>[] = [];
      for (const next of steps) {
        const { written } = ingest;
        if (next.kind === 'append') {
          await ingest.append(bytes.subarray(written, written + next.size));
        } else if (next.kind === 'resume') {
          await Promise.all(reads.splice(0));
          await ingest.abort({ keep: true });
          ingest = await open();
          if (ingest.written !== written) throw new Error(`${ingest.written} after ${written}`);
        } else {
          const reader = ingest;
          reader.retain();
          reads.push(
            (async () => {
              const buffer = Buffer.alloc(next.size);
              const count = await reader.readAt(buffer, next.position);
              const end = Math.min(next.position + next.size, written);
              if (count < end - next.position) throw new Error(`${count} bytes`);
              const expected = bytes.subarray(next.position, next.position + count);
              if (!buffer.subarray(0, count).equals(expected)) throw new Error('other bytes');
              await reader.release();
            })(),
          );
        }
      }
      await Promise.all(reads);
      const { written } = ingest;
      const onDisk = await readFile(place.partial);
      if (!onDisk.equals(bytes.subarray(0, written))) throw new Error('other bytes on disk');
      await ingest.abort({ keep: false });
      if (openFiles.count !== 0) throw new Error(`${openFiles.count} files open`);
    }),
    { numRuns: 150 },
  );
  t.pass();
});
