import { createHash } from 'node:crypto';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseDigest, type Digest } from '../../src/oci/digest.ts';
import { parseTag, splitTarget } from '../../src/oci/reference.ts';
import { LevelCatalog } from '../../src/store/catalog/level-catalog.ts';
import { CatalogStore, UPSTREAM, type FilledImage } from './catalog-store.ts';
import { quiet } from './quiet.ts';
import { median } from './rounds.ts';
import { judge, type Row } from './row.ts';
import type { Workbench } from './workbench.ts';

const BLOBS = 100_000;
const WRITTEN = 100_000;
/** At a time: a site that syncs, or a few large pulls. */
const WRITERS = 32;
/** Between two hits: others have the loop, and the hits last as long as the writing. */
const PAUSE_MS = 5;
const ROUNDS = 2;

/** Milliseconds, sorted. */
type Times = readonly number[];

/** What a pull waits for the catalog, tag and manifest and place of its bytes, while records are written. */
export async function measureCatalogWrites(bench: Workbench): Promise<Row[]> {
  const rounds: { resting: Times; writing: Times; seconds: number }[] = [];
  while (rounds.length < (bench.options.rounds ?? ROUNDS)) rounds.push(await measureRound(bench));
  const at = (times: Times, share: number): number => times[Math.floor(times.length * share)]!;
  return [0.99, 0.999].map((share) =>
    judge({
      work: `${BLOBS} blobs: what a cold hit waits for the catalog while ${WRITTEN} records are written, p${share * 100}`,
      unit: 'ms',
      entrepot: rounds.map(({ writing }) => at(writing, share)),
      peer: { name: 'at rest', values: rounds.map(({ resting }) => at(resting, share)) },
      note:
        `p50 ${median(rounds.map(({ writing }) => at(writing, 0.5))).toFixed(2)} ms, ` +
        `at rest ${median(rounds.map(({ resting }) => at(resting, 0.5))).toFixed(2)} ms; ` +
        `written in ${median(rounds.map(({ seconds }) => seconds)).toFixed(1)} s`,
    }),
  );
}

async function measureRound(bench: Workbench) {
  const path = bench.newPath('store');
  using scope = new DisposableStack();
  scope.defer(() => rmSync(path, { recursive: true, force: true }));
  const { images } = await CatalogStore.fill(path, BLOBS);
  await quiet();
  const catalog = await LevelCatalog.open(join(path, 'catalog'), { durability: 'rename' });
  try {
    await catalog.counted;
    const [some, others] = [images.slice(0, images.length / 2), images.slice(images.length / 2)];
    const resting = await ask(catalog, some);
    const begun = performance.now();
    let isOver = false;
    const writing = write(catalog).then(() => (isOver = true));
    const times = await ask(catalog, others, () => isOver);
    await writing;
    const seconds = (performance.now() - begun) / 1000;
    bench.progress(`catalog: ${WRITTEN} records in ${seconds.toFixed(1)} s, ${times.length} hits`);
    return { resting, writing: times, seconds };
  } finally {
    await catalog.close();
  }
}

/** Each image once, one after the other, until there are no more of them. */
async function ask(
  catalog: LevelCatalog,
  images: readonly FilledImage[],
  isOver = (): boolean => false,
): Promise<Times> {
  const times: number[] = [];
  for (const { repository, tag } of images) {
    if (isOver()) break;
    const target = splitTarget(`${UPSTREAM}/${repository}`);
    const begun = performance.now();
    const record = await catalog.findTag(target, parseTag(tag));
    const digest = record!.digest;
    const manifest = await catalog.findManifest(target, digest);
    const blob = await catalog.findBlob(digest);
    times.push(performance.now() - begun);
    if (!manifest || !blob) throw new Error(`${repository}:${tag} is not there`);
    await sleep(PAUSE_MS);
  }
  return times.toSorted((a, b) => a - b);
}

async function write(catalog: LevelCatalog): Promise<void> {
  const target = splitTarget(`${UPSTREAM}/bench/written`);
  let next = 0;
  const writer = async (): Promise<void> => {
    for (let number = next++; number < WRITTEN; number = next++) {
      await catalog.recordBlob(target, digestOf(number), { size: 64, storedAt: Date.now() });
    }
  };
  await Promise.all(Array.from({ length: WRITERS }, writer));
}

function digestOf(number: number): Digest {
  return parseDigest(`sha256:${createHash('sha256').update(`written ${number}`).digest('hex')}`);
}
