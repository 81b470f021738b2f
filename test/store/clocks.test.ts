/** A clock that is set back or ahead, or that starts in 1970, keeps, forgets and evicts nothing that it should not. */
import { readdir, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { digestOf, parseDigest } from '../../src/oci/digest.ts';
import { Reconciler, type Reconciliation } from '../../src/store/care/reconciler.ts';
import { HOUR } from '../helpers/clock.ts';
import { buildImage, type Image } from '../helpers/image.ts';
import { APP, ImageStore, told } from './image-store.ts';

const DAY = 24 * HOUR;
const YEAR = 365 * DAY;

function make(store: ImageStore, name: string): Image {
  const image = buildImage({ seed: name, layers: [1000] });
  store.name(image, name);
  return image;
}

for (const [what, step] of [
  ['set back by three days', 3 * DAY],
  ['set back by ten years', 10 * YEAR],
  ['that starts in 1970', 60 * YEAR],
] as const) {
  test(`with a clock ${what} images still go in the order of their last pulls`, async (t) => {
    const store = await ImageStore.open(t);
    const [first, second, third, fourth] = ['first', 'second', 'third', 'fourth'].map((name) =>
      make(store, name),
    ) as [Image, Image, Image, Image];
    for (const image of [first, second, third]) await store.keep(image);
    store.clock.setBack(step);
    store.pull(first.manifest);
    await store.access.flush();
    await store.keep(fourth);
    store.pull(second.layer(0));
    t.deepEqual(told(store, await store.budget.evict(Infinity)).went, [
      'third',
      'first',
      'fourth',
      'second',
    ]);
  });
}

test('what was pulled while the clock ran ahead is not youngest for ever, also after a restart', async (t) => {
  const store = await ImageStore.open(t);
  const [ahead, later] = ['ahead', 'later'].map((name) => make(store, name)) as [Image, Image];
  store.clock.advance(10 * YEAR);
  await store.keep(ahead);
  store.clock.setBack(10 * YEAR);
  const again = await store.reopen(t);
  await again.keep(later);
  t.deepEqual(told(again, await again.budget.evict(Infinity)).went, ['ahead', 'later']);
});

test('what sync brought while the clock was set back is not taken for pulled, nor for oldest', async (t) => {
  const store = await ImageStore.open(t);
  const [held, synced] = ['held', 'synced'].map((name) => make(store, name)) as [Image, Image];
  await store.keep(held);
  store.clock.setBack(3 * DAY);
  await store.keep(synced, { isPulled: false });
  const node = { target: APP, digest: parseDigest(synced.manifest.digest) };
  t.false(await store.catalog.wasPulled(node));
  store.pull(synced.manifest);
  await store.access.flush();
  t.true(await store.catalog.wasPulled(node));
  t.deepEqual(told(store, await store.budget.plan(1)).went, ['held']);
});

for (const [folder, kept, removed] of [
  ['ingest', { partialsKept: 1 }, { partialsRemoved: 1 }],
  ['quarantine', { quarantineKept: 1 }, { quarantineRemoved: 1 }],
] as const) {
  test(`a file in ${folder} that a clock stamped ten years ahead goes after a week all the same`, async (t) => {
    const store = await ImageStore.open(t);
    const path = join(store.path, folder, `sha256-${digestOf(Buffer.from('part')).slice(7)}`);
    await writeFile(path, 'part');
    // The change time is the machine's; all times of this test are before it, or after it.
    const start = Date.now() - 10 * YEAR;
    await utimes(path, (start + 10 * YEAR) / 1000, (start + 10 * YEAR) / 1000);
    const run = async (now: number): Promise<Reconciliation> =>
      new Reconciler({
        blobs: store.blobs,
        catalog: store.catalog,
        now: () => now,
        settle: async () => undefined,
      }).run();
    t.like(await run(start), kept);
    if (folder === 'ingest') t.like(await run(start + 6.9 * DAY), kept);
    const end = folder === 'ingest' ? start : Date.now();
    t.like(await run(end + 7.1 * DAY), removed);
    t.deepEqual(await readdir(join(store.path, folder)), []);
  });
}
