/** Layers that cannot be made at the site: what it says, and what it goes on to serve. */
import { existsSync } from 'node:fs';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { Digest } from '../../../src/oci/digest.ts';
import { buildImage, MEDIA_TYPES, randomBytes, store, type Image } from '../../helpers/image.ts';
import { blobPath, createTempFolder, type MirrorOptions } from '../../helpers/mirror.ts';
import { runStoreCommand } from '../../cli/run-store-command.ts';
import { bring } from './brought-bundle.ts';
import { chunkedLayer, type LayerFile } from './framed-layer.ts';
import { Gap, REPOSITORY } from './gap.ts';
import { describe, MadeBundle, type MadeContents } from './made-bundle.ts';

const FILES: LayerFile[] = Array.from({ length: 30 }, (_, index) => ({
  name: `usr/lib/${index}`,
  bytes: randomBytes(`file ${index}`, 4000),
}));
const CHANGED = FILES.with(20, { name: 'usr/lib/20', bytes: randomBytes('changed', 4000) });

function chunked(seed: string, files: readonly LayerFile[]): Image {
  return buildImage({ seed, layers: [store(chunkedLayer(files).bytes, MEDIA_TYPES.layer)] });
}

const BEFORE = chunked('v1', FILES);
const AFTER = chunked('v2', CHANGED);
const SOURCE = BEFORE.layer(0).digest as Digest;

/** A site that has the first version, and a bundle with a recipe for the second one. */
async function openGap(
  t: ExecutionContext,
  options: Partial<MirrorOptions> = {},
  contents: MadeContents = {},
) {
  const gap = await Gap.open(t, options);
  await gap.bringTag('v1', BEFORE);
  gap.registry.addImage(REPOSITORY, 'v1', AFTER);
  const { bundle, draft } = await gap.pack(['v1'], contents);
  t.is(draft.recipes?.length, 1);
  return { gap, bundle };
}

/** One byte of a file of the site's store turns. */
async function damage({ site }: Gap, { isSeen }: { isSeen: boolean }): Promise<void> {
  const path = blobPath(site.storePath, SOURCE);
  const bytes = await readFile(path);
  bytes[50_000]! ^= 1;
  await writeFile(path, bytes);
  if (isSeen) return;
  const { ctimeMs } = await stat(path);
  await site.server.store.catalog.updateBlob(SOURCE, { changedAt: ctimeMs });
}

for (const isSeen of [true, false]) {
  const how = isSeen ? 'was touched and is damaged' : 'is damaged without a trace';
  test(`a held layer that ${how} makes no other one: it goes into quarantine, and comes with the next bundle`, async (t) => {
    const { gap, bundle } = await openGap(t);
    await damage(gap, { isSeen });
    const { status, body } = await bring(gap.site, await bundle.part(1));
    t.is(status, 409);
    // One that was touched is read before it counts as held.
    t.is(
      body['error'],
      isSeen
        ? `this site lacks 1 blobs that the bundle builds on (${SOURCE}): have another one made for the inventory of today`
        : `the copy of ${SOURCE} at this site, of which the bundle makes a layer, is missing or damaged: have a bundle made from a new inventory of this site`,
    );
    t.false(existsSync(blobPath(gap.site.storePath, SOURCE)));
    t.false(existsSync(blobPath(gap.site.storePath, AFTER.layer(0).digest)));
    t.not((await gap.read(SOURCE)).status, 200);
    t.not((await gap.read(AFTER.layer(0).digest)).status, 200);
    await gap.requireTag('v1', BEFORE);
    const next = await gap.pack(['v1']);
    t.is(next.draft.recipes, undefined);
    t.true(next.draft.blobs.some(({ digest }) => digest === AFTER.layer(0).digest));
    await gap.bringAll(next.bundle);
    await gap.requireServed('v1', AFTER);
  });
}

test('a held layer that is gone is missing before anything of the bundle is read', async (t) => {
  const { gap, bundle } = await openGap(t);
  const { catalog, blobs } = gap.site.server.store;
  await catalog.forgetBlob(SOURCE);
  await blobs.delete(SOURCE);
  const { status, body } = await bring(gap.site, await bundle.part(1));
  t.is(status, 409);
  t.regex(String(body['error']), new RegExp(`^this site lacks 1 blobs? .*${SOURCE}`));
  await gap.requireTag('v1', BEFORE);
});

