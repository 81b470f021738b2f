import { gzipSync, zstdCompressSync } from 'node:zlib';
import test, { type ExecutionContext } from 'ava';
import * as fc from 'fast-check';
import { digestOf } from '../../../src/oci/digest.ts';
import { rebuildBlob } from '../../../sync/bundle/blob-rebuild.ts';
import { BundleError } from '../../../sync/bundle/bundle-error.ts';
import { findRecipe } from '../../../sync/bundle/recipe-finder.ts';
import type { Recipe } from '../../../sync/bundle/recipe.ts';
import { randomBytes } from '../../helpers/image.ts';
import { createTempFolder } from '../../helpers/mirror.ts';
import { missingPackages, testUnless } from '../../helpers/needs.ts';
import {
  formatInstruction,
  parseInstruction,
  type RecipeInstruction,
} from '../../../sync/bundle/recipe-instruction.ts';
import {
  chunkedLayer,
  stargzLayer,
  tarOf,
  type FramedLayer,
  type LayerFile,
} from './framed-layer.ts';
import { MemoryContent } from './memory-content.ts';
import { chunkedBySkopeo } from './skopeo-layer.ts';

type Files = readonly LayerFile[];

/** How each is made, and which of its frames differ where one of its files does: some, and the last ones. */
const KINDS = {
  'zstd:chunked': {
    layerOf: (files: Files) => chunkedLayer(files),
    changed: { first: 40, count: 2, last: 3 },
  },
  'zstd:chunked of stargz-snapshotter': {
    layerOf: (files: Files) => chunkedLayer(files, 'GnUlInUx'),
    changed: { first: 40, count: 2, last: 3 },
  },
  eStargz: {
    layerOf: (files: Files) => stargzLayer(files),
    changed: { first: 20, count: 2, last: 2 },
  },
  'the first form of eStargz': {
    layerOf: (files: Files) => stargzLayer(files, { isFirstForm: true }),
    changed: { first: 20, count: 2, last: 2 },
  },
};

function file(name: string, size: number, seed = name): LayerFile {
  return { name, bytes: randomBytes(seed, size) };
}

const FILES = Array.from({ length: 40 }, (_, index) => file(`usr/lib/${index}`, 3000 + 97 * index));

async function bytesOf(recipe: Recipe): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(recipe.read({ start: 0, end: recipe.size })));
}

async function rebuild(recipe: Recipe, sources: readonly MemoryContent[]): Promise<Buffer> {
  const held = recipe.sources.map(({ digest }) =>
    sources.find((source) => source.digest === digest)!,
  );
  const bytes = new MemoryContent(await bytesOf(recipe));
  const rebuilt: Buffer[] = [];
  for await (const piece of rebuildBlob({ recipe: bytes, sources: held, size: recipe.blob.size })) {
    rebuilt.push(Buffer.from(piece));
  }
  return Buffer.concat(rebuilt);
}

async function exact(
  t: ExecutionContext,
  blob: Buffer,
  earlier: readonly Buffer[],
): Promise<Recipe | undefined> {
  const sources = earlier.map((bytes) => new MemoryContent(bytes));
  const target = new MemoryContent(blob);
  const recipe = await findRecipe(target, sources);
  if (!recipe) return undefined;
  t.true((await rebuild(recipe, sources)).equals(blob));
  t.is(await recipe.digest(), digestOf(await bytesOf(recipe)));
  t.true(recipe.size < blob.length);
  t.deepEqual(
    [target, ...sources].map(({ openCount }) => openCount),
    [target, ...sources].map(() => 0),
  );
  return recipe;
}

/** What a recipe does, and that its new bytes are those of the blob. */
function stepsOf(t: ExecutionContext, bytes: Buffer, blob: Buffer): RecipeInstruction[] {
  const steps: RecipeInstruction[] = [];
  let position = 0;
  for (let at = 0; at < bytes.length;) {
    const { bytes: head, ...step } = parseInstruction(bytes.subarray(at))!;
    at += head;
    const end = position + step.length;
    if (!step.from) {
      t.true(bytes.subarray(at, at + step.length).equals(blob.subarray(position, end)));
      at += step.length;
    }
    steps.push(step);
    position = end;
  }
  t.is(position, blob.length);
  return steps;
}

