import { readFile, stat, writeFile } from 'node:fs/promises';
import test, { type ExecutionContext } from 'ava';
import { createFolder } from '../../config/config-folder.ts';
import { BundleError } from '../../../sync/bundle/bundle-error.ts';
import { PARITY_PART } from '../../../sync/bundle/content.ts';
import { rebuildPart } from '../../../sync/bundle/parity.ts';
import { readPart } from '../../../sync/bundle/part-reader.ts';
import { MadeBundle, patterned, streamOf } from './made-bundle.ts';
import { writeBundle } from './written-bundle.ts';

const BLOBS = [1, 3000, 70_000, 9].map((size) => patterned(size));

test('any one lost part is made anew of the others and the parity part', async (t) => {
  for (const partBytes of [20_000, 60_000, undefined]) {
    const { bundle, files, parity } = await write(t, partBytes);
    for (const [part, path] of files) {
      const others = new Map([...files].filter(([other]) => other !== part));
      const { manifest } = bundle;
      const made = await Array.fromAsync(rebuildPart({ manifest, part, files: others, parity }));
      t.deepEqual(Buffer.concat(made), await readFile(path));
    }
  }
});

test('the parity part is a part: signed, verified in one pass, and no larger than asked', async (t) => {
  const { bundle, parity } = await write(t, 20_000);
  const bytes = await readFile(parity);
  t.true((await stat(parity)).size <= 20_000);
  t.true(bundle.parts > 4);
  const visitor = { keys: [bundle.key.public], admit: () => {}, take: () => t.fail() };
  const head = await readPart(streamOf(bytes, 700), visitor);
  t.is(head.part, PARITY_PART);
  t.deepEqual(head.manifest, bundle.manifest);
  for (const at of [0, 600, bytes.length - 3000, bytes.length - 2000, bytes.length - 1]) {
    const changed = Buffer.from(bytes);
    changed[at]! ^= 4;
    await t.throwsAsync(readPart(streamOf(changed), visitor), { instanceOf: BundleError }, `${at}`);
  }
  const digit = bytes.indexOf('{"parts":[') + '{"parts":['.length;
  const resized = Buffer.from(bytes);
  resized[digit]! ^= 1;
  const error = await t.throwsAsync(readPart(streamOf(resized), visitor), {
    instanceOf: BundleError,
  });
  t.regex(error.message, /^where entrepot\/parity\.json has to stand is something else/);
});

test('the same bundle has the same parity part', async (t) => {
  const first = await write(t, 20_000);
  const second = await write(t, 20_000, first.bundle.key);
  t.deepEqual(await readFile(second.parity), await readFile(first.parity));
});

test('what two parts less, or a short one, leave is refused; of a damaged one comes no part', async (t) => {
  const { bundle, files, parity } = await write(t, 20_000);
  const { manifest } = bundle;
  const rebuild = async (files: ReadonlyMap<number, string>): Promise<Buffer> =>
    Buffer.concat(await Array.fromAsync(rebuildPart({ manifest, part: 2, files, parity })));
  const without = (...lost: number[]): Map<number, string> =>
    new Map([...files].filter(([part]) => !lost.includes(part)));
  const missing = await t.throwsAsync(rebuild(without(2, 3)), { instanceOf: BundleError });
  t.is(missing.code, 'part');
  t.regex(missing.message, /^part 3 is missing too/);
  const bytes = await readFile(files.get(3)!);
  await writeFile(files.get(3)!, bytes.subarray(0, -1));
  const short = await t.throwsAsync(rebuild(without(2)), { instanceOf: BundleError });
  t.is(short.code, 'truncated');
  bytes[bytes.length - 2500]! ^= 1;
  await writeFile(files.get(3)!, bytes);
  const made = await rebuild(without(2));
  const visitor = { keys: [bundle.key.public], admit: () => {} };
  await t.throwsAsync(readPart(streamOf(made), visitor), { instanceOf: BundleError });
});

interface Written {
  readonly bundle: MadeBundle;
  readonly files: ReadonlyMap<number, string>;
  readonly parity: string;
}

/** A bundle in files, its parity part with them. */
async function write(
  t: ExecutionContext,
  partBytes: number | undefined,
  key?: MadeBundle['key'],
): Promise<Written> {
  const bundle = new MadeBundle({
    blobs: BLOBS,
    ...(partBytes && { partBytes }),
    ...(key && { key }),
    manifest: { hasParity: true },
  });
  return { bundle, ...(await writeBundle(bundle, createFolder(t, {}))) };
}
