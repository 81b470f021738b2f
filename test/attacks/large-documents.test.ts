/** Large documents that are in memory at once, of an upstream and for clients, have their limits. */
import { mock } from 'node:test';
import test, { type ExecutionContext } from 'ava';
import { get, open } from '../helpers/client.ts';
import { MEDIA_TYPES, storeJson } from '../helpers/image.ts';
import { REPOSITORY, startScene } from '../helpers/scene.ts';
import { until } from '../helpers/until.ts';

const MIB = 1024 * 1024;

/** Manifests of 4 MiB that the store does not take, by their digests. */
async function startSite(t: ExecutionContext) {
  const scene = await startScene(t);
  const { registry, mirror } = scene;
  mirror.server.blobs.writeBytes = async () => {
    throw Object.assign(new Error('ENOSPC: no space left, write'), { code: 'ENOSPC' });
  };
  const add = (name: string, size: number): string => {
    const padding = 'x'.repeat(size);
    const document = {
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.index,
      manifests: [],
      annotations: { name, padding },
    };
    const stored = storeJson(document, MEDIA_TYPES.index);
    registry.addManifest(REPOSITORY, stored, { name });
    return `${mirror.url}/v2/${REPOSITORY}/manifests/${stored.digest}`;
  };
  return { ...scene, add };
}

test('what the store did not take is 64 MiB at once for clients that do not read; the next is told to come again', async (t) => {
  const { add } = await startSite(t);
  const url = add('large', 4 * MIB - 1000);
  // A little less than 4 MiB each.
  const readers = [];
  for (let count = 0; count < 16; count += 1) readers.push(await open(url));
  t.deepEqual(new Set(readers.map(({ status }) => status)), new Set([200]));
  const refused = await get(url);
  t.is(refused.status, 503);
  t.is(refused.headers['retry-after'], '5');
  t.is((await get(add('small', 100))).status, 200);
  const [first, ...others] = readers;
  t.true((await first!.rest()).length > 3 * MIB);
  // Its client has the last byte a moment before its place is free.
  await until('a place is free', async () => (await get(url)).status === 200);
  for (const reader of others) reader.destroy();
});

test.serial('a client that does not read it is cut off after half a minute', async (t) => {
  const { mirror, add } = await startSite(t);
  const url = add('large', 4 * MIB - 1000);
  // It is asked once before: what it takes to fetch it has timers of its own.
  t.is((await get(url)).status, 200);
  mock.timers.enable({ apis: ['setTimeout'] });
  t.teardown(() => mock.timers.reset());
  const reader = await open(url);
  mock.timers.tick(29_999);
  t.is(mirror.log.filter(({ msg }) => msg === 'request').length, 1);
  mock.timers.tick(1);
  mock.timers.reset();
  await t.throwsAsync(reader.rest());
  await mirror.logged('request', 2);
});

test('large manifests that do not come to their end keep the other large ones and pages of lists waiting, and nothing small', async (t) => {
  const { registry, mirror, add } = await startSite(t);
  const urls = ['a', 'b', 'c', 'd'].map((name) => add(name, 200_000));
  const gates = urls.map((url) => registry.hold(digestIn(url), { after: 100_000 }));
  const held = urls.map(async (url) => get(url));
  await Promise.all(gates.map(async (gate) => gate.arrived()));
  for (let n = 0; n < 1000; n += 1)
    registry.tag(REPOSITORY, `v${'0'.repeat(100)}${n}`, digestIn(urls[0]!));
  let isListed = false;
  const listing = get(`${mirror.url}/v2/${REPOSITORY}/tags/list`).then((answer) => {
    isListed = true;
    return answer;
  });
  await registry.seen(/tags\/list/);
  // Small ones, one after the other: the list has had its time.
  for (const name of ['one', 'two', 'three']) t.is((await get(add(name, 100))).status, 200);
  t.false(isListed);
  for (const gate of gates) gate.open();
  t.is((await listing).status, 200);
  for (const answer of await Promise.all(held)) t.is(answer.status, 200);
});

function digestIn(url: string): string {
  return url.slice(url.lastIndexOf('/') + 1);
}
