import { once } from 'node:events';
import { brotliCompressSync, gzipSync, zstdCompressSync } from 'node:zlib';
import test, { type ExecutionContext } from 'ava';
import * as fc from 'fast-check';
import { pack, type Header } from 'tar-stream';
import { BundleError, type BundleErrorCode } from '../../../sync/bundle/bundle-error.ts';
import { PAYLOAD_TYPE, sealEnvelope } from '../../../sync/bundle/envelope.ts';
import { readPart } from '../../../sync/bundle/part-reader.ts';
import { tarFile } from '../../../sync/bundle/part-writer.ts';
import { SigningKey } from '../../../sync/bundle/signing-key.ts';
import { tarHeader } from '../../../sync/bundle/tar-entry.ts';
import { MadeBundle, patterned, streamOf } from './made-bundle.ts';
import { entriesOf, ofType, summed } from './tar-entries.ts';

const KEY = SigningKey.generate();
const BLOBS = [1, 3000, 30_000].map((size) => patterned(size));
const BUNDLE = new MadeBundle({
  blobs: BLOBS,
  wide: [patterned(600)],
  files: { 'root.json': Buffer.from('{}') },
  key: KEY,
});
const CUT = new MadeBundle({ blobs: BLOBS, partBytes: 16_384, key: KEY });
const OTHER = new MadeBundle({
  blobs: BLOBS,
  partBytes: 16_384,
  key: KEY,
  manifest: { number: 2 },
});
const MIB = 1024 * 1024;

const read = async (
  source: Buffer | AsyncIterable<Buffer>,
  keys = [KEY.public],
): Promise<unknown> =>
  readPart(Buffer.isBuffer(source) ? streamOf(source, 4096) : source, {
    keys,
    admit: () => {},
    take: async (_, bytes) => void (await Array.fromAsync(bytes)),
  });

async function refused(
  t: ExecutionContext,
  source: Buffer | AsyncIterable<Buffer>,
  what: string,
): Promise<BundleErrorCode> {
  const error = await t.throwsAsync(read(source), { instanceOf: BundleError }, what);
  return error.code;
}

test('a bit that is flipped anywhere is found, and the bundle is refused', async (t) => {
  const parts = [await BUNDLE.part(1), ...(await CUT.all())];
  const place = fc.record({
    part: fc.nat(parts.length - 1),
    at: fc.nat(2 ** 31),
    bit: fc.nat(7),
    chunk: fc.nat(5000),
  });
  await fc.assert(
    fc.asyncProperty(place, async ({ part, at, bit, chunk }) => {
      const bytes = Buffer.from(parts[part]!);
      bytes[at % bytes.length]! ^= 1 << bit;
      const error = await read(streamOf(bytes, chunk + 1)).catch((thrown: unknown) => thrown);
      // The key that an envelope names is a hint, and no part of what is signed.
      const place = at % bytes.length;
      const isHint = place - bytes.lastIndexOf('"keyid":"', place) < 80;
      t.true(error instanceof BundleError || isHint, `${place} ${String(error)}`);
    }),
    { numRuns: 400 },
  );
});

test('a part that ends anywhere before its end is refused', async (t) => {
  const parts = await CUT.all();
  await fc.assert(
    fc.asyncProperty(fc.nat(parts.length - 1), fc.nat(2 ** 31), async (part, at) => {
      const bytes = parts[part]!;
      const code = await refused(t, bytes.subarray(0, at % bytes.length), `${part} ${at}`);
      t.is(code, 'truncated');
    }),
  );
});

test('bytes that are taken out, put in, moved or repeated are refused', async (t) => {
  const part = await BUNDLE.part(1);
  const change = fc.record({
    kind: fc.constantFrom('out', 'in', 'again', 'swap'),
    at: fc.nat(part.length / 512 - 1),
    blocks: fc.nat({ max: 20 }),
    bytes: fc.uint8Array({ minLength: 1, maxLength: 2000 }),
  });
  await fc.assert(
    fc.asyncProperty(change, async ({ kind, at, blocks, bytes }) => {
      const [start, end] = [at * 512, (at + blocks + 1) * 512];
      const [before, within, after] = [
        part.subarray(0, start),
        part.subarray(start, end),
        part.subarray(end),
      ];
      const pieces = {
        out: [before, after],
        in: [before, bytes, within, after],
        again: [before, within, within, after],
        swap: [before, after, within],
      }[kind];
      const changed = Buffer.concat(pieces);
      const error = await read(changed).catch((thrown: unknown) => thrown);
      if (error instanceof BundleError) return;
      // Zeros more or less behind the end, or a swap with nothing.
      const [longer, shorter] = [changed, part].toSorted((a, b) => b.length - a.length);
      t.is(error instanceof Error ? error.message : '', '');
      t.true(shorter!.equals(longer!.subarray(0, shorter!.length)));
      t.true(longer!.subarray(shorter!.length).every((byte) => byte === 0));
    }),
    { numRuns: 400 },
  );
});