/** Bytes of a layer before one of its frames. */
function before({ frames }: FramedLayer, frame: number): number {
  return Buffer.concat(frames.slice(0, frame)).length;
}

for (const [kind, { layerOf, changed }] of Object.entries(KINDS)) {
  test(`${kind}: of a layer with one changed file its frames and what tells of all are carried, and no more`, async (t) => {
    const old = layerOf(FILES);
    const fresh = layerOf(FILES.with(20, file('usr/lib/20', 5000, 'changed')));
    const recipe = await exact(t, fresh.bytes, [old.bytes]);
    const [start, resumed] = [changed.first, changed.first + changed.count];
    const last = fresh.frames.length - changed.last;
    t.deepEqual(stepsOf(t, await bytesOf(recipe!), fresh.bytes), [
      { length: before(fresh, start), from: { source: 0, start: 0 } },
      { length: before(fresh, resumed) - before(fresh, start) },
      {
        length: before(fresh, last) - before(fresh, resumed),
        from: { source: 0, start: before(old, resumed) },
      },
      { length: fresh.bytes.length - before(fresh, last) },
    ]);
  });
}

for (const [kind, { layerOf }] of Object.entries(KINDS)) {
  test(`${kind}: whatever is changed in a layer, its recipe makes it, and takes less than it`, async (t) => {
    const edit = fc.record({
      kind: fc.constantFrom('change', 'remove', 'insert', 'repeat', 'touch'),
      at: fc.nat(39),
      size: fc.nat(9000),
    });
    const edits = fc.array(edit, { maxLength: 60 });
    await fc.assert(
      fc.asyncProperty(edits, fc.boolean(), async (list, isWithOther) => {
        const files = list.reduce(applied, FILES);
        const earlier = [layerOf(FILES).bytes];
        if (isWithOther) earlier.unshift(layerOf(FILES.slice(7, 30).toReversed()).bytes);
        await exact(t, layerOf(files).bytes, earlier);
      }),
      { numRuns: 20 },
    );
  });
}

interface Edit {
  readonly kind: string;
  readonly at: number;
  readonly size: number;
}

function applied(files: Files, { kind, at, size }: Edit): LayerFile[] {
  const fresh = file(`etc/${size}`, size);
  const old = files[at] ?? fresh;
  if (kind === 'insert') return files.toSpliced(at, 0, fresh);
  if (kind === 'remove') return files.toSpliced(at, 1);
  if (kind === 'repeat') return files.toSpliced(at, 0, old, old, old);
  const changed = kind === 'touch' ? { ...old, modifiedAt: size } : { ...fresh, name: old.name };
  return files.toSpliced(at, 1, changed);
}

testUnless('skopeo', missingPackages('skopeo'))(
  'of a layer that skopeo wrote as zstd:chunked the changed file and what tells of all are carried',
  async (t) => {
    const changed = file('usr/lib/20', 5000, 'changed');
    const folders = [await createTempFolder(t), await createTempFolder(t)] as const;
    const old = await chunkedBySkopeo(folders[0], tarOf(FILES));
    const fresh = await chunkedBySkopeo(folders[1], tarOf(FILES.with(20, changed)));
    const recipe = await exact(t, fresh, [old]);
    const steps = stepsOf(t, await bytesOf(recipe!), fresh);
    t.deepEqual(
      steps.map(({ from }) => from?.source),
      [0, undefined, 0, undefined],
    );
    // The file, its header, and the two tables: of its files, and of the tar's headers.
    t.true(steps[1]!.length > 5000 && steps[1]!.length < 5200);
    t.true(recipe!.size < fresh.length / 10, `${recipe!.size} of ${fresh.length}`);
  },
);

test('a layer of which all files were written anew is made of their contents and new headers, and what is tiny is carried', async (t) => {
  const files = FILES.flatMap((entry) => [entry, file(`${entry.name}.d`, 5)]);
  const old = chunkedLayer(files);
  const fresh = chunkedLayer(files.map((entry) => ({ ...entry, modifiedAt: 1_700_000_000 })));
  const recipe = await exact(t, fresh.bytes, [old.bytes]);
  const copies = stepsOf(t, await bytesOf(recipe!), fresh.bytes).filter(({ from }) => from);
  t.deepEqual(
    copies.map(({ length }) => length),
    FILES.map((_, index) => fresh.frames[4 * index + 1]!.length),
  );
});

