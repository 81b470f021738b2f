import PQueue from 'p-queue';
import type { SyncProblem } from '../src/api/sync-api.ts';
import type { SyncRule } from '../src/config/sync-rule-schema.ts';
import { isGlob } from '../src/config/glob.ts';
import { parseDigest, type Digest } from '../src/oci/digest.ts';
import {
  formatTarget,
  splitTarget,
  type Tag,
  type Target,
  formatImageName,
} from '../src/oci/reference.ts';
import type { Retries } from './retries.ts';
import { TagSelector, matchesRepository } from './tag-selector.ts';
import { imageKey, joinWanted, wantedBy, type WantedImage } from './wanted-image.ts';
import { TEXTS } from './texts.ts';
import type { Source, SyncParts } from './parts.ts';
import { MAX_MANIFEST_BYTES } from '../src/oci/manifest.ts';
import { isManifestType } from '../src/oci/media-types.ts';

export interface Resolution {
  readonly images: readonly WantedImage[];
  /** Tags and digests that the upstream says it does not have, by `imageKey`. */
  readonly absent: ReadonlySet<string>;
  /** Paths of rules whose images could not all be resolved. */
  readonly unknown: ReadonlySet<string>;
  /** The rules that match nothing that the upstream has. */
  readonly empty: ReadonlySet<string>;
  /** The rules whose upstream gave no answer. */
  readonly unasked: ReadonlySet<string>;
  /**
   * Lists as the upstreams gave them: the tags of each repository, the repositories of each
   * upstream.
   */
  readonly listed: ReadonlyMap<string, ReadonlySet<string>>;
  readonly problems: readonly SyncProblem[];
}

export interface ResolverParts extends SyncParts {
  /** Left out: an upstream that fails is not asked again. */
  readonly retries?: Retries | undefined;
}

/** Requests to one upstream at a time: nearly all are HEADs, of which only the way there and back takes time. */
const AT_A_TIME = 16;

/** What several upstreams have, together. */
export function joinResolutions(each: readonly Resolution[]): Resolution {
  return {
    images: each.flatMap(({ images }) => images),
    absent: new Set(each.flatMap(({ absent }) => [...absent])),
    unknown: new Set(each.flatMap(({ unknown }) => [...unknown])),
    empty: new Set(each.flatMap(({ empty }) => [...empty])),
    unasked: new Set(each.flatMap(({ unasked }) => [...unasked])),
    listed: new Map(each.flatMap(({ listed }) => [...listed])),
    problems: each.flatMap(({ problems }) => problems),
  };
}

/**
 * Resolves the rules of one upstream into digests: at most one HEAD a tag, and a list where a rule
 * needs one.
 */
export class Resolver {
  readonly #parts: ResolverParts;
  readonly #queue = new PQueue({ concurrency: AT_A_TIME });
  readonly #images = new Map<string, WantedImage>();
  readonly #asked = new Map<string, Promise<WantedImage['digest'] | undefined>>();
  readonly #absent = new Set<string>();
  readonly #listed = new Map<string, ReadonlySet<string>>();
  readonly #unknown = new Set<string>();
  readonly #empty = new Set<string>();
  readonly #unasked = new Set<string>();
  readonly #problems: SyncProblem[] = [];