test('a recipe that makes another layer than it says, or none, is refused and brings nothing', async (t) => {
  const { gap, bundle } = await openGap(t);
  const { manifest, key } = bundle;
  const [recipe] = manifest.recipes!;
  const right = bundle.bytes.get(recipe!.recipe.digest)!;
  const turned = Buffer.from(right);
  turned[right.length - 1]! ^= 1;
  for (const wrong of [turned, right.subarray(0, -1), Buffer.alloc(100, 255), Buffer.alloc(0)]) {
    const { cuts: _, ...rest } = manifest;
    const made = new MadeBundle({
      key,
      others: [...bundle.bytes.values(), wrong],
      manifest: { ...rest, recipes: [{ ...recipe!, recipe: describe(wrong) }] },
    });
    const { status, body } = await bring(gap.site, await made.part(1));
    t.is(status, 422, JSON.stringify(body));
    t.is(
      body['error'],
      `its recipe ${describe(wrong).digest} does not make a layer: have the bundle made again, without an inventory`,
    );
    t.not((await gap.read(AFTER.layer(0).digest)).status, 200);
    await gap.requireServed('v1', BEFORE);
  }
  await gap.bringAll(bundle);
  await gap.requireServed('v1', AFTER);
});

test('a recipe that is gone before the last part comes is asked for again', async (t) => {
  // So that it stands whole in the second part.
  const files = { note: randomBytes('note', 8000) };
  const { gap, bundle } = await openGap(t, {}, { partBytes: 16_500, files });
  const parts = await bundle.all();
  t.is(parts.length, 2);
  await gap.bring(parts[1]!);
  const recipe = bundle.manifest.recipes![0]!.recipe.digest as Digest;
  const { catalog, blobs } = gap.site.server.store;
  t.true(await catalog.hasBlob(recipe));
  await catalog.forgetBlob(recipe);
  await blobs.delete(recipe);
  const { status, body } = await bring(gap.site, parts[0]!);
  t.is(status, 422);
  t.is(body['error'], `${recipe} is gone again: import all parts of bundle 2 once more`);
  await gap.requireServed('v1', BEFORE);
  await gap.bringAll(bundle);
  await gap.requireServed('v1', AFTER);
});

test('room is wanted for what a recipe makes, before any of it is read', async (t) => {
  const { size } = AFTER.layer(0);
  const { gap, bundle } = await openGap(t, { store: { maxBytes: 2 * size } });
  const { status, body } = await bring(gap.site, await bundle.part(1));
  t.is(status, 507, JSON.stringify(body));
  t.like(body['detail'], { code: 'room' });
  const recipe = bundle.manifest.recipes![0]!.recipe.digest as Digest;
  t.false(await gap.site.server.store.catalog.hasBlob(recipe));
  await gap.requireServed('v1', BEFORE);
});

test('bundle import takes up a bundle again whose layer could not be made, with no part awaited', async (t) => {
  const { gap, bundle } = await openGap(t);
  await damage(gap, { isSeen: false });
  const folder = await createTempFolder(t);
  await writeFile(join(folder, 'next.tar'), await bundle.part(1));
  const admin = new URL(gap.site.server.adminUrl).host;
  const parts = { readStoreId: async () => undefined };
  const run = async () => runStoreCommand(t, ['bundle', 'import', folder], { admin, parts });
  const refused = await run();
  t.is(refused.code, 1);
  t.true(refused.stderr.includes(`the copy of ${SOURCE} at this site`), refused.stderr);
  const again = await run();
  t.is(again.code, 1);
  t.true(again.stderr.includes(`this site lacks 1 blob`), again.stderr);
  const { bytes } = BEFORE.layer(0);
  const { blobs, catalog } = gap.site.server.store;
  await blobs.writeBytes(SOURCE, bytes);
  await catalog.adoptBlob(SOURCE, { size: bytes.length, storedAt: 0 });
  t.is((await run()).code, 0);
  await gap.requireServed('v1', AFTER);
});
