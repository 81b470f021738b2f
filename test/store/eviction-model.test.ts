import test, { type ExecutionContext } from 'ava';
import * as fc from 'fast-check';
import { parseDigest } from '../../src/oci/digest.ts';
import { formatTarget } from '../../src/oci/reference.ts';
import { parseManifest } from '../../src/oci/manifest.ts';
import {
  buildBlob,
  descriptorOf,
  fallbackTag,
  MEDIA_TYPES,
  storeJson,
  type Stored,
} from '../helpers/image.ts';
import { HeldModel, unitOf } from './held-model.ts';
import { knownKeys } from './known-keys.ts';
import { ImageStore, targetOf } from './image-store.ts';

const TARGETS = ['hub.example/app', 'hub.example/other', 'ghcr.io/app'].map(targetOf);
const LAYERS = [10, 200, 3000, 40_000].map((size, n) => buildBlob(`layer ${n}`, size));
const RUNS = 50;

/** Images of any choice of the layers, indexes of any choice of images, and what is about these. */
const IMAGES = [1, 3, 5, 15].map((bits) =>
  manifestOf(
    bits,
    LAYERS.filter((_, n) => (bits & (1 << n)) !== 0),
  ),
);
const INDEXES = [
  [0, 1],
  [1, 2],
].map((images, n) =>
  indexOf(
    n,
    images.map((position) => IMAGES[position]!),
  ),
);
const REFERRERS = [IMAGES[1]!, INDEXES[0]!].map((subject, n) =>
  manifestOf(`about ${n}`, [LAYERS[n]!], subject),
);
/** What each of `COSIGNED` is about. */
const SIGNED = [IMAGES[0]!, INDEXES[1]!];
const COSIGNED = SIGNED.map((_, n) => manifestOf(`signs ${n}`, [LAYERS[n]!]));
const ALL = [...IMAGES, ...INDEXES, ...REFERRERS, ...COSIGNED];

function manifestOf(name: string | number, layers: readonly Stored[], subject?: Stored): Stored {
  const { manifest: mediaType } = MEDIA_TYPES;
  const about = subject && { subject: descriptorOf(subject) };
  const config = descriptorOf(buildBlob(`config`, 100));
  const listed = layers.map(descriptorOf);
  const annotations = { name: String(name) };
  return storeJson(
    { schemaVersion: 2, mediaType, config, layers: listed, annotations, ...about },
    mediaType,
  );
}

function indexOf(name: number, images: readonly Stored[]): Stored {
  const { index: mediaType } = MEDIA_TYPES;
  const manifests = images.map(descriptorOf);
  return storeJson({ schemaVersion: 2, mediaType, manifests, annotations: { name } }, mediaType);
}

type Operation =
  | { readonly kind: 'keep'; readonly at: number; readonly what: number; readonly tag: number }
  | { readonly kind: 'pull' | 'pin' | 'unpin'; readonly at: number; readonly what: number }
  | { readonly kind: 'collect'; readonly bytes: number };

/** Mostly one repository, for things to meet. */
const at = fc.constantFrom(0, 0, 0, 0, 1, 2);
const what = fc.nat(ALL.length - 1);
const OPERATION: fc.Arbitrary<Operation> = fc.oneof(
  {
    weight: 10,
    arbitrary: fc.record({ kind: fc.constant('keep' as const), at, what, tag: fc.nat(5) }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('pull' as const), at, what }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('pin' as const), at, what }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('unpin' as const), at, what }) },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('collect' as const), bytes: fc.nat(50_000) }),
  },
);

/** The store and its model, side by side. */
class Pair {
  readonly store: ImageStore;
  readonly model = new HeldModel();

  constructor(store: ImageStore) {
    this.store = store;
  }

  async do(t: ExecutionContext, operation: Operation): Promise<void> {
    if (operation.kind === 'collect') return this.#collect(t, operation.bytes);
    const target = TARGETS[operation.at]!;
    const manifest = ALL[operation.what]!;
    const image = `${formatTarget(target)}@${manifest.digest}`;
    const unit = unitOf({ target: formatTarget(target), digest: manifest.digest });
    if (operation.kind === 'keep') {
      await this.#keep(operation);
    } else if (operation.kind === 'pull') {
      this.store.pull(manifest, target);
    } else if (operation.kind === 'pin') {
      await this.store.pin(image);
      this.model.pinned.add(unit);
    } else {
      await this.store.pins.remove({ origin: 'hand', image });
      this.model.pinned.delete(unit);
    }
  }

