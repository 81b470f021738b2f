/** A start where the disk does not take everything. */
import { spawnSync } from 'node:child_process';
import { mkdir, readdir, rm } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import test from 'ava';
import { pino } from 'pino';
import { LevelCatalog } from '../../src/store/catalog/level-catalog.ts';
import { BlobStore } from '../../src/store/files/blob-store.ts';
import { openInPlace } from '../../src/store/place.ts';
import { createTempFolder, startMirror } from '../helpers/mirror.ts';

test('the copy of a killed process goes with the next one, also of one with the same number; that of a running one and of another machine stay', async (t) => {
  const path = await createTempFolder(t);
  // It has ended, and its number is not given again so soon.
  const gone = spawnSync('true').pid;
  const [left, sameNumber, running, elsewhere] = [
    `entrepot-catalog-${hostname()}-${gone}-abcdef`,
    `entrepot-catalog-${hostname()}-${process.pid}-abcdef`,
    `entrepot-catalog-${hostname()}-${process.ppid}-abcdef`,
    `entrepot-catalog-other.${hostname()}-${gone}-abcdef`,
  ] as const;
  for (const name of [left, sameNumber, running, elsewhere]) {
    await mkdir(join(tmpdir(), name, 'catalog'), { recursive: true });
    t.teardown(async () => rm(join(tmpdir(), name), { recursive: true, force: true }));
  }
  const blobs = new BlobStore({ path, durability: 'full' });
  blobs.isReadOnly = true;
  const log = pino({ level: 'silent' });
  const { root } = await openInPlace({ path, blobs, log }, async (at) => at);
  t.teardown(async () => rm(root, { recursive: true, force: true }));
  t.true(root.startsWith(join(tmpdir(), `entrepot-catalog-${hostname()}-${process.pid}-`)));
  const again = await openInPlace({ path, blobs, log }, async (at) => at);
  t.teardown(async () => rm(again.root, { recursive: true, force: true }));
  const names = await readdir(tmpdir());
  const stay = [left, sameNumber, running, elsewhere].map((name) => names.includes(name));
  t.deepEqual(stay, [false, false, true, true]);
  t.true(names.includes(basename(root)), 'what this process has open stays');
});

test('a disk that is full does not hinder a start without a list of what is in use: its pins stay', async (t) => {
  const storePath = await createTempFolder(t);
  const options = { storePath, upstreams: { 'hub.example': { url: 'http://127.0.0.1:1' } } };
  const pin = { origin: 'use:file', image: 'hub.example/team/app:v1', since: 0 };
  const first = await startMirror(t, options);
  await first.server.store.care.pins.replace(pin.origin, [pin]);
  await first.stop();
  // Until the end of this file's process.
  LevelCatalog.prototype.changePins = async () => {
    throw Object.assign(new Error('IO error: No space left on device'), { code: 'LEVEL_IO_ERROR' });
  };
  const second = await startMirror(t, options);
  await second.logged('the pins of an earlier list of images in use stay');
  t.deepEqual(second.server.store.care.pins.list(), [pin]);
});
