/** Long work in the store gives the event loop back after so long, not after so many steps. */
import test, { type ExecutionContext } from 'ava';
import { digestOf } from '../../src/oci/digest.ts';
import { Reconciler } from '../../src/store/care/reconciler.ts';
import { Slices } from '../../src/time/slices.ts';
import { Clock } from '../helpers/clock.ts';
import { buildImage, type Image } from '../helpers/image.ts';
import { ImageStore } from './image-store.ts';

/** Slices of a clock that only a test moves, and how often they gave the event loop back. */
function sliced(): { slices: Slices; clock: Clock; turns: () => number } {
  const clock = new Clock();
  let turns = 0;
  const turn = async (): Promise<void> => {
    turns += 1;
    // Others take what they need.
    clock.advance(100);
  };
  return { slices: new Slices({ clock, turn }), clock, turns: () => turns };
}

async function fill(t: ExecutionContext, count: number): Promise<ImageStore> {
  const store = await ImageStore.open(t);
  const make = (seed: number): Image => buildImage({ seed: `${seed}`, layers: [100] });
  for (let seed = 0; seed < count; seed += 1) await store.keep(make(seed));
  return store;
}

for (const [each, turns] of [
  [0, 0],
  [1, 2],
  [2, 3],
  [5, 11],
  [60, 11],
] as const) {
  test(`of 12 images that take ${each} ms each, an eviction gives the event loop back ${turns} times`, async (t) => {
    const store = await fill(t, 12);
    const { slices, clock, turns: counted } = sliced();
    const evicted: string[] = [];
    const budget = store.limit(2 ** 40, {
      slices,
      evicted: ({ digest }) => {
        evicted.push(digest);
        clock.advance(each);
      },
    });
    await budget.evict(store.catalog.usage.bytes);
    t.is(evicted.length, 12);
    t.is(counted(), turns);
  });

  test(`of 12 files that take ${each} ms each, a comparison gives it back ${turns} times`, async (t) => {
    const { path: _, blobs, catalog } = await ImageStore.open(t);
    for (let number = 0; number < 12; number += 1) {
      const bytes = Buffer.from(`${number}`);
      await blobs.writeBytes(digestOf(bytes), bytes);
    }
    const { slices, clock, turns: counted } = sliced();
    const adopt = catalog.adoptBlob.bind(catalog);
    catalog.adoptBlob = async (...record) => {
      clock.advance(each);
      return adopt(...record);
    };
    const settle = async (): Promise<void> => undefined;
    const reconciler = new Reconciler({ blobs, catalog, now: clock.now, settle, slices });
    t.is((await reconciler.run()).adopted, 12);
    t.is(counted(), turns);
  });
}

test('a look at what might be evicted is as patient, though it writes nothing', async (t) => {
  const store = await fill(t, 12);
  const { slices, clock, turns } = sliced();
  const { catalog } = store;
  const lastPull = catalog.lastPull.bind(catalog);
  catalog.lastPull = async (unit) => {
    clock.advance(5);
    return lastPull(unit);
  };
  const { images } = await store.limit(2 ** 40, { slices }).plan(catalog.usage.bytes);
  t.is(images.length, 12);
  t.is(turns(), 11);
});

test('the event loop has its turn before the next slice', async (t) => {
  const clock = new Clock();
  const slices = new Slices({ clock });
  const order: string[] = [];
  setImmediate(() => order.push('others'));
  await slices.step();
  order.push('within the slice');
  clock.advance(5);
  await slices.step();
  order.push('the next one');
  t.deepEqual(order, ['within the slice', 'others', 'the next one']);
});