test('noise is refused', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 3000 }), async (bytes) => {
      await refused(t, Buffer.from(bytes), 'noise');
    }),
  );
});

type Foreign = Partial<Header> & Pick<Header, 'name'>;

/** An entry in the place of another; `blob` is the path of that. */
const ATTACKS: Record<string, Foreign | Buffer> = {
  'a path that leads out': { name: '../../etc/passwd', size: 1 },
  'an absolute path': { name: '/etc/passwd', size: 1 },
  'a symbolic link': { name: 'blob', type: 'symlink', linkname: '/etc' },
  'a hard link': { name: 'blob', type: 'link', linkname: '/etc/passwd' },
  'a device': { name: 'blob', type: 'character-device' },
  'a block device': { name: 'blob', type: 'block-device' },
  'a pipe': { name: 'blob', type: 'fifo' },
  'a folder': { name: 'blob', type: 'directory' },
  'a contiguous file': { name: 'blob', type: 'contiguous-file', size: 1 },
  'a file of another mode': { name: 'blob', mode: 0o755, size: 1 },
  'a file of somebody': { name: 'blob', uid: 1, size: 1 },
  'another size': { name: 'blob', size: 7 },
  'a PAX header': { name: 'blob', size: 1, pax: { comment: 'a' } },
  'a PAX size that disagrees': { name: 'blob', size: 1, pax: { size: '100' } },
  'a negative PAX size': { name: 'blob', size: 1, pax: { size: '-1' } },
  'a PAX path that disagrees': { name: 'blob', size: 1, pax: { path: '../blob' } },
  'a sparse file by PAX': {
    name: 'blob',
    size: 1,
    pax: { 'GNU.sparse.major': '1', 'GNU.sparse.realsize': '1000000000' },
  },
  'a sparse file of GNU': ofType(tarHeader('blob', 1), 'S'),
  'a long name of GNU': ofType(tarHeader('blob', 1), 'L'),
  'a global PAX header': ofType(tarHeader('blob', 1), 'g'),
  'a volume header': ofType(tarHeader('blob', 1), 'V'),
  'an entry of the old form': ofType(tarHeader('blob', 1), '\0'),
  'a huge size': withSize(Buffer.from('80ffffffffffffffffffffff', 'hex')),
  'a negative size': withSize(Buffer.from('ffffffffffffffffffffffff', 'hex')),
  'a size of another form': withSize(Buffer.from('          1 ')),
  'a size that is no number': withSize(Buffer.from('ffffffffffe ')),
  'a block of zeros': Buffer.alloc(1024),
};

for (const [name, attack] of Object.entries(ATTACKS)) {
  test(`${name} is refused in the place of each entry`, async (t) => {
    for (const { path, start, header } of entriesOf(await BUNDLE.part(1))) {
      const foreign = Buffer.isBuffer(attack) ? renamed(attack, path) : await packed(attack, path);
      const part = await BUNDLE.part(1);
      const over = Buffer.concat([part.subarray(0, start), foreign, part.subarray(start + header)]);
      t.is(await refused(t, over, path), 'format', path);
      const before = Buffer.concat([part.subarray(0, start), foreign, part.subarray(start)]);
      t.is(await refused(t, before, path), 'format', path);
    }
  });
}

test('an entry twice, none, and two in another order are refused', async (t) => {
  const part = await BUNDLE.part(1);
  const entries = entriesOf(part);
  const join = (list: readonly { start: number; end: number }[]): Buffer =>
    Buffer.concat([...list.map(({ start, end }) => part.subarray(start, end)), Buffer.alloc(1024)]);
  t.true(join(entries).equals(part));
  for (const at of entries.keys()) {
    const [before, after] = [entries.slice(0, at), entries.slice(at + 1)];
    await refused(t, join([...before, entries[at]!, entries[at]!, ...after]), `${at} twice`);
    await refused(t, join([...before, ...after]), `without ${at}`);
    const [next, ...rest] = after;
    if (next) await refused(t, join([...before, next, entries[at]!, ...rest]), `${at} later`);
  }
});

