import { chmod, writeFile } from 'node:fs/promises';
import { Agent } from 'node:http';
import test from 'ava';
import { get, TruncatedError } from '../helpers/client.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildBlob, buildImage, type Stored } from '../helpers/image.ts';
import { blobPath, createTempFolder } from '../helpers/mirror.ts';
import { MirrorProcess } from '../helpers/process.ts';
import { flip } from '../faults/injury.ts';
import { holdOnDisk, testDisk } from './small-disk.ts';
import {
  cacheResults,
  storeState,
  TAKES_AGAIN,
  TAKES_NOTHING,
  timesLogged,
} from '../faults/store-report.ts';

testDisk(
  'a store that turns read-only: everyone is served; writable again, it keeps again',
  async (t) => {
    const layers = [100_000, 50_000];
    const { registry, disk, mirror, image: held, blob, manifest } = await holdOnDisk(t, layers);
    const cold = buildImage({ seed: 'cold', layers: [200_000, 300_000] });
    registry.addImage('library/app', 'cold', cold);
    const rotten = held.layer(1);
    const path = blobPath(disk.path, rotten.digest);
    await chmod(path, 0o600);
    await writeFile(path, flip(rotten.bytes));
    await disk.setReadOnly();

    const [one, many] = [cold.layer(0), cold.layer(1)];
    const single = await blob(one);
    t.true(single.body.equals(one.bytes));
    t.is(single.headers['cache-status'], 'entrepot; fwd=bypass');
    const twenty = await Promise.all(Array.from({ length: 20 }, () => blob(many)));
    t.true(twenty.every(({ body }) => body.equals(many.bytes)));
    const range = await blob(one, { range: 'bytes=-1000' });
    t.true(range.body.equals(one.bytes.subarray(-1000)));
    for (const reference of ['cold', cold.manifest.digest]) {
      const { body } = await manifest(reference);
      t.true(body.equals(cold.manifest.bytes));
    }
    t.true((await manifest('v1')).body.equals(held.manifest.bytes));
    t.true((await blob(held.layer(0))).body.equals(held.layer(0).bytes));
    // It cannot be put away, and is not served again all the same.
    await t.throwsAsync(blob(rotten), { instanceOf: TruncatedError });
    t.true((await blob(rotten)).body.equals(rotten.bytes));
    await mirror.idle();
    const { state, reason = '' } = await storeState(mirror);
    t.is(state, 'failing');
    t.regex(reason, /^EROFS: read-only file system/);
    t.is(timesLogged(mirror, TAKES_NOTHING), 1);
    t.deepEqual(await cacheResults(mirror), {
      'manifest miss': 1,
      'manifest revalidated': 1,
      'manifest bypass': 2,
      'blob miss': 3,
      'blob hit': 2,
      'blob bypass': 23,
    });

    await disk.setWritable();
    for (const each of [one, many, rotten]) {
      const { body, headers } = await blob(each);
      t.true(body.equals(each.bytes));
      t.is(headers['cache-status'], 'entrepot; fwd=miss; stored');
      await mirror.idle();
      t.is((await blob(each)).headers['cache-status'], 'entrepot; hit');
    }
    t.is((await manifest('cold')).headers['cache-status'], 'entrepot; fwd=miss; stored');
    t.deepEqual(await storeState(mirror), { state: 'ok' });
    t.is(timesLogged(mirror, TAKES_AGAIN), 1);
  },
);

test('too few file descriptors: right bytes, a true refusal or none, and well again afterwards', async (t) => {
  const registry = await FakeRegistry.start(t);
  const blobs = Array.from({ length: 40 }, (_, seed) =>
    registry.addBlob('library/app', buildBlob(`fd ${seed}`, 200_000)),
  );
  const [warm, cold] = [blobs.slice(0, 20), blobs.slice(20)];
  const folder = await createTempFolder(t);
  const upstreams = { 'docker.io': { url: registry.url } };
  const mirror = await MirrorProcess.start(t, folder, { upstreams });
  const url = ({ digest }: Stored): string => `${mirror.url}/v2/library/app/blobs/${digest}`;
  await Promise.all(warm.map((blob) => get(url(blob))));
  await mirror.limitFiles(40);
  const answers = await Promise.all(
    [...blobs, ...blobs, ...blobs].map((blob) => outcome(url(blob), blob)),
  );
  t.log(
    Object.fromEntries(
      Map.groupBy(answers, String)
        .entries()
        .map(([k, v]) => [k, v.length]),
    ),
  );
  t.deepEqual(
    answers.filter((answer) => !['right', 'refused', 'cut', '502'].includes(answer)),
    [],
  );
  await mirror.limitFiles(1024);
  for (const blob of [...warm, ...cold]) t.is(await outcome(url(blob), blob), 'right');
  for (const blob of blobs) {
    t.is((await get(url(blob))).headers['cache-status'], 'entrepot; hit');
  }
  t.is(await mirror.end('SIGTERM'), 0);
});

test('a mirror without a descriptor left for a connection does not take its upstream for down', async (t) => {
  const registry = await FakeRegistry.start(t);
  const [held, ...cold] = Array.from({ length: 6 }, (_, seed) =>
    registry.addBlob('library/app', buildBlob(`dial ${seed}`, 1_000)),
  );
  const folder = await createTempFolder(t);
  const upstreams = { 'docker.io': { url: registry.url } };
  const mirror = await MirrorProcess.start(t, folder, { upstreams });
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  t.teardown(() => agent.destroy());
  const status = async ({ digest }: Stored): Promise<number> =>
    (await get(`${mirror.url}/v2/library/app/blobs/${digest}`, { agent })).status;
  t.is(await status(held!), 200);
  // Its connections go; ours stays.
  await registry.refuse();
  await registry.accept();
  await mirror.limitFiles(1);
  const refused: number[] = [];
  for (const blob of cold) refused.push(await status(blob));
  t.deepEqual(refused, [502, 502, 502, 502, 502]);
  await mirror.limitFiles(1024);
  const answered: number[] = [];
  for (const blob of cold) answered.push(await status(blob));
  t.deepEqual(answered, [200, 200, 200, 200, 200]);
  t.is(await mirror.end('SIGTERM'), 0);
});

async function outcome(url: string, { bytes }: Stored): Promise<string> {
  try {
    const { status, body } = await get(url);
    if (status !== 200) return String(status);
    return body.equals(bytes) ? 'right' : 'wrong';
  } catch (error) {
    return error instanceof TruncatedError ? 'cut' : 'refused';
  }
}
