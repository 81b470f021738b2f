import { once } from 'node:events';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import test from 'ava';
import { extract, pack } from 'tar-stream';
import { digestOf } from '../../../src/oci/digest.ts';
import { BundleError } from '../../../sync/bundle/bundle-error.ts';
import { contentOf, entryAt, slicesOf, type Slice } from '../../../sync/bundle/content.ts';
import { partSizes } from '../../../sync/bundle/part-layout.ts';
import { peekPart, readPart } from '../../../sync/bundle/part-reader.ts';
import { SigningKey } from '../../../sync/bundle/signing-key.ts';
import { tarHeader } from '../../../sync/bundle/tar-entry.ts';
import { describe, MadeBundle, patterned, streamOf } from './made-bundle.ts';

const BLOBS = [0, 1, 511, 512, 513, 5000, 70_000].map((size) => patterned(size));

test('a part carries its content in the order of the manifest, and is read in one pass', async (t) => {
  const bundle = new MadeBundle({
    blobs: BLOBS,
    wide: [patterned(900)],
    files: { 'trusted_root.json': Buffer.from('{}'), 'db.tar': patterned(3000) },
  });
  for (const chunk of [1, 511, 4096, 1_000_000]) {
    const read = await readAll(bundle, { chunk });
    t.deepEqual(
      read.slices.map(({ path }) => path),
      [...contentOf(bundle.manifest)].map(({ path }) => path),
    );
    t.true(read.slices.every(({ isWhole }) => isWhole));
    t.deepEqual(read.head, {
      id: digestOf(Buffer.from(JSON.parse(bundle.envelope.toString()).payload, 'base64')),
      manifest: bundle.manifest,
      part: 1,
      keyId: bundle.key.public.id,
      key: bundle.key.public,
    });
    for (const { of, bytes } of read.slices)
      t.is(digestOf(bytes, algorithmOf(of.digest)), of.digest);
  }
});

test('content is cut anywhere, no part is larger than asked, and the pieces make the content', async (t) => {
  for (const partBytes of [9216, 10_000, 12_345, 20_000, 60_000]) {
    const bundle = new MadeBundle({
      blobs: BLOBS,
      wide: [patterned(900), patterned(40_000)],
      partBytes,
    });
    const parts = await bundle.all();
    t.true(parts.length > 1);
    t.true(
      parts.every(({ length }) => length <= partBytes),
      `${partBytes}`,
    );
    t.deepEqual(
      parts.map(({ length }) => length),
      partSizes(bundle.manifest),
    );
    const pieces = new Map<string, Buffer[]>();
    for (const [at, part] of parts.entries()) {
      const { slices, head } = await readAll(bundle, { part });
      t.is(head.part, at + 1);
      for (const { of, start, bytes } of slices) {
        const before = pieces.get(of.path) ?? [];
        t.is(start, Buffer.concat(before).length);
        pieces.set(of.path, [...before, bytes]);
      }
    }
    for (const { path, digest } of contentOf(bundle.manifest)) {
      t.is(digestOf(Buffer.concat(pieces.get(path)!), algorithmOf(digest)), digest, path);
    }
  }
});

test('a part is a tar as tar-stream makes it and reads it', async (t) => {
  const wide = [patterned(900)];
  const bundle = new MadeBundle({ blobs: BLOBS, wide });
  const part = await bundle.part(1);
  const packed = pack();
  const again = Readable.from(packed).toArray();
  const names: string[] = [];
  const unpack = extract();
  unpack.on('entry', (header, stream, next) => {
    names.push(header.name);
    void Array.fromAsync(stream as AsyncIterable<Buffer>).then((chunks) => {
      const { name, size } = header;
      const fields = { name, size, mode: 0o644, uid: 0, gid: 0, mtime: new Date(0) };
      packed.entry(fields, Buffer.concat(chunks), next);
    });
  });
  await pipeline(Readable.from([part]), unpack);
  packed.finalize();
  t.deepEqual(Buffer.concat(await again), part);
  const paths = [...contentOf(bundle.manifest)].map(({ path }) => path);
  t.deepEqual(names, [
    'entrepot/manifest.json',
    'entrepot/part.json',
    ...paths,
    'entrepot/trailer.json',
  ]);
});

test('a blob of 100 GB has its size in the header as tar-stream writes it', async (t) => {
  for (const size of [8 ** 11 - 1, 8 ** 11, 100e9, 2 ** 45 + 7]) {
    const packed = pack();
    packed.on('error', () => {});
    const header = once(packed, 'data');
    packed.entry({ name: 'blobs/big', size, mtime: new Date(0) });
    t.deepEqual([tarHeader('blobs/big', size)], await header);
    packed.destroy();
  }
});

test('the same input makes the same bytes', async (t) => {
  const bundle = new MadeBundle({ blobs: BLOBS, partBytes: 9000 });
  const again = new MadeBundle({ blobs: BLOBS.toReversed(), partBytes: 9000, key: bundle.key });
  t.deepEqual(await again.all(), await bundle.all());
});