  async #keep({ at, what, tag }: Extract<Operation, { kind: 'keep' }>): Promise<void> {
    const target = TARGETS[at]!;
    const manifest = ALL[what]!;
    const signed = SIGNED[COSIGNED.indexOf(manifest)];
    const tags = signed ? [`${fallbackTag(signed.digest)}.sig`] : tag > 3 ? [`v${tag}`] : [];
    await this.store.keepManifest(manifest, { target, tags });
    const { successors, subject } = parseManifest(manifest.bytes, manifest.mediaType);
    this.model.keep({
      target: formatTarget(target),
      digest: manifest.digest,
      size: manifest.size,
      members: successors.map(({ digest }) => digest),
      ...(subject && { subject }),
      tags: new Set(tags),
    });
    for (const blob of [buildBlob('config', 100), ...LAYERS]) {
      if (!successors.some(({ digest }) => digest === blob.digest)) continue;
      await this.store.keepBlob(blob, target);
      this.model.files.add(blob.digest);
    }
  }

  async #collect(t: ExecutionContext, bytes: number): Promise<void> {
    const { store, model } = this;
    await this.#agreeOnLinks(t);
    const plan = await store.budget.plan(bytes);
    const times = new Map(await store.catalog.tables.access.iterator().all());
    const done = await store.budget.evict(bytes);
    t.deepEqual(done, plan);
    for (const { image, digest, lastPulledAt, bytes: freed } of done.images) {
      const before = new Set(model.files);
      const mayGo = [...model.manifests.keys()].filter(
        (unit) => model.isRoot(unit) && !model.isPinned(unit) && !model.isVain(unit),
      );
      const unit = unitOf({ target: image, digest });
      t.true(mayGo.includes(unit), `${unit} may not go`);
      t.is(lastPulledAt, Math.min(...mayGo.map((each) => times.get(each) ?? NaN)));
      model.release(unit);
      const gone = [...before].filter((each) => !model.files.has(each));
      t.is(
        freed,
        gone.reduce((sum, each) => sum + sizeOf(each), 0),
      );
    }
    await this.agree(t);
  }

  async agree(t: ExecutionContext): Promise<void> {
    const { store, model } = this;
    t.deepEqual(await store.held(), [...model.files].toSorted());
    t.deepEqual(await store.manifests(), [...model.manifests.keys()].toSorted());
    t.deepEqual(
      [...model.files].filter((digest) => !model.isListed(digest)),
      [],
    );
    await this.#agreeOnLinks(t);
  }

  /** What is in memory from here on must be what the database says, then and later. */
  async #agreeOnLinks(t: ExecutionContext): Promise<void> {
    const { catalog } = this.store;
    for (const target of TARGETS) {
      for (const digest of DIGESTS) {
        const place = `${digest} ${formatTarget(target)}`;
        t.is(await catalog.findLink(target, digest), await catalog.link(place), place);
      }
    }
  }
}

const DIGESTS = [...ALL, ...LAYERS, buildBlob('config', 100)].map(({ digest }) =>
  parseDigest(digest),
);

function sizeOf(digest: string): number {
  const found = [...ALL, ...LAYERS, buildBlob('config', 100)].find(
    (each) => each.digest === digest,
  );
  return found?.size ?? NaN;
}

test('whatever is kept, tagged, pulled, pinned and collected, the catalog, the files and a plain model agree', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.array(OPERATION, { maxLength: 60 }), async (operations) => {
      const pair = new Pair(await ImageStore.open(t));
      for (const operation of operations) await pair.do(t, operation);
      for (const pin of pair.store.pins.list()) await pair.store.pins.remove(pin);
      pair.model.pinned.clear();
      await pair.do(t, { kind: 'collect', bytes: Infinity });
      t.deepEqual(await pair.store.held(), []);
      t.deepEqual(await knownKeys(pair.store.catalog.tables), ['!meta!schema']);
      await pair.store.catalog.close();
    }),
    { numRuns: RUNS },
  );
});

test('all orders of eviction of a small graph agree with the model at each step, and end the same', async (t) => {
  const roots = [INDEXES[0]!, INDEXES[1]!, IMAGES[3]!].map((manifest) => ({ manifest, at: 0 }));
  const everything = [
    ...ALL.map((manifest) => ({ manifest, at: 0 })),
    { manifest: IMAGES[2]!, at: 2 },
  ];
  for (const order of permutations([...roots, { manifest: IMAGES[2]!, at: 2 }])) {
    const pair = new Pair(await ImageStore.open(t));
    const { store, model } = pair;
    for (const { manifest, at } of everything) {
      await pair.do(t, { kind: 'keep', at, what: ALL.indexOf(manifest), tag: 0 });
    }
    const held = await store.held();
    const freed: string[] = [];
    for (const { manifest, at } of order) {
      const target = formatTarget(TARGETS[at]!);
      const unit = unitOf({ target, digest: manifest.digest });
      const { blobs } = await store.catalog.evict(unit);
      for (const { digest } of blobs) await store.blobs.delete(digest);
      freed.push(...blobs.map(({ digest }) => digest));
      model.release(unit);
      await pair.agree(t);
    }
    t.deepEqual(freed.toSorted(), held);
    t.deepEqual(await knownKeys(store.catalog.tables), ['!meta!schema']);
    await store.catalog.close();
  }
});

function permutations<Item>(items: readonly Item[]): Item[][] {
  if (items.length === 0) return [[]];
  return items.flatMap((item, position) =>
    permutations(items.toSpliced(position, 1)).map((rest) => [item, ...rest]),
  );
}
