/** `bundle import` and `bundle status` against a real server, from files, a folder and a pipe. */
import { EventEmitter } from 'node:events';
import { mkdir, open, readdir, rename, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import test, { type ExecutionContext } from 'ava';
import { decodeInventory } from '../../sync/bundle/inventory-file.ts';
import { ParityFile } from '../../sync/bundle/parity.ts';
import { buildImage } from '../helpers/image.ts';
import { createTempFolder, type TestMirror } from '../helpers/mirror.ts';
import { SERIES, type MadeBundle } from '../sync/bundle/made-bundle.ts';
import { bundleOf, pull, REGISTRY, startAirGapped } from '../sync/bundle/brought-bundle.ts';
import { runStoreCommand, type RunOptions } from './run-store-command.ts';

const APP = buildImage({ seed: 'app', layers: [60_000] });
const IMAGE = { image: APP, repository: 'org/app', tag: 'v1' };

async function run(
  t: ExecutionContext,
  site: TestMirror,
  args: readonly string[],
  options: RunOptions = {},
) {
  const admin = new URL(site.server.adminUrl).host;
  const readStoreId = async () => undefined;
  return runStoreCommand(t, ['bundle', ...args], {
    admin,
    ...options,
    parts: { readStoreId, ...options.parts },
  });
}

async function writeParts(
  t: ExecutionContext,
  bundle: MadeBundle,
  { without }: { without?: number } = {},
): Promise<string> {
  const folder = await createTempFolder(t);
  const path = join(folder, 'b.parity.tar');
  await using handle = bundle.manifest.hasParity ? await open(path, 'w+') : undefined;
  const parity = handle && new ParityFile(handle, bundle);
  for (let part = 1; part <= bundle.parts; part += 1) {
    const written = bundle.write(part);
    const bytes = Buffer.concat(await Array.fromAsync(parity ? parity.mix(written) : written));
    if (part !== without) await writeFile(join(folder, `b.part${part}.tar`), bytes);
  }
  await parity?.seal();
  return folder;
}

test('a folder of parts is imported, told, and receipted', async (t) => {
  const site = await startAirGapped(t);
  const bundle = bundleOf([IMAGE], { partBytes: 30_000 });
  const folder = await writeParts(t, bundle);
  const receipt = join(folder, 'site.inventory');
  const { code, stdout, stderr } = await run(t, site, ['import', folder, '--receipt', receipt]);
  t.is(code, 0, stderr);
  t.is(
    stdout,
    `bundle 1 of series ${SERIES} is in force: 1 image, 3 blobs of ${sizeOf()} new
TAG                     MEANS                BEFORE
${REGISTRY}/org/app:v1  ${short()}  new
`,
  );
  t.deepEqual((await pull(site, 'org/app', 'v1')).body, APP.manifest.bytes);
  t.deepEqual([...(await decodeInventory(readFileSync(receipt))).applied], [[SERIES, 1]]);
  const again = await run(t, site, ['import', folder, '--json']);
  t.is(again.code, 0);
  t.like(JSON.parse(again.stdout), { bundles: [{ report: { blobs: 0, moved: [] } }] });
  const status = await run(t, site, ['status']);
  t.is(status.code, 0);
  t.regex(status.stdout, /^BUNDLE +SERIES +ID +STATE\n1 +[-0-9a-f]+ +sha256:\w+ +in force /);
});

function sizeOf(): string {
  const bytes = [APP.manifest, ...APP.blobs].reduce((sum, { size }) => sum + size, 0);
  return `${(bytes / 1024).toFixed(1)} KiB`;
}

function short(): string {
  return APP.manifest.digest.slice(0, 'sha256:'.length + 12);
}

test('parts that are missing are named, and the rest is taken in where it stopped', async (t) => {
  const site = await startAirGapped(t);
  const folder = await writeParts(t, bundleOf([IMAGE], { partBytes: 25_000 }), { without: 2 });
  const first = await run(t, site, ['import', folder]);
  t.is(first.code, 1, first.stderr);
  t.is(first.stdout, `bundle 1 of series ${SERIES}: 3 of 4 parts here, awaited: 2\n`);
  const status = await run(t, site, ['status']);
  t.is(status.code, 1);
  t.regex(status.stdout, /3 of 4 parts here, awaited: 2\n$/);
  const rest = await writeParts(t, bundleOf([IMAGE], { partBytes: 25_000 }));
  const { code, stdout } = await run(t, site, ['import', join(rest, 'b.part2.tar'), '--json']);
  t.is(code, 0);
  t.like(JSON.parse(stdout), {
    bundles: [{ received: [1, 2, 3, 4], awaited: [], report: { images: 1 } }],
  });
});

test('a lost part is made from the others and the parity part', async (t) => {
  const site = await startAirGapped(t);
  const bundle = bundleOf([IMAGE], { partBytes: 25_000, manifest: { hasParity: true } });
  const folder = await writeParts(t, bundle, { without: 2 });
  const { code, stderr } = await run(t, site, ['import', folder]);
  t.is(code, 0, stderr);
  t.deepEqual((await pull(site, 'org/app', 'v1')).body, APP.manifest.bytes);
});

test('one part comes by standard input', async (t) => {
  const site = await startAirGapped(t);
  const bundle = bundleOf([IMAGE]);
  const { code, stderr } = await run(t, site, ['import', '-'], {
    stdin: () => Readable.from(bundle.write(1)),
  });
  t.is(code, 0, stderr);
  t.deepEqual((await pull(site, 'org/app', 'v1')).body, APP.manifest.bytes);
});

test('what is wrong with a part is told with its name, and what goes together on the line', async (t) => {
  const site = await startAirGapped(t);
  const folder = await createTempFolder(t);
  const part = await bundleOf([IMAGE]).part(1);
  await writeFile(join(folder, 'cut.tar'), part.subarray(0, -3000));
  const cut = await run(t, site, ['import', folder]);
  t.is(cut.code, 1);
  t.regex(cut.stderr, /cut\.tar: .*ends before/);
  const empty = await createTempFolder(t);
  t.regex(
    (await run(t, site, ['import', empty])).stderr,
    /no file there ends in \.tar|has no file that ends in \.tar/,
  );
  t.is((await run(t, site, ['import', '-', 'x'])).code, 64);
  t.is((await run(t, site, ['import'])).code, 64);
  t.is((await run(t, site, ['import', 'x', '--watch', folder])).code, 64);
});

test('what appears in a watched folder is taken in once it is whole, whatever else lies there', async (t) => {
  const site = await startAirGapped(t);
  const folder = await createTempFolder(t);
  const bundle = bundleOf([IMAGE], { partBytes: 25_000 });
  const parts = await bundle.all();
  await writeFile(join(folder, 'other.tar'), 'no bundle');
  await writeFile(join(folder, '.hidden.tar'), parts[0]!);
  const receipt = join(folder, 'receipt');
  const signals = new EventEmitter();
  let looks = 0;
  // One part appears at each look; after all of them have come to rest the command is told to stop.
  const pause = async (): Promise<void> => {
    const bytes = parts[looks];
    if (bytes) {
      await writeFile(join(folder, `.${looks}.tmp`), bytes);
      await rename(join(folder, `.${looks}.tmp`), join(folder, `${looks}.tar`));
    }
    looks += 1;
    if (looks > parts.length + 2) signals.emit('SIGTERM', 'SIGTERM');
  };
  const args = ['import', '--watch', folder, '--receipt', receipt];
  const { code } = await run(t, site, args, { signals, parts: { pause } });
  t.is(code, 0);
  t.deepEqual((await pull(site, 'org/app', 'v1')).body, APP.manifest.bytes);
  t.deepEqual([...(await decodeInventory(readFileSync(receipt))).applied], [[SERIES, 1]]);
});

/** A file that opens and then fails, as one on a medium that is damaged does. */
const UNREADABLE = '/proc/self/mem';

test('a file that the disk does not give is told with its name, and ends no watching', async (t) => {
  const site = await startAirGapped(t);
  const folder = await createTempFolder(t);
  await symlink(UNREADABLE, join(folder, 'a.tar'));
  const { code, stderr } = await run(t, site, ['import', folder]);
  t.is(code, 1);
  t.regex(stderr, /^entrepot: .*a\.tar cannot be read \(EIO\)\n$/);
  await writeFile(join(folder, 'b.tar'), await bundleOf([IMAGE]).part(1));
  const watched = await watch(t, site, folder, [async () => undefined, async () => undefined]);
  t.is(watched.code, 0, watched.stderr);
  t.deepEqual((await pull(site, 'org/app', 'v1')).body, APP.manifest.bytes);
});

test('a receipt that cannot be written holds up no bundle, and is written when it can be', async (t) => {
  const site = await startAirGapped(t);
  const folder = await createTempFolder(t);
  const there = join(await createTempFolder(t), 'mounted');
  const receipt = join(there, 'receipt');
  for (const number of [1, 2]) {
    const bundle = bundleOf([IMAGE], { manifest: { number } });
    await writeFile(join(folder, `${number}.tar`), await bundle.part(1));
  }
  const steps = [async () => undefined, async () => mkdir(there), async () => undefined];
  const { code } = await watch(t, site, folder, steps, ['--receipt', receipt]);
  t.is(code, 0);
  t.deepEqual([...(await decodeInventory(readFileSync(receipt))).applied], [[SERIES, 2]]);
});

test('parts that were taken in and lost by the site are sent again from a watched folder', async (t) => {
  const site = await startAirGapped(t);
  const folder = await createTempFolder(t);
  const parts = await bundleOf([IMAGE], { partBytes: 25_000 }).all();
  const last = parts.length - 1;
  for (const [place, bytes] of parts.entries()) {
    if (place < last) await writeFile(join(folder, `${place}.tar`), bytes);
  }
  const lose = async (): Promise<void> => {
    const ingest = join(site.storePath, 'ingest');
    const files = await readdir(ingest, { recursive: true, withFileTypes: true });
    const pieces = files.filter((file) => file.isFile());
    t.true(pieces.length > 0);
    for (const { parentPath, name } of pieces) await rm(join(parentPath, name));
    await writeFile(join(folder, `${last}.tar`), parts[last]!);
  };
  const wait = async (): Promise<void> => undefined;
  const { code } = await watch(t, site, folder, [wait, lose, wait, wait, wait]);
  t.is(code, 0);
  t.deepEqual((await pull(site, 'org/app', 'v1')).body, APP.manifest.bytes);
});

test('the head of a file in a watched folder is read once', async (t) => {
  const site = await startAirGapped(t);
  const bundle = bundleOf([IMAGE], { partBytes: 25_000, manifest: { hasParity: true } });
  const made = await writeParts(t, bundle, { without: 2 });
  const folder = await createTempFolder(t);
  const parity = join(folder, 'parity.tar');
  const age = async (): Promise<void> => utimes(parity, 1_000_000, 1_000_000);
  await rename(join(made, 'b.parity.tar'), parity);
  await age();
  const bring = async (): Promise<void> => {
    // The same file by all that a look tells; a second reader of its head would find none.
    const file = await open(parity, 'r+');
    await file.write(Buffer.alloc(512, 'x'), 0, 512, 0);
    await file.close();
    await age();
    for (const name of await readdir(made)) await rename(join(made, name), join(folder, name));
  };
  const wait = async (): Promise<void> => undefined;
  const { code } = await watch(t, site, folder, [wait, bring, wait, wait]);
  t.is(code, 0);
  t.deepEqual((await pull(site, 'org/app', 'v1')).body, APP.manifest.bytes);
});

/** With these steps between the looks, at each of which more than a minute goes by. */
async function watch(
  t: ExecutionContext,
  site: TestMirror,
  folder: string,
  steps: readonly (() => Promise<unknown>)[],
  args: readonly string[] = [],
) {
  const signals = new EventEmitter();
  let looks = 0;
  const pause = async (): Promise<void> => {
    const step = steps[looks];
    looks += 1;
    if (step) await step();
    else signals.emit('SIGTERM', 'SIGTERM');
  };
  const parts = { pause, now: () => 1_000_000_000_000 + looks * 61_000 };
  return run(t, site, ['import', '--watch', folder, ...args], { signals, parts });
}
