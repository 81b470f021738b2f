import PQueue from 'p-queue';
import type { WarmedImage, WarmProgress, WarmReport, WarmWish } from '../src/api/warm-api.ts';
import type { ResolvedImage } from '../src/mirror/addressing.ts';
import type { Digest } from '../src/oci/digest.ts';
import { formatImageName, formatTarget } from '../src/oci/reference.ts';
import { examine, Searches } from './examination.ts';
import { fetchImage } from './image-fetch.ts';
import { describeWithheld, findImageFiles } from './image-files.ts';
import { judgeWanted } from './image-refusal.ts';
import type { SyncParts } from './parts.ts';
import { errorMessage } from './resolver.ts';
import { PASSING_ANSWERS, PASSING_FAULTS, Retries } from './retries.ts';
import { RunProgress } from './run-progress.ts';
import { TEXTS } from './texts.ts';

export type WarmParts = Pick<
  SyncParts,
  'prefetcher' | 'catalog' | 'blobs' | 'refusal' | 'isJudged' | 'timer' | 'log'
>;

/** What became of one image so far. */
interface Outcome {
  digest?: Digest | undefined;
  /** It came to its end before the deadline. */
  isOver?: boolean;
  isReady?: boolean;
  failure?: unknown;
}

/** Images of one upstream at a time, and files of one image, as many as Docker fetches. */
const IMAGES_AT_A_TIME = 4;
const FILES_AT_A_TIME = 3;

/**
 * Fetches whole images once, until its deadline: manifest, wanted platforms, configs, layers and what
 * is attached. A tag moves when all of its image is here. At the deadline nothing more is begun; a file
 * that is on its way goes on as one that its client has left. It pins nothing.
 */
export class Warm {
  readonly #parts: WarmParts;
  readonly #wish: Omit<WarmWish, 'images'>;
  readonly #outcomes: ReadonlyMap<ResolvedImage, Outcome>;
  /** On the steady clock. */
  readonly #until: number;
  readonly #abort = new AbortController();
  readonly #stopped = Promise.withResolvers<void>();
  readonly #late = new Error(TEXTS.late);
  readonly #progress: RunProgress;
  readonly #searches: Searches;
  /** Work that may go on behind the report. */
  readonly #works: Promise<void>[] = [];
  /** Never rejects. */
  readonly ended: Promise<WarmReport>;

  constructor(parts: WarmParts, images: readonly ResolvedImage[], wish: Omit<WarmWish, 'images'>) {
    const { timer } = parts;
    this.#parts = parts;
    this.#wish = wish;
    this.#searches = new Searches(parts);
    this.#outcomes = new Map(images.map((image) => [image, {}]));
    this.#until = timer.steady() + wish.deadlineMs;
    this.#progress = new RunProgress(timer);
    this.#abort.signal.addEventListener('abort', () => this.#stopped.resolve(), { once: true });
    this.ended = this.#run();
  }