test('contents that stand in a layer several times break no run of what is found', async (t) => {
  const files = FILES.map((entry, index) =>
    index % 3 === 0 ? { ...entry, bytes: FILES[0]!.bytes } : entry,
  );
  const old = chunkedLayer([...files, files[5]!, files[6]!]);
  const fresh = chunkedLayer(files.with(20, file('usr/lib/20', 5000, 'changed')));
  const recipe = await exact(t, fresh.bytes, [old.bytes]);
  const steps = stepsOf(t, await bytesOf(recipe!), fresh.bytes);
  t.deepEqual(
    steps.map(({ from }) => from?.start),
    [0, undefined, before(old, 42), undefined],
  );
});

test('of more pieces than half a million those behind them are carried', async (t) => {
  const frames = 500_010;
  const bytes = Buffer.alloc(20 * frames + 8, 'GNUlInUx');
  for (let index = 0; index < frames; index += 1) {
    bytes.writeUInt32LE(0xfd2fb528, 20 * index);
    bytes.writeUInt32LE(index, 20 * index + 4);
  }
  const recipe = await exact(t, bytes, [bytes]);
  t.deepEqual(stepsOf(t, await bytesOf(recipe!), bytes), [
    { length: 20 * 500_000, from: { source: 0, start: 0 } },
    { length: 20 * 10 + 8 },
  ]);
});

test('of a long frame that ends otherwise than before the same beginning is found', async (t) => {
  const long = randomBytes('long', 1_000_000);
  const old = stargzLayer([{ name: 'long', bytes: long }, file('z', 100)]);
  const fresh = stargzLayer([{ name: 'long', bytes: long }, file('y', 100)]);
  const recipe = await exact(t, fresh.bytes, [old.bytes]);
  const [copied] = stepsOf(t, await bytesOf(recipe!), fresh.bytes);
  t.deepEqual(copied?.from, { source: 0, start: 0 });
  t.true(copied!.length > 1_000_000 - 2 * 64 * 1024);
});

test('what no earlier layer has alone is taken from several of them, and others are not named', async (t) => {
  const fresh = chunkedLayer(FILES);
  const unrelated = chunkedLayer([file('other', 50_000)]);
  const halves = [FILES.slice(0, 20), FILES.slice(20)].map((files) => chunkedLayer(files));
  const earlier = [unrelated, ...halves].map(({ bytes }) => new MemoryContent(bytes));
  const recipe = await findRecipe(new MemoryContent(fresh.bytes), earlier);
  t.deepEqual(
    recipe?.sources.map(({ digest }) => digest),
    earlier.slice(1).map(({ digest }) => digest),
  );
  t.true((await rebuild(recipe!, earlier)).equals(fresh.bytes));
});

test('of earlier layers the first four are read, each once, and none once nine tenths are found', async (t) => {
  const fresh = new MemoryContent(chunkedLayer(FILES.with(3, file('new', 1000))).bytes);
  const layers = [0, 8, 16, 24, 32].map(
    (from) => new MemoryContent(chunkedLayer(FILES.slice(from, from + 8)).bytes),
  );
  await findRecipe(fresh, layers);
  const tail = 19;
  t.deepEqual(
    layers.map(({ bytesRead }) => bytesRead),
    [...layers.slice(0, 4).map(({ size }) => size + tail), 0],
  );
  const [whole, spare] = [FILES, FILES].map(
    (files) => new MemoryContent(chunkedLayer(files).bytes),
  );
  await findRecipe(fresh, [whole!, spare!]);
  t.deepEqual([whole!.bytesRead, spare!.bytesRead], [whole!.size + tail, tail]);
});

test('plain gzip, plain zstd and plain tar gain nothing, and no more than their last bytes are read', async (t) => {
  const tars = [FILES, FILES.with(20, file('usr/lib/20', 5000, 'changed'))].map(tarOf);
  const chunked = new MemoryContent(chunkedLayer(FILES).bytes);
  for (const compress of [gzipSync, zstdCompressSync, (bytes: Buffer) => bytes]) {
    const [old, fresh] = tars.map((tar) => new MemoryContent(compress(tar)));
    t.is(await findRecipe(fresh!, [old!, chunked]), undefined);
    t.is(fresh!.bytesRead, 19);
    t.is(await findRecipe(chunked, [old!]), undefined);
  }
  chunked.bytesRead = 0;
  t.is(await findRecipe(new MemoryContent(stargzLayer(FILES).bytes), [chunked]), undefined);
  t.is(chunked.bytesRead, 19);
});

