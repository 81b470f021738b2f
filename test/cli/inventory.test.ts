import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { basename, dirname, join } from 'node:path';
import test from 'ava';
import { decodeInventory } from '../../sync/bundle/inventory-file.ts';
import { createTempFolder } from '../helpers/mirror.ts';
import { startLiveStore, UPSTREAM, WORLD } from './live-store.ts';
import { runStoreCommand } from './run-store-command.ts';

test('inventory writes what is held to a file, with the server and without it', async (t) => {
  const { mirror, run } = await startLiveStore(t);
  const folder = await createTempFolder(t);
  const file = join(folder, 'site.inventory');
  writeFileSync(file, 'an older one');
  const { code, stdout, stderr } = await run('inventory', '--out', file);
  const bytes = readFileSync(file);
  const { site, key, digest, images } = await decodeInventory(bytes);
  t.deepEqual({ code, stderr }, { code: 0, stderr: '' });
  t.is(
    stdout,
    [
      `file  ${file}, ${bytes.length} B`,
      'holds 6 manifests with 5 tags, 2 of them in part',
      `site  ${site}`,
      `key   ${key.id}`,
      '',
    ].join('\n'),
  );
  const { old, older, index, cosigned } = WORLD;
  t.deepEqual(
    images.flatMap(({ name, tag, digest }) => (tag?.startsWith('v') ? [[name, tag, digest]] : [])),
    [
      [`${UPSTREAM}/org/app`, 'v1', index.digest],
      [`${UPSTREAM}/org/old`, 'v0', older.manifest.digest],
      [`${UPSTREAM}/org/old`, 'v1', old.manifest.digest],
    ],
  );
  t.true(images.some((image) => image.digest === cosigned.manifest.digest));

  await mirror.stop();
  const json = await run('inventory', '--out', join(folder, 'again'), '--json');
  t.deepEqual(JSON.parse(json.stdout), {
    file: join(folder, 'again'),
    bytes: bytes.length,
    digest,
    site,
    key: key.id,
    manifests: 6,
    partial: 2,
    tags: 5,
    blobs: 0,
    applied: {},
  });
  t.deepEqual(readFileSync(join(folder, 'again')), bytes);
  t.deepEqual(readdirSync(folder).toSorted(), ['again', 'site.inventory']);
});

test('inventory leaves the file as it was when there is nothing to put in its place', async (t) => {
  const folder = await createTempFolder(t);
  const file = join(folder, 'site.inventory');
  writeFileSync(file, 'an older one');
  const server = createServer(({ url }, answer) => {
    if (url !== '/api/v1/inventory') {
      answer.end(JSON.stringify({ version: '1', uptimeSeconds: 1, store: { path: '/srv/store' } }));
      return;
    }
    answer.writeHead(200, { 'content-length': 1000 });
    answer.write('half');
    answer.socket?.end();
  });
  t.teardown(() => server.close());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  const admin = `127.0.0.1:${port}`;
  t.deepEqual(await runStoreCommand(t, ['inventory', '--out', file], { admin }), {
    code: 1,
    stdout: '',
    stderr: 'entrepot: the inventory broke off (aborted): run the command again\n',
  });
  t.is(readFileSync(file, 'utf8'), 'an older one');
  t.deepEqual(readdirSync(folder), ['site.inventory']);
});

test('inventory says what is wrong with its line and its file', async (t) => {
  const { run } = await startLiveStore(t);
  const folder = await createTempFolder(t);
  const nowhere = join(folder, 'none', 'site.inventory');
  t.deepEqual(await run('inventory', '--out', nowhere), {
    code: 64,
    stdout: '',
    stderr: `entrepot: the inventory ${nowhere} cannot be written: no such file or directory; name a file in a folder that is there\n`,
  });
  t.is((await run('inventory')).code, 64);
  const { code, stderr } = await run('inventory', '--out', folder);
  t.is(code, 64);
  t.true(stderr.startsWith(`entrepot: the inventory ${folder} cannot be written: `), stderr);
  t.deepEqual(
    readdirSync(dirname(folder)).filter((name) => name.startsWith(`${basename(folder)}.`)),
    [],
  );
  t.deepEqual(readdirSync(folder), []);
});
