/** A store that another version wrote: an earlier one, or a newer one. */
import { spawnSync } from 'node:child_process';
import { cp, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { Level } from 'level';
import { verify } from '../faults/held-image.ts';
import { get } from '../helpers/client.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { createTempFolder, startMirror } from '../helpers/mirror.ts';
import { MAIN, MirrorProcess } from '../helpers/process.ts';
import {
  addEarlierImages,
  checkOut,
  EARLIER_PIN,
  fillEarlier,
  hasCommit,
} from './earlier-store.ts';

/** Of before stores had a number and journals had pins. */
const EARLIER = '17a01e7807c7e9c36b0787caa5cebae1f07fc2c3';
/** Made by it; stands for it where the history of a checkout does not reach so far. */
const MADE_EARLIER = join(import.meta.dirname, 'fixtures', 'earlier');
const IN_HISTORY = (await hasCommit(EARLIER)) ? [EARLIER, 'HEAD'] : [];

const EARLIER_STORES: Readonly<Record<string, (t: ExecutionContext) => Promise<string>>> = {
  'that is kept here': async (t) => {
    const path = await createTempFolder(t);
    await cp(MADE_EARLIER, path, { recursive: true });
    return path;
  },
  ...Object.fromEntries(
    IN_HISTORY.map((commit) => [
      `of ${commit.slice(0, 7)}`,
      async (t: ExecutionContext) => fillEarlier(t, commit),
    ]),
  ),
};

for (const [which, make] of Object.entries(EARLIER_STORES)) {
  test(`a store ${which} is opened: all of it is served without an upstream, verified and pinned, also after its catalog is lost`, async (t) => {
    const storePath = await make(t);
    await servesEarlier(t, storePath);
    await servesEarlier(t, storePath);
    await writeFile(join(storePath, 'catalog', 'CURRENT'), 'damaged');
    await servesEarlier(t, storePath);
  });
}

test('the store of a newer version is refused in one sentence, and nothing of it is changed', async (t) => {
  t.regex(
    await refusal(t, MAIN),
    /^entrepot: \S+ was written by a newer version \(format 3, this one knows 2\): run that version, or point store\.path elsewhere\n$/,
  );
});

if (IN_HISTORY.length > 0) {
  test('an earlier version refuses the store of a newer one, and serves one that this version had since where it knows the format', async (t) => {
    const sources = await checkOut(t, EARLIER);
    const main = join(sources, 'src', 'main.ts');
    t.regex(await refusal(t, main), /^entrepot: .* was written by a newer version /);
    const path = join(sources, 'store');
    await cp(MADE_EARLIER, path, { recursive: true });
    await servesEarlier(t, path);
    const settings = { offline: true, grace: undefined };
    const program = [process.execPath, main];
    const mirror = await MirrorProcess.start(t, sources, settings, { program });
    for (const [name, { bytes }] of addEarlierImages(await FakeRegistry.start(t))) {
      t.true((await get(`${mirror.url}/v2/library/${name}`)).body.equals(bytes), name);
    }
    t.is(await mirror.end('SIGTERM'), 0);
  });
}

/** What the program says of a store that a newer one wrote, which stays as it is. */
async function refusal(t: ExecutionContext, main: string): Promise<string> {
  const path = await createTempFolder(t);
  await cp(MADE_EARLIER, path, { recursive: true });
  await writeFile(join(path, 'format'), '3\n');
  const catalog = new Level(join(path, 'catalog'));
  await catalog.sublevel<string, number>('meta', { valueEncoding: 'json' }).put('schema', 3);
  await catalog.close();
  const config = join(await createTempFolder(t), 'entrepot.yaml');
  const listen = { listen: '127.0.0.1:0', admin: '127.0.0.1:0' };
  await writeFile(config, JSON.stringify({ ...listen, store: { path } }));
  const before = await readFiles(join(path, 'blobs'));
  const journal = await readFile(join(path, 'journal'), 'utf8');
  const args = [main, 'serve', '--config', config];
  const { status, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  t.not(status, 0);
  t.deepEqual(await readFiles(join(path, 'blobs')), before);
  t.is(await readFile(join(path, 'journal'), 'utf8'), journal);
  return stderr;
}

async function readFiles(path: string): Promise<Record<string, string>> {
  const entries = await readdir(path, { recursive: true, withFileTypes: true });
  const names = entries
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name));
  return Object.fromEntries(
    await Promise.all(names.map(async (name) => [name, await readFile(name, 'hex')] as const)),
  );
}

async function servesEarlier(t: ExecutionContext, storePath: string): Promise<void> {
  const registry = await FakeRegistry.start(t);
  const mirror = await startMirror(t, {
    storePath,
    offline: true,
    upstreams: { 'docker.io': { url: registry.url } },
  });
  await mirror.server.store.care.settled;
  for (const [path, { bytes }] of addEarlierImages(registry)) {
    const answer = await get(`${mirror.url}/v2/library/${path}`);
    t.is(answer.status, 200, path);
    t.true(answer.body.equals(bytes), path);
  }
  t.deepEqual((await verify(mirror)).damaged, []);
  const pins = mirror.server.store.care.pins.list();
  t.deepEqual(
    pins.map(({ image, reason }) => [image, reason]),
    [[EARLIER_PIN, 'kept']],
  );
  t.is(registry.connections, 0);
  await mirror.stop();
}