  static async resolve(parts: ResolverParts, rules: readonly SyncRule[]): Promise<Resolution> {
    const resolver = new Resolver(parts);
    for (const rule of rules) await resolver.#resolveRule(rule);
    return {
      images: [...resolver.#images.values()],
      absent: resolver.#absent,
      unknown: resolver.#unknown,
      empty: resolver.#empty,
      unasked: resolver.#unasked,
      listed: resolver.#listed,
      problems: resolver.#problems,
    };
  }

  private constructor(parts: ResolverParts) {
    this.#parts = parts;
  }

  async #resolveRule(rule: SyncRule): Promise<void> {
    let selected = rule.digests.length;
    for (const target of await this.#targets(rule)) {
      const tags = await this.#tags(rule, target);
      selected += tags.length;
      const digests = rule.digests.map(async (text) => {
        this.#add(rule, { target, digest: parseDigest(text) });
      });
      await Promise.all([
        ...digests,
        ...tags.map(async (tag) => this.#resolveTag(rule, target, tag)),
      ]);
    }
    // A pattern with a typing error takes nothing, and nobody would miss what it was to take.
    if (selected === 0 && !this.#unknown.has(rule.path)) {
      this.#empty.add(rule.path);
      this.#fail(rule, rule.image, TEXTS.noTagMatches);
    }
  }

  /**
   * The repositories of a rule; those of a pattern are the matching ones of the registry's catalog.
   */
  async #targets(rule: SyncRule): Promise<Target[]> {
    const target = splitTarget(rule.image);
    if (!isGlob(rule.image)) return [target];
    try {
      const listed = await this.#inQueue(async (prefetcher) =>
        prefetcher.listRepositories(target.upstream),
      );
      if (!listed) {
        this.#fail(rule, rule.image, TEXTS.noCatalog(target));
        return [];
      }
      const found = listed
        .map((repository) => ({ upstream: target.upstream, repository }))
        .filter((each) => matchesRepository(rule, each));
      if (found.length === 0) this.#fail(rule, rule.image, TEXTS.noMatch);
      if (listed.length > 0) this.#listed.set(target.upstream, new Set(listed));
      return found;
    } catch (error) {
      this.#failToAsk(rule, rule.image, error);
      return [];
    }
  }

  async #tags(rule: SyncRule, target: Target): Promise<readonly Tag[]> {
    const selection = new TagSelector(rule.tags);
    if (!selection.needsList) return selection.select([]).selected;
    const image = formatTarget(target);
    try {
      const listed = await this.#inQueue(async (prefetcher) => prefetcher.listTags(target));
      // An empty list is more often a fault of the registry than a deletion of everything.
      if (!listed || listed.length === 0) {
        this.#fail(rule, image, listed ? TEXTS.noTags : TEXTS.noRepository);
        return selection.select([]).selected;
      }
      this.#listed.set(image, new Set(listed));
      const first = selection.select(listed);
      if (first.needsCreated.length === 0) return first.selected;
      const resolve = async (tag: Tag) => this.#ask(target, tag);
      const created = await createdAt({ ...this.#parts, resolve }, target, first.needsCreated);
      return selection.select(listed, created).selected;
    } catch (error) {
      this.#failToAsk(rule, image, error);
      return selection.select([]).selected;
    }
  }

  async #resolveTag(rule: SyncRule, target: Target, tag: Tag): Promise<void> {
    const image = formatImageName({ name: formatTarget(target), tag });
    try {
      const digest = await this.#ask(target, tag);
      if (digest) this.#add(rule, { target, tag, digest });
      else {
        this.#absent.add(`${formatTarget(target)} ${tag}`);
        this.#problems.push({ rule: rule.path, image, reason: TEXTS.noTag });
      }
    } catch (error) {
      this.#failToAsk(rule, image, error);
    }
  }

  /** Resolves a tag once, however many rules want it. */
  async #ask(target: Target, tag: Tag): Promise<WantedImage['digest'] | undefined> {
    const key = formatImageName({ name: formatTarget(target), tag });
    const asking =
      this.#asked.get(key) ?? this.#inQueue(async (prefetcher) => prefetcher.resolve(target, tag));
    this.#asked.set(key, asking);
    return asking;
  }

  async #inQueue<Value>(ask: (prefetcher: Source) => Promise<Value>): Promise<Value> {
    const { prefetcher, retries } = this.#parts;
    const work = async (): Promise<Value> => ask(prefetcher);
    return this.#queue.add(async () => (retries ? retries.run(work) : work()));
  }

  #add(rule: SyncRule, found: Pick<WantedImage, 'target' | 'tag' | 'digest'>): void {
    const image = wantedBy(rule, found, this.#parts.timer.wall());
    const known = this.#images.get(imageKey(image));
    this.#images.set(imageKey(image), known ? joinWanted(known, image) : image);
  }

  #failToAsk(rule: SyncRule, image: string, error: unknown): void {
    this.#unasked.add(rule.path);
    this.#fail(rule, image, errorMessage(error));
  }

  #fail(rule: SyncRule, image: string, reason: string): void {
    this.#unknown.add(rule.path);
    this.#problems.push({ rule: rule.path, image, reason });
  }
}

export function errorMessage(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

interface CreationParts extends Pick<SyncParts, 'prefetcher' | 'catalog' | 'blobs'> {
  /** The digest of a tag; each tag is asked for once in a run. */
  readonly resolve: (tag: Tag) => Promise<Digest | undefined>;
}

const CREATED = 'org.opencontainers.image.created';
const EXAMINED_AT_A_TIME = 4;

/**
 * When images were made, milliseconds since 1970: by the annotation of the manifest, else by the
 * config of its first platform, which is the one blob that a plan may have to fetch.
 */
async function createdAt(
  parts: CreationParts,
  target: Target,
  tags: readonly Tag[],
): Promise<ReadonlyMap<Tag, number>> {
  const queue = new PQueue({ concurrency: EXAMINED_AT_A_TIME });
  const times = new Map<Tag, number>();
  await queue.addAll(
    tags.map((tag) => async () => {
      const digest = await parts.resolve(tag);
      const time = digest && (await timeOfManifest(parts, target, digest));
      if (time !== undefined) times.set(tag, time);
    }),
  );
  return times;
}

async function timeOfManifest(
  parts: CreationParts,
  target: Target,
  digest: Digest,
): Promise<number | undefined> {
  if (!(await parts.prefetcher.holdManifest(target, digest))) return undefined;
  const manifest = await readJson(parts, digest);
  const own = parseTime(asRecord(asRecord(manifest)['annotations'])[CREATED]);
  if (own !== undefined) return own;
  const [first] = (await parts.catalog.members(digest))?.successors ?? [];
  if (!first) return undefined;
  if (isManifestType(first.mediaType)) return timeOfManifest(parts, target, first.digest);
  if (first.size > MAX_MANIFEST_BYTES) return undefined;
  await parts.prefetcher.holdBlob(target, first.digest);
  return parseTime(asRecord(await readJson(parts, first.digest))['created']);
}

/**
 * `undefined` for what is too large to be read into memory: a repository may call anything a
 * config.
 */
async function readJson({ blobs }: CreationParts, digest: Digest): Promise<unknown> {
  const size = (await blobs.statBlob(digest))?.size ?? 0;
  const bytes = size > MAX_MANIFEST_BYTES ? undefined : await blobs.readBytes(digest);
  try {
    return bytes && JSON.parse(bytes.toString('utf8'));
  } catch {
    return undefined;
  }
}

function asRecord(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

function parseTime(value: unknown): number | undefined {
  const time = typeof value === 'string' ? Date.parse(value) : Number.NaN;
  return Number.isNaN(time) ? undefined : time;
}