  get progress(): WarmProgress {
    const { phase: _, images, ...progress } = this.#progress.describe('fetching');
    const deadlineAt = progress.startedAt + this.#wish.deadlineMs;
    return { ...progress, deadlineAt, images: { ...images, total: this.#outcomes.size } };
  }

  /** Ends it before its time. */
  stop(reason: string): void {
    this.#abort.abort(new Error(reason));
  }

  /** Resolves when nothing of it is under way any more. */
  async settled(): Promise<void> {
    await this.ended;
    await Promise.all(this.#works);
  }

  async #run(): Promise<WarmReport> {
    const { timer, log } = this.#parts;
    const over = new AbortController();
    timer.wait(this.#wish.deadlineMs, over.signal).then(
      () => this.#abort.abort(this.#late),
      () => undefined,
    );
    const lanes = Map.groupBy(this.#outcomes.keys(), ({ target }) => target.upstream);
    await Promise.all([...lanes.values()].map(async (images) => this.#bringAll(images)));
    over.abort();
    const images: WarmedImage[] = [];
    for (const image of this.#outcomes.keys()) images.push(await this.#describe(image));
    const isOk = images.every(({ state }) => state === 'ready');
    const counts = Object.entries(Object.groupBy(images, ({ state }) => state));
    const told = Object.fromEntries(counts.map(([state, { length }]) => [state, length]));
    log.info({ ...told, bytes: this.#progress.fetchedBytes }, 'images warmed');
    const { startedAt } = this.#progress;
    return { startedAt, endedAt: timer.wall(), isOk, images };
  }

  /** Those of one upstream, so that a slow one takes the places of no other. */
  async #bringAll(images: readonly ResolvedImage[]): Promise<void> {
    const retries = { ...this.#parts, signal: this.#abort.signal, until: this.#until };
    const asking = new Retries({ ...retries, faults: PASSING_ANSWERS });
    const fetching = new Retries({ ...retries, faults: PASSING_FAULTS });
    const queue = new PQueue({ concurrency: IMAGES_AT_A_TIME });
    await queue.addAll(
      images.map((image) => async () => {
        if (this.#abort.signal.aborted) return;
        const work = this.#bring(image, { asking, fetching });
        this.#works.push(work);
        await Promise.race([work, this.#stopped.promise]);
      }),
    );
  }

  /** Never rejects. */
  async #bring(image: ResolvedImage, by: { asking: Retries; fetching: Retries }): Promise<void> {
    const { signal } = this.#abort;
    const outcome = this.#outcomes.get(image) ?? {};
    const trying = async <Value>(retries: Retries, work: () => Promise<Value>): Promise<Value> =>
      retries.run(async () => {
        try {
          return await work();
        } catch (error) {
          if (!signal.aborted) outcome.failure = error;
          throw error;
        }
      });
    try {
      outcome.digest = await trying(by.asking, async () => this.#resolve(image));
      await this.#fetch({ ...image, digest: outcome.digest }, by, trying);
      outcome.isReady = true;
    } catch (error) {
      if (!signal.aborted) outcome.failure = error;
    }
    outcome.isOver = outcome.isReady === true || !signal.aborted;
    if (outcome.isOver) this.#progress.ended(outcome.isReady === true);
  }

  async #resolve({ target, tag, digest }: ResolvedImage): Promise<Digest> {
    const meant = digest ?? (tag && (await this.#parts.prefetcher.resolve(target, tag)));
    if (!meant) throw new Error(TEXTS.noTag);
    return meant;
  }

  async #fetch(
    { target, tag, digest }: ResolvedImage & { readonly digest: Digest },
    by: { asking: Retries; fetching: Retries },
    trying: <Value>(retries: Retries, work: () => Promise<Value>) => Promise<Value>,
  ): Promise<void> {
    const { timer } = this.#parts;
    const { signal } = this.#abort;
    const { platforms } = this.#wish;
    const wanted = { target, digest, platforms, referrers: true, ...(tag && { tag }) };
    const checkedAt = timer.wall();
    const examined = await trying(by.asking, async () =>
      examine({ ...this.#parts, signal }, wanted, this.#searches),
    );
    this.#progress.expect([examined]);
    const parts = {
      ...this.#parts,
      signal,
      filesAtATime: FILES_AT_A_TIME,
      opened: async () => signal.throwIfAborted(),
      demand: { signal, came: (bytes: number) => this.#progress.fetched(bytes) },
    };
    const item = { ...examined, wanted: { ...wanted, checkedAt } };
    await trying(by.fetching, async () => fetchImage(parts, item));
    if (examined.files.withheld.length > 0) {
      throw new Error(describeWithheld(examined.files.withheld));
    }
    const refused = await judgeWanted(parts, wanted);
    if (refused !== undefined) throw new Error(refused);
  }

  async #describe(image: ResolvedImage): Promise<WarmedImage> {
    const { digest, isOver, isReady, failure } = this.#outcomes.get(image) ?? {};
    const node = digest && { target: image.target, digest };
    const wants = { platforms: this.#wish.platforms, referrers: true };
    // What the catalog cannot say now is left out of the report, which has a line for each image.
    const files = node && findImageFiles(this.#parts, node, wants).catch(() => undefined);
    const { bytes = 0, missingBytes = 0 } = (await files) ?? {};
    const about = {
      image: formatImageName({
        name: formatTarget(image.target),
        ...(image.digest ? { digest: image.digest } : image.tag && { tag: image.tag }),
      }),
      ...(digest && { digest }),
    };
    if (isReady) return { ...about, state: 'ready', bytes, missingBytes };
    const { reason } = this.#abort.signal as { reason?: unknown };
    const state = !isOver && reason === this.#late ? 'late' : 'failed';
    const causes = [...(isOver ? [] : [reason]), ...(failure === undefined ? [] : [failure])];
    return { ...about, state, bytes, missingBytes, reason: causes.map(errorMessage).join(': ') };
  }
}
