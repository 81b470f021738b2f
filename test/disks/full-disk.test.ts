import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Digest } from '../../src/oci/digest.ts';
import { get, open } from '../helpers/client.ts';
import { buildBlob, buildImage, type Stored } from '../helpers/image.ts';
import { startMirror } from '../helpers/mirror.ts';
import { holdImage } from '../faults/held-image.ts';
import { holdOnDisk, SmallDisk, testDisk } from './small-disk.ts';
import {
  cacheResults,
  storeState,
  TAKES_AGAIN,
  TAKES_NOTHING,
  timesLogged,
} from '../faults/store-report.ts';

const MIB = 1024 * 1024;

testDisk(
  'a full disk: everyone is served and the operator is told; with room again, it keeps again',
  async (t) => {
    const { registry, disk, mirror, image: held, blob, manifest } = await holdOnDisk(t, [100_000]);
    const cold = Array.from({ length: 3 }, (_, seed) =>
      registry.addBlob('library/app', buildBlob(`cold ${seed}`, 2 * MIB)),
    );
    const image = buildImage({ seed: 'cold', layers: [1000] });
    registry.addImage('library/app', 'cold', image);
    await disk.fill();

    const [one, many, ranged] = cold as [Stored, Stored, Stored];
    t.true((await blob(one)).body.equals(one.bytes));
    const twenty = await Promise.all(Array.from({ length: 20 }, () => blob(many)));
    t.true(twenty.every(({ body }) => body.equals(many.bytes)));
    const range = await blob(ranged, { range: 'bytes=1000-1999' });
    t.is(range.status, 206);
    t.true(range.body.equals(ranged.bytes.subarray(1000, 2000)));
    for (const reference of ['cold', image.manifest.digest]) {
      const { body, headers } = await manifest(reference);
      t.true(body.equals(image.manifest.bytes));
      t.is(headers['cache-status'], 'entrepot; fwd=bypass');
    }
    t.true((await manifest('v1')).body.equals(held.manifest.bytes));
    const layer = await blob(held.layer(0));
    t.true(layer.body.equals(held.layer(0).bytes));
    t.is(layer.headers['cache-status'], 'entrepot; hit');
    await mirror.idle();
    const { state, reason = '' } = await storeState(mirror);
    t.is(state, 'full');
    t.regex(reason, /no room for \d+ bytes|no space left/i);
    t.is(timesLogged(mirror, TAKES_NOTHING), 1);
    t.deepEqual(await cacheResults(mirror), {
      'manifest miss': 1,
      'manifest revalidated': 1,
      'manifest bypass': 2,
      'blob miss': 2,
      'blob hit': 1,
      'blob bypass': 22,
    });

    await disk.empty();
    for (const each of cold) {
      const { body, headers } = await blob(each);
      t.true(body.equals(each.bytes));
      t.is(headers['cache-status'], 'entrepot; fwd=miss; stored');
      await mirror.idle();
      t.is((await blob(each)).headers['cache-status'], 'entrepot; hit');
    }
    t.deepEqual(await storeState(mirror), { state: 'ok' });
    t.is(timesLogged(mirror, TAKES_AGAIN), 1);
  },
);

testDisk(
  'a disk that is full during writes of the catalog: LevelDB takes them again later',
  async (t) => {
    const { registry, disk, mirror, image: held, blob, manifest } = await holdOnDisk(t, [100_000]);
    const later = registry.addBlob('library/app', buildBlob('later', MIB));
    await disk.fill();
    // Each one writes when the tag was last confirmed; in all more than the rest of a page.
    const failed = (): number => timesLogged(mirror, 'the catalog could not be written');
    for (let round = 0; failed() === 0 && round < 200; round += 1) {
      const { body, headers } = await manifest('v1');
      t.true(body.equals(held.manifest.bytes));
      t.is(headers['cache-status'], 'entrepot; hit; detail=revalidated');
    }
    t.is(failed(), 1);
    // LevelDB takes nothing now, and what is held is served.
    t.is((await blob(held.layer(0))).headers['cache-status'], 'entrepot; hit');
    t.true((await manifest('v1')).body.equals(held.manifest.bytes));
    t.is(failed(), 2);

    await disk.empty();
    t.true((await manifest('v1')).body.equals(held.manifest.bytes));
    t.is(failed(), 2);
    await blob(later);
    await mirror.idle();
    t.is((await blob(later)).headers['cache-status'], 'entrepot; hit');
    t.is((await mirror.server.catalog.findBlob(later.digest as Digest))?.size, MIB);
    t.deepEqual(await storeState(mirror), { state: 'ok' });
    await mirror.stop();

    const upstreams = { 'docker.io': { url: registry.url } };
    const next = await startMirror(t, { upstreams, storePath: disk.path, offline: true });
    const offline = `${next.url}/v2/library/app`;
    t.true((await get(`${offline}/blobs/${later.digest}`)).body.equals(later.bytes));
    t.true((await get(`${offline}/manifests/v1`)).body.equals(held.manifest.bytes));
  },
);

