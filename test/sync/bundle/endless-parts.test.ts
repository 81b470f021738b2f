import { Readable } from 'node:stream';
import test from 'ava';
import { BundleError } from '../../../sync/bundle/bundle-error.ts';
import { readPart } from '../../../sync/bundle/part-reader.ts';
import { SigningKey } from '../../../sync/bundle/signing-key.ts';
import { tarHeader } from '../../../sync/bundle/tar-entry.ts';
import { MadeBundle, patterned, streamOf } from './made-bundle.ts';
import { entriesOf, ofType } from './tar-entries.ts';

const KEY = SigningKey.generate();
const MIB = 1024 * 1024;

test('streams without an end are refused within 4 MiB, at every place', async (t) => {
  const part = await new MadeBundle({ blobs: [patterned(3000)], key: KEY }).part(1);
  const starts = entriesOf(part).map(({ start }) => start);
  const pax = ofType(tarHeader('PaxHeader', 8 ** 11 - 1), 'x');
  const endless: Record<string, { header: Buffer; fill: Buffer }> = {
    PAX: { header: pax, fill: Buffer.alloc(64 * 1024, '30 comment=aaaaaaaaaaaaaaaaaaa\n') },
    headers: { header: pax, fill: Buffer.concat(Array.from({ length: 128 }, () => pax)) },
    manifests: {
      header: tarHeader('entrepot/manifest.json', 100 * MIB),
      fill: Buffer.alloc(64 * 1024, '{'),
    },
    numbers: {
      header: tarHeader('entrepot/part.json', 100 * MIB),
      fill: Buffer.alloc(64 * 1024, '{'),
    },
    zeros: { header: Buffer.alloc(0), fill: Buffer.alloc(64 * 1024) },
  };
  for (const [name, { header, fill }] of Object.entries(endless)) {
    for (const start of [...starts, part.length]) {
      let taken = 0;
      const stream = (async function* () {
        yield part.subarray(0, start);
        yield header;
        for (; ; taken += fill.length) yield fill;
      })();
      const reading = readPart(stream, { keys: [KEY.public], admit: () => {} });
      const error = await t.throwsAsync(
        reading,
        { instanceOf: BundleError },
        `${name} at ${start}`,
      );
      t.is(error.code, 'format');
      t.true(taken <= 4 * MIB, `${name} at ${start}`);
    }
  }
});

test('reader and writer hold no more than the chunk that is under way', async (t) => {
  const big = new MadeBundle({ blobs: [patterned(4 * MIB)], key: KEY });
  let [given, taken] = [0, 0];
  const source = async function* (bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const chunk of bytes) {
      given += chunk.length;
      yield chunk;
    }
  };
  let most = 0;
  const measure = async (bytes: AsyncIterable<Uint8Array>): Promise<void> => {
    for await (const chunk of bytes) {
      taken += chunk.length;
      most = Math.max(most, given - taken);
    }
  };
  const part = await big.part(1);
  await readPart(source(streamOf(part, 1024)), {
    keys: [KEY.public],
    admit: () => {
      taken = given;
    },
    take: async (_, bytes) => measure(bytes),
  });
  t.true(given === part.length && most <= 8192, `${most}`);
  [given, taken, most] = [0, 0, 0];
  const open: MadeBundle['open'] = ({ digest }, { start, end }) =>
    Readable.from(source(streamOf(big.bytes.get(digest)!.subarray(start, end), 1024)), {
      highWaterMark: 1,
    });
  await measure(big.write(1, open));
  t.true(given > 4 * MIB && most <= 8192, `${most}`);
});