test('with P-256 a bundle made again differs in its signatures alone', async (t) => {
  const key = SigningKey.generate('p256');
  const contents = { blobs: BLOBS, partBytes: 9216, key };
  const [bundle, again] = [new MadeBundle(contents), new MadeBundle(contents)];
  t.deepEqual(again.manifest, bundle.manifest);
  for (const [at, part] of (await bundle.all()).entries()) {
    const other = await again.part(at + 1);
    t.is(partSizes(bundle.manifest)[at], part.length);
    t.false(other.equals(part));
    t.is(unsigned(other), unsigned(part));
    t.is((await readAll(bundle, { part })).head.part, at + 1);
  }
});

test('what an entry has too much, too little or otherwise ends the writing', async (t) => {
  const blob = describe(patterned(5000));
  const whole = new MadeBundle({ blobs: [patterned(5000)] });
  const cut = new MadeBundle({ blobs: [patterned(5000)], partBytes: 8192 });
  const first = [...slicesOf(cut.manifest, 1)].at(-1)!;
  t.false(first.isWhole);
  const long = `has more bytes than ${blob.digest} has: have it made anew`;
  const short = `has fewer bytes than ${blob.digest} has: have it made anew`;
  const lies: [MadeBundle, Buffer, string][] = [
    [whole, patterned(5001), `${entryAt(whole.manifest, 2).path} ${long}`],
    [whole, patterned(4999), `${entryAt(whole.manifest, 2).path} ${short}`],
    [
      whole,
      Buffer.alloc(5000),
      `the bytes of ${entryAt(whole.manifest, 2).path} are not those of ${blob.digest}: copy this part again`,
    ],
    [cut, patterned(first.end + 1), `${first.path} ${long}`],
    [cut, patterned(first.end - 1), `${first.path} ${short}`],
  ];
  for (const [bundle, bytes, message] of lies) {
    const open: MadeBundle['open'] = (entry, range) =>
      entry.size === 5000 ? Readable.from([bytes]) : bundle.open(entry, range);
    const writing = Array.fromAsync(bundle.write(1, open));
    const error = await t.throwsAsync(writing, { instanceOf: BundleError, message });
    t.is(error.code, 'content');
  }
});

test('the writer opens nothing before it is asked, and leaves a stream that nobody takes on', async (t) => {
  const bundle = new MadeBundle({ blobs: [patterned(5000)] });
  const opened: string[] = [];
  let endless: Readable | undefined;
  const open: MadeBundle['open'] = (entry, range) => {
    opened.push(entry.path);
    if (entry.size !== 5000) return bundle.open(entry, range);
    endless = Readable.from(streamOf(patterned(5000), 100));
    return endless;
  };
  const writing = bundle.write(1, open);
  await writing.next();
  t.deepEqual(opened, []);
  for await (const chunk of writing) if (chunk.length === 100) break;
  t.is(opened.length, 2);
  t.true(endless?.destroyed);
});

test('a slice that nobody takes is verified all the same, and a head can be looked at alone', async (t) => {
  const bundle = new MadeBundle({ blobs: BLOBS });
  const part = await bundle.part(1);
  const seen: number[] = [];
  const keys = [bundle.key.public];
  await readPart(streamOf(part, 100), {
    keys,
    admit: () => {},
    take: async ({ end }, bytes) => {
      for await (const { length } of bytes) {
        seen.push(length);
        if (end > 100) break;
      }
    },
  });
  t.true(seen.length >= BLOBS.length);
  let pulled = 0;
  const source = (async function* () {
    for await (const chunk of streamOf(part, 512)) {
      pulled += chunk.length;
      yield chunk;
    }
  })();
  const head = await peekPart(source, 'any');
  t.is(head.part, 1);
  t.true(pulled < part.length / 2);
});

test('what the visitor throws ends the reading, and the stream', async (t) => {
  const bundle = new MadeBundle({ blobs: BLOBS });
  const part = await bundle.part(1);
  for (const name of ['admit', 'take']) {
    const source = Readable.from(streamOf(part, 512));
    const refuse = (): never => {
      throw new Error(name);
    };
    const visitor = { keys: [bundle.key.public], admit: () => {}, [name]: refuse };
    await t.throwsAsync(readPart(source, visitor), { message: name });
    t.true(source.destroyed);
  }
});

interface ReadSlice extends Slice {
  readonly bytes: Buffer;
}

async function readAll(
  bundle: MadeBundle,
  { part, chunk }: { part?: Buffer; chunk?: number } = {},
): Promise<{ head: Awaited<ReturnType<typeof readPart>>; slices: ReadSlice[] }> {
  const slices: ReadSlice[] = [];
  const head = await readPart(streamOf(part ?? (await bundle.part(1)), chunk), {
    keys: [bundle.key.public],
    admit: () => {},
    take: async (slice, bytes) => {
      slices.push({ ...slice, bytes: Buffer.concat(await Array.fromAsync(bytes)) });
    },
  });
  return { head, slices };
}

function algorithmOf(digest: string): 'sha256' | 'sha512' {
  return digest.startsWith('sha512') ? 'sha512' : 'sha256';
}

function unsigned(part: Buffer): string {
  return part.toString('latin1').replaceAll(/"sig":"[^"]*"/g, '');
}