testDisk(
  'a disk that fills while a blob comes over several connections: all who follow it get the rest',
  async (t) => {
    const disk = await SmallDisk.mount(t, 24 * MIB);
    const { registry, mirror, blob } = await holdImage(t, {
      layers: [100_000],
      storePath: disk.path,
      segments: 3,
      timing: { dividedBytes: MIB, turnMs: 60_000 },
    });
    const divided = buildImage({ seed: 'divided', layers: [6 * MIB] });
    registry.addImage('library/app', 'divided', divided);
    await get(`${mirror.url}/v2/library/app/manifests/divided`);
    const layer = divided.layer(0);
    const gates = Array.from({ length: 3 }, () => registry.hold(layer, { after: MIB / 2 }));
    const url = `${mirror.url}/v2/library/app/blobs/${layer.digest}`;
    const clients = await Promise.all(Array.from({ length: 5 }, async () => open(url)));
    await Promise.all(gates.map(async (gate) => gate.arrived()));
    const heads = await Promise.all(clients.map(async (client) => client.read(MIB / 4)));
    await disk.fill();
    for (const gate of gates) gate.open();
    for (const [index, client] of clients.entries()) {
      const body = Buffer.concat([heads[index] ?? Buffer.alloc(0), await client.rest()]);
      t.true(body.equals(layer.bytes));
    }
    await mirror.idle();
    t.deepEqual(await readdir(join(disk.path, 'ingest')), []);
    t.is((await storeState(mirror)).state, 'full');
    t.is(timesLogged(mirror, TAKES_NOTHING), 1);

    await disk.empty();
    t.is((await blob(layer)).headers['cache-status'], 'entrepot; fwd=miss; stored');
    await mirror.idle();
    t.is((await blob(layer)).headers['cache-status'], 'entrepot; hit');
    t.deepEqual(await storeState(mirror), { state: 'ok' });
  },
);

testDisk('a disk that fills in the middle of a blob: all who follow it get the rest', async (t) => {
  const { registry, disk, mirror, blob } = await holdOnDisk(t, [100_000]);
  const middle = registry.addBlob('library/app', buildBlob('middle', 6 * MIB), { name: 'middle' });
  const gate = registry.hold(middle, { after: 2 * MIB });
  const clients = await Promise.all(
    Array.from({ length: 5 }, () => open(`${mirror.url}/v2/library/app/blobs/${middle.digest}`)),
  );
  const heads = await Promise.all(clients.map((client) => client.read(MIB)));
  await disk.fill();
  gate.open();
  for (const [index, client] of clients.entries()) {
    const body = Buffer.concat([heads[index] ?? Buffer.alloc(0), await client.rest()]);
    t.true(body.equals(middle.bytes));
  }
  await mirror.idle();
  // What had come takes no room from what may still be kept.
  t.deepEqual(await readdir(join(disk.path, 'ingest')), []);
  const { state, reason = '' } = await storeState(mirror);
  t.is(state, 'full');
  // Of the write, or of the eviction that is to make room for it, whichever comes first.
  t.regex(reason, /no space left on device/i);
  t.is(timesLogged(mirror, TAKES_NOTHING), 1);
  t.is((await cacheResults(mirror))['blob bypass'], 5);

  await disk.empty();
  t.is((await blob(middle)).headers['cache-status'], 'entrepot; fwd=miss; stored');
  await mirror.idle();
  t.is((await blob(middle)).headers['cache-status'], 'entrepot; hit');
  t.deepEqual(await storeState(mirror), { state: 'ok' });
});