test('parts of two bundles and of two places do not go together', async (t) => {
  const [mine, other] = [await CUT.all(), await OTHER.all()];
  t.true(mine.length > 2);
  for (const [at, bytes] of mine.entries()) {
    const [own, foreign] = [entriesOf(bytes), entriesOf(other[at]!)];
    const trailer = own.at(-1)!;
    const head = own[2]!.start;
    const mixtures: Record<string, Buffer> = {
      'the head of another bundle': Buffer.concat([
        other[at]!.subarray(0, foreign[2]!.start),
        bytes.subarray(head),
      ]),
      'the trailer of another bundle': Buffer.concat([
        bytes.subarray(0, trailer.start),
        other[at]!.subarray(foreign.at(-1)!.start),
      ]),
      'the trailer of another part': Buffer.concat([
        bytes.subarray(0, trailer.start),
        mine[(at + 1) % mine.length]!.subarray(
          entriesOf(mine[(at + 1) % mine.length]!).at(-1)!.start,
        ),
      ]),
      'the number of another part': Buffer.concat([
        bytes.subarray(0, own[1]!.start),
        mine[(at + 1) % mine.length]!.subarray(own[1]!.start, own[2]!.start),
        bytes.subarray(head),
      ]),
      'two parts in one': Buffer.concat([bytes, mine[(at + 1) % mine.length]!]),
    };
    for (const text of [
      `{"part":0,"of":${mine.length}}\n`,
      `{"part":${mine.length + 1},"of":${mine.length}}\n`,
      `{"part":${at + 1},"of":${mine.length + 1}}\n`,
      `{"part":${at + 1},"of":${mine.length}} `,
      `{"part":${at + 1},"of":${mine.length},"of":${mine.length}}\n`,
      'null',
    ]) {
      mixtures[text] = Buffer.concat([
        bytes.subarray(0, own[1]!.start),
        tarFile('entrepot/part.json', Buffer.from(text)),
        bytes.subarray(head),
      ]);
    }
    for (const [name, mixed] of Object.entries(mixtures)) await refused(t, mixed, `${name}: ${at}`);
  }
});

test('a trailer and a head by another key are refused, also one that is trusted', async (t) => {
  const stranger = SigningKey.generate('p256');
  const part = await BUNDLE.part(1);
  const entries = entriesOf(part);
  const resealed = (at: number, type: (typeof PAYLOAD_TYPE)[keyof typeof PAYLOAD_TYPE]): Buffer => {
    const { path, start, end, header, size } = entries.at(at)!;
    const envelope = JSON.parse(part.toString('latin1', start + header, start + header + size)) as {
      payload: string;
    };
    const sealed = sealEnvelope(Buffer.from(envelope.payload, 'base64'), type, stranger);
    return Buffer.concat([part.subarray(0, start), tarFile(path, sealed), part.subarray(end)]);
  };
  const trailer = resealed(-1, PAYLOAD_TYPE.trailer);
  const head = resealed(0, PAYLOAD_TYPE.manifest);
  for (const bytes of [trailer, head]) {
    const error = await t.throwsAsync(read(bytes), { instanceOf: BundleError });
    t.is(error.code, 'signature');
    const both = read(bytes, [KEY.public, stranger.public]);
    t.is((await t.throwsAsync(both, { instanceOf: BundleError })).code, 'signature');
    const any = readPart(streamOf(bytes), { keys: 'any', admit: () => {} });
    t.is((await t.throwsAsync(any, { instanceOf: BundleError })).code, 'signature');
  }
});

test('a bomb is not unpacked, and what is compressed is told as such', async (t) => {
  const zeros = Buffer.alloc(64 * MIB);
  for (const bomb of [gzipSync(zeros), zstdCompressSync(zeros), gzipSync(await BUNDLE.part(1))]) {
    const error = await t.throwsAsync(read(padded(bomb)), { instanceOf: BundleError });
    t.is(error.code, 'format');
    t.regex(error.message, /^this is compressed: unpack it first/);
  }
  t.is(await refused(t, padded(brotliCompressSync(zeros)), 'brotli'), 'format');
});

/** The header that tar-stream writes, and a block behind it; `blob` stands for the path. */
async function packed(header: Foreign, path: string): Promise<Buffer> {
  const tar = pack();
  const chunks: Buffer[] = [];
  tar.on('data', (chunk) => chunks.push(chunk as Buffer));
  const fields = {
    mtime: new Date(0),
    ...header,
    name: header.name === 'blob' ? path : header.name,
  };
  const entry = tar.entry(fields);
  entry.end(Buffer.alloc(header.size ?? 0, 'x'));
  await once(entry, 'close');
  return Buffer.concat(chunks);
}

function withSize(size: Buffer): Buffer {
  const changed = tarHeader('blob', 1);
  size.copy(changed, 124);
  return summed(changed);
}

function renamed(header: Buffer, path: string): Buffer {
  if (header[0] === 0 || path.length > 100) return header;
  const changed = Buffer.from(header);
  changed.fill(0, 0, 100);
  changed.write(path, 0, 'latin1');
  return summed(changed);
}

function padded(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.alloc(512)]);
}
