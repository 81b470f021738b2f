import { writeFile, mkdir, rm, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { findSources } from '../../src/cli/bundle-sources.ts';
import { digestOf } from '../../src/oci/digest.ts';
import { SigningKey } from '../../sync/bundle/signing-key.ts';
import { createFolder } from '../config/config-folder.ts';
import { writeBundle } from '../sync/bundle/written-bundle.ts';
import { describe, MadeBundle, patterned } from '../sync/bundle/made-bundle.ts';
import { runInFolder } from './run-in-folder.ts';
import type { Result } from './run-main.ts';

const KEY = SigningKey.generate();
const INDEX = patterned(700);
const NEEDED = { digest: digestOf(patterned(5)), size: 30 * 1024 * 1024 };
const IMAGE = {
  name: 'docker.io/library/alpine',
  digest: digestOf(INDEX),
  mediaType: 'application/vnd.oci.image.index.v1+json',
  size: INDEX.length,
};
const [ID, SHORT] = [digestOf(INDEX), digestOf(INDEX).slice(0, 19)];

const SERIES = '5f70bf18-a086-4007-816e-948b04aed3b8';
const SITE = 'b1946ac9-2492-4234-8c62-35b4d2611184';

/** What is inspected, in a folder of its own: parts `1.tar` and so on, `parity.tar`, and the keys. */
async function start(t: ExecutionContext, isParted = true) {
  const cwd = createFolder(t, {
    'maker.pub': KEY.public.format(),
    'other.pub': SigningKey.generate().public.format(),
  });
  const folder = join(cwd, 'disk');
  await mkdir(folder);
  const bundle = new MadeBundle({
    blobs: [INDEX, patterned(30_000)],
    files: { 'trusted_root.json': Buffer.from('{}') },
    key: KEY,
    ...(isParted && { partBytes: 30_000 }),
    manifest: {
      series: SERIES,
      number: 7,
      hasParity: isParted,
      ...(isParted && { site: SITE, needs: [NEEDED] }),
      images: [
        { ...IMAGE, tag: '3.22' },
        { ...IMAGE, name: 'docker.io/library/signature', subject: ID },
      ],
      released: isParted ? ['docker.io/library/alpine:3.20'] : [],
    },
  });
  await writeBundle(bundle, folder);
  const run = async (...args: readonly string[]): Promise<Result> => {
    const result = await runInFolder(t, cwd, ['bundle', 'inspect', ...args]);
    return { ...result, stdout: result.stdout.replaceAll(cwd, '') };
  };
  return { cwd, folder, bundle, run };
}

test('bundle inspect says what a bundle is, for whom, by whom and what it needs; 0 when it is whole and right', async (t) => {
  const { run, bundle } = await start(t);
  t.is(bundle.parts, 3);
  const sizes = '20.0 KiB';
  const { code, stdout, stderr } = await run('disk', '--key', 'maker.pub');
  t.deepEqual([code, stderr], [0, '']);
  t.is(
    stdout.replaceAll(/\d+\.\d+ KiB(?= +whole)/g, sizes),
    [
      `bundle    7 of the series ${SERIES}`,
      `id        ${idOf(bundle)}`,
      `signed    by the key ${KEY.public.id}, which is the one that was given`,
      `for       the site ${SITE}, by its inventory`,
      'carries   1 image with 1 tag, 1 signature or the like, 2 blobs of 30.0 KiB, 1 file of 2 B',
      'needs     1 blob of 30.0 MiB, which the site holds',
      'releases  1 image',
      'parts     3 parts, all here',
      '',
      'IMAGE                          DIGEST               ATTACHED TO',
      `docker.io/library/alpine:3.22  ${SHORT}`,
      `docker.io/library/signature    ${SHORT}  ${SHORT}`,
      '',
      'RELEASED',
      'docker.io/library/alpine:3.20',
      '',
      'FILE               DIGEST               SIZE',
      `trusted_root.json  ${digestOf(Buffer.from('{}')).slice(0, 19)}  2 B`,
      '',
      'PART    SIZE      STATE  FILE',
      '1       20.0 KiB  whole  /disk/1.tar',
      '2       20.0 KiB  whole  /disk/2.tar',
      '3       20.0 KiB  whole  /disk/3.tar',
      'parity  20.0 KiB  whole  /disk/parity.tar',
      '',
    ].join('\n'),
  );
});

test('bundle inspect of a bundle for any site in one part, and without a key', async (t) => {
  const { run } = await start(t, false);
  const { code, stdout } = await run('disk/1.tar');
  t.is(code, 0);
  t.true(
    stdout.includes(
      `signed    by the key ${KEY.public.id}, as it says: give its public half with --key to know\n`,
    ),
  );
  t.true(stdout.includes('for       any site: it needs nothing but itself\n'));
  t.true(stdout.includes('needs     nothing that it does not carry\n'));
  t.true(stdout.includes('parts     1 part, all here\n'));
  t.false(stdout.includes('releases'));
});

test('bundle inspect --json has the whole manifest, and how each part is', async (t) => {
  const { run, bundle, folder } = await start(t);
  await rm(join(folder, '2.tar'));
  const { code, stdout } = await run('disk', '--key', 'maker.pub', '--json');
  t.is(code, 1);
  const { bundles, ...rest } = JSON.parse(stdout) as { bundles: Record<string, unknown>[] };
  t.deepEqual(rest, { isOk: false, problems: [] } as object);
  const [{ parts, ...told } = {}, ...others] = bundles;
  t.deepEqual(others, []);
  const { cuts, ...manifest } = bundle.manifest;
  t.is(cuts.length, 2);
  t.deepEqual(told, {
    id: idOf(bundle),
    ...manifest,
    key: { id: KEY.public.id, isVerified: true },
    missing: [2],
    partCount: 3,
  });
  t.deepEqual(
    (parts as { part: number; path: string }[]).map(({ part, path }) => [part, path]),
    [
      [0, '/disk/parity.tar'],
      [1, '/disk/1.tar'],
      [3, '/disk/3.tar'],
    ],
  );
});

test('bundle inspect says which parts are missing, and whether they can be made', async (t) => {
  const { run, folder } = await start(t);
  await rm(join(folder, '2.tar'));
  const one = await run('disk');
  t.is(one.code, 1);
  t.true(
    one.stdout.includes(
      'parts     2 of 3 parts here, missing: 2; the parity part makes up for it\n',
    ),
  );
  t.regex(one.stdout, /^2 {7}\d+\.\d+ KiB {2}missing$/m);
  await rm(join(folder, 'parity.tar'));
  await rm(join(folder, '1.tar'));
  const two = await run('disk/3.tar');
  t.is(two.code, 1);
  t.true(two.stdout.includes('parts     1 of 3 parts here, missing: 1-2\n'));
  t.regex(two.stdout, /^parity {2}\d+\.\d+ KiB {2}missing$/m);
});

test('bundle inspect finds the part that is damaged, that is another file, and that is by another key', async (t) => {
  const { run, folder, cwd } = await start(t);
  await writeFile(join(cwd, 'packed.tar'), Buffer.alloc(600, Buffer.from('1f8b', 'hex')));
  t.is((await run('disk')).code, 0);
  t.is((await run('disk', 'packed.tar')).code, 1);
  const path = join(folder, '2.tar');
  const bytes = await readFile(path);
  bytes[bytes.length - 4000]! ^= 1;
  await writeFile(path, bytes);
  const damaged = await run('disk', '--key', 'maker.pub');
  t.is(damaged.code, 1);
  t.regex(damaged.stdout, /^2 +\d+\.\d+ KiB {2}wrong {2}\/disk\/2\.tar +.*copy this part again$/m);
  t.is(damaged.stdout.match(/ {2}whole {2}/g)?.length, 3);
  await writeFile(path, 'no bundle');
  const other = await run('disk', 'packed.tar');
  t.is(other.code, 1);
  t.true(other.stdout.includes('what is no part that can be read:\n'));
  t.regex(other.stdout, /^\/disk\/2\.tar +it ends before its end: copy this part again, whole$/m);
  t.regex(other.stdout, /^\/packed\.tar +this is compressed: unpack it first/m);
  const foreign = await run('disk/1.tar', '--key', 'other.pub', '--json');
  t.is(foreign.code, 1);
  const { bundles } = JSON.parse(foreign.stdout) as {
    bundles: { key: object; parts: { problem: string }[] }[];
  };
  t.deepEqual(bundles[0]!.key, { id: KEY.public.id, isVerified: false });
  t.regex(bundles[0]!.parts[0]!.problem, /not signed by a key that is trusted here/);
  const text = await run('disk/1.tar', '--key', 'other.pub');
  t.true(
    text.stdout.includes(`signed    not by the key that was given; it names ${KEY.public.id}\n`),
  );
});

test('bundle inspect tells two bundles apart, and a part that is there twice', async (t) => {
  const { run, cwd, folder } = await start(t, false);
  const second = new MadeBundle({ blobs: [patterned(9)], key: KEY });
  await writeBundle(second, cwd);
  await writeFile(join(folder, 'again.tar'), await readFile(join(folder, '1.tar')));
  const { code, stdout } = await run('1.tar', 'disk', '--json');
  t.is(code, 0);
  const { bundles } = JSON.parse(stdout) as { bundles: { number: number; parts: object[] }[] };
  t.deepEqual(
    bundles.map(({ number, parts }) => [number, parts.length]),
    [
      [1, 1],
      [7, 2],
    ],
  );
});

test('bundle inspect shows 50 images, and all of them with --all', async (t) => {
  const cwd = createFolder(t, {});
  const images = Array.from({ length: 60 }, (_, at) => ({ ...IMAGE, tag: String(100 + at) }));
  await writeBundle(new MadeBundle({ blobs: [INDEX], manifest: { images } }), cwd);
  const some = await runInFolder(t, cwd, ['bundle', 'inspect', '1.tar']);
  t.is(some.stdout.match(/^docker\.io/gm)?.length, 50);
  t.true(some.stdout.includes('10 more: --all shows them\n'));
  const all = await runInFolder(t, cwd, ['bundle', 'inspect', '1.tar', '--all']);
  t.is(all.stdout.match(/^docker\.io/gm)?.length, 60);
});

test('bundle inspect says what is wrong with its paths', async (t) => {
  const cwd = createFolder(t, {});
  await mkdir(join(cwd, 'empty'));
  const none = await runInFolder(t, cwd, ['bundle', 'inspect', 'none.tar']);
  t.deepEqual([none.code, none.stderr], [1, `entrepot: ${cwd}/none.tar cannot be read (ENOENT)\n`]);
  await mkdir(join(cwd, 'odd', 'folder.tar'), { recursive: true });
  const odd = await runInFolder(t, cwd, ['bundle', 'inspect', 'odd']);
  t.is(odd.code, 1);
  t.regex(odd.stdout, /odd\/folder\.tar +its disk does not give it \(EISDIR\): see that/);
  const empty = await runInFolder(t, cwd, ['bundle', 'inspect', 'empty']);
  t.is(empty.code, 1);
  t.regex(empty.stderr, /empty has no file that ends in \.tar/);
});

test('however many parts there are, one manifest of each bundle is held', async (t) => {
  const { folder } = await start(t);
  const sources = await findSources([folder]);
  t.is(new Set(sources.map(({ head }) => head?.manifest)).size, 1);
  t.is(sources.length, 4);
});

function idOf(bundle: MadeBundle): string {
  const { payload } = JSON.parse(bundle.envelope.toString()) as { payload: string };
  return describe(Buffer.from(payload, 'base64')).digest;
}

test('bundle inspect says which layers the site makes, and what that saves', async (t) => {
  const cwd = createFolder(t, {});
  const recipe = patterned(2048);
  const MIB = 1024 * 1024;
  const bundle = new MadeBundle({
    others: [recipe],
    manifest: {
      needs: [NEEDED],
      recipes: [
        {
          digest: digestOf(patterned(9)),
          size: 31 * MIB,
          recipe: describe(recipe),
          sources: [NEEDED.digest],
        },
      ],
    },
  });
  await writeBundle(bundle, cwd);
  const { code, stdout } = await runInFolder(t, cwd, ['bundle', 'inspect', '.']);
  t.is(code, 0);
  t.regex(
    stdout,
    /\nrebuilds +1 layer of 31\.0 MiB from those that the site has and 2\.00 KiB of what is new: saves 31\.0 MiB\nneeds +1 blob /,
  );
  const { stdout: json } = await runInFolder(t, cwd, ['bundle', 'inspect', '.', '--json']);
  t.like(JSON.parse(json), {
    bundles: [{ rebuilt: { layers: 1, bytes: 31 * MIB, carriedBytes: 2048 } }],
  });
});