test('there is no recipe where it would save less than it takes to tell of it', async (t) => {
  const shared = file('shared', 1500);
  const [old, fresh] = ['old', 'new'].map(
    (seed) => new MemoryContent(chunkedLayer([shared, file('own', 30_000, seed)]).bytes),
  );
  t.is(await findRecipe(fresh!, [old!]), undefined);
  t.is(await findRecipe(fresh!, []), undefined);
  const small = new MemoryContent(chunkedLayer([file('small', 1000)]).bytes);
  t.is(await findRecipe(small, [small]), undefined);
});

test('layers of any bytes end in a recipe that makes them, or in none', async (t) => {
  const magics = [Buffer.from([0x1f, 0x8b, 8, 0]), Buffer.from([0x28, 0xb5, 0x2f, 0xfd])];
  const part = fc.oneof(
    fc.constantFrom(...magics),
    fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
    fc.nat(200_000).map((size) => Buffer.alloc(size)),
  );
  const footer = fc.constantFrom(
    'GNUlInUx',
    'GnUlInUx',
    `${'f'.repeat(16)}STARGZ${'\0'.repeat(13)}`,
  );
  const layer = fc
    .tuple(fc.array(part, { maxLength: 200 }), footer)
    .map(([parts, end]) => Buffer.concat([...parts, Buffer.from(end)]));
  await fc.assert(
    fc.asyncProperty(layer, fc.array(layer, { maxLength: 3 }), async (blob, earlier) => {
      await exact(t, blob, [...earlier, blob.subarray(blob.length >> 1)]);
    }),
    { numRuns: 100 },
  );
});

test('any part of a recipe can be read', async (t) => {
  const fresh = chunkedLayer(FILES.with(3, file('new', 1000)));
  const old = chunkedLayer(FILES);
  const recipe = await findRecipe(new MemoryContent(fresh.bytes), [new MemoryContent(old.bytes)]);
  const whole = await bytesOf(recipe!);
  t.is(whole.length, recipe!.size);
  await fc.assert(
    fc.asyncProperty(fc.nat(whole.length), fc.nat(whole.length), async (a, b) => {
      const range = { start: Math.min(a, b), end: Math.max(a, b) };
      const read = Buffer.concat(await Array.fromAsync(recipe!.read(range)));
      t.true(read.equals(whole.subarray(range.start, range.end)));
    }),
  );
});

test('whatever stands in a recipe, no more bytes come of it than it was to give, and no other error', async (t) => {
  const source = new MemoryContent(randomBytes('source', 5000));
  const number = fc.oneof(fc.nat(60), fc.nat(6000), fc.maxSafeNat());
  const step = fc.record({
    length: number,
    source: fc.nat(2),
    start: number,
    isCopy: fc.boolean(),
  });
  const sound = fc.array(step, { maxLength: 20 }).map((steps) =>
    Buffer.concat(
      steps.flatMap(({ length, source: index, start, isCopy }) => {
        const from = isCopy ? { from: { source: index, start } } : {};
        const count = Math.floor(length / 4);
        return [
          Buffer.from(formatInstruction({ length: count, ...from })),
          Buffer.alloc(isCopy ? 0 : Math.min(count, 6000)),
        ];
      }),
    ),
  );
  const recipe = fc.oneof(
    sound,
    fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
  );
  let refused = 0;
  await fc.assert(
    fc.asyncProperty(recipe, fc.nat(20_000), async (bytes, size) => {
      let given = 0;
      try {
        const parts = { recipe: new MemoryContent(bytes), sources: [source], size };
        for await (const piece of rebuildBlob(parts)) given += piece.length;
      } catch (error) {
        t.true(error instanceof BundleError && error.code === 'content', String(error));
        refused += 1;
      }
      t.true(given <= size);
    }),
    { numRuns: 300 },
  );
  t.true(refused > 50);
  t.is(source.openCount, 0);
});
