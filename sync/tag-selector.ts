import semver, { type SemVer } from 'semver';
import { parseGlob, isGlob } from '../src/config/glob.ts';
import { parseRegex, type Pattern } from '../src/config/pattern.ts';
import type { TagSelection } from '../src/config/tag-selection-schema.ts';
import { isAttachedTag } from '../src/oci/cosign.ts';
import {
  parseTag,
  type Tag,
  formatTarget,
  splitTarget,
  type Target,
  parseImageName,
} from '../src/oci/reference.ts';
import type { SyncRule } from '../src/config/sync-rule-schema.ts';
import type { SyncProblem } from '../src/api/sync-api.ts';
import type { WantedImage } from './wanted-image.ts';

/** A glob or a regex that begins as tags do which are named after a digest. */
const NAMES_DIGESTS = /^(?:\^|\\A|\{|\((?:\?(?:P?<\w+>|:))?)*sha(?:256|512)\\?-/;

interface Candidate {
  readonly tag: Tag;
  readonly version: SemVer | undefined;
}

export interface Selected {
  /** Sorted by code units. */
  readonly selected: readonly Tag[];
  /** Tags whose times of creation are needed first; then `selected` has the names only. */
  readonly needsCreated: readonly Tag[];
}

/**
 * The tags of a repository that a rule wants. Where `newest` goes by creation, that takes two
 * steps: the first `select` says whose times are needed, the second takes them. Both depend on the
 * set of tags only, not on its order, and a tag costs at most its length times the size of the
 * patterns.
 */
export class TagSelector {
  readonly #names: ReadonlySet<Tag>;
  /** Globs and regexes. */
  readonly #patterns: readonly Pattern[];
  readonly #regexes: readonly Pattern[];
  /** Patterns that begin like tags that are named after a digest. */
  readonly #ofDigests: readonly Pattern[];
  readonly #exclude: readonly Pattern[];
  readonly #range: semver.Range | undefined;
  readonly #newest: TagSelection['newest'];
  /** False where the rule names all that it wants, or wants no tag. */
  readonly needsList: boolean;

  /** Throws a `ConfigError` for patterns that the configuration would refuse. */
  constructor({ names, globs, regexes, exclude, semver: range, newest }: TagSelection) {
    this.#names = new Set(names.map(parseTag));
    this.#regexes = regexes.map(parseRegex);
    this.#patterns = [...globs.map(parseGlob), ...this.#regexes];
    this.#ofDigests = this.#patterns.filter((_, at) =>
      NAMES_DIGESTS.test([...globs, ...regexes][at] ?? ''),
    );
    this.#exclude = exclude.map(parseGlob);
    this.#range = range === undefined ? undefined : new semver.Range(range);
    this.#newest = newest;
    const isOpen = this.#patterns.length > 0 || range !== undefined || newest !== undefined;
    this.needsList = isOpen || (names.length === 0 && exclude.length > 0);
  }

  /**
   * What is wanted of a list, and what is named, listed or not: only the upstream can say that it
   * lacks a tag. `createdAt` has milliseconds; a tag that is not in it counts as the oldest.
   */
  select(tags: Iterable<Tag>, createdAt?: ReadonlyMap<Tag, number>): Selected {
    const candidates = this.#candidates(tags);
    const { count = Number.POSITIVE_INFINITY, by } = this.#newest ?? {};
    if (by === 'created' && !createdAt && candidates.length > count) {
      const needsCreated = candidates.map(({ tag }) => tag).toSorted(compareValues);
      return { selected: [...this.#names].toSorted(compareValues), needsCreated };
    }
    const newest = this.#newest ? candidates.toSorted(this.#comparison(createdAt)) : candidates;
    const taken = newest.slice(0, count).map(({ tag }) => tag);
    return { selected: [...this.#names, ...taken].toSorted(compareValues), needsCreated: [] };
  }

  /**
   * All that match and are not named. Signatures come with their image where a rule has referrers;
   * patterns take a tag that is named after a digest only where they begin so.
   */
  #candidates(tags: Iterable<Tag>): Candidate[] {
    if (!this.needsList) return [];
    return [...new Set(tags)].flatMap((tag) => {
      if (this.#names.has(tag) || !this.#matches(tag)) return [];
      const version = this.#versionOf(tag);
      return this.#isVersionWanted(version) ? [{ tag, version }] : [];
    });
  }

  #matches(tag: Tag): boolean {
    if (this.#exclude.some((pattern) => pattern.matches(tag))) return false;
    if (isAttachedTag(tag)) return this.#ofDigests.some((pattern) => pattern.matches(tag));
    return this.#patterns.length === 0 || this.#patterns.some((pattern) => pattern.matches(tag));
  }

  /** The group `version` of the first regex that caught one, else the whole tag. */
  #versionOf(tag: Tag): SemVer | undefined {
    if (!this.#range && this.#newest?.by !== 'semver') return undefined;
    for (const regex of this.#regexes) {
      const part = regex.findVersion(tag);
      if (part !== undefined) return findVersionPart(part);
    }
    return findVersion(tag);
  }

  /** A range takes a pre-release only where it names one of the same three numbers. */
  #isVersionWanted(version: SemVer | undefined): boolean {
    if (this.#range) return version !== undefined && this.#range.test(version);
    return this.#newest?.by !== 'semver' || version !== undefined;
  }

  #comparison(createdAt?: ReadonlyMap<Tag, number>): (a: Candidate, b: Candidate) => number {
    const timeOf = ({ tag }: Candidate) => createdAt?.get(tag) ?? Number.NEGATIVE_INFINITY;
    const compare =
      this.#newest?.by === 'created'
        ? (one: Candidate, other: Candidate) => compareValues(timeOf(other), timeOf(one))
        : compareVersions;
    return (one, other) => compare(one, other) || compareTies(one.tag, other.tag);
  }
}

function compareVersions({ version: one }: Candidate, { version: other }: Candidate): number {
  return one && other ? compareNewest(one, other) : Number(other !== undefined);
}

/** The longer tag says more: `1.27.3` goes before `1.27` and `v1.27.3` before `1.27.3`. */
function compareTies(one: Tag, other: Tag): number {
  return other.length - one.length || compareValues(one, other);
}

/** Not a subtraction: two of `-Infinity` are equal. */
function compareValues<Value extends string | number>(one: Value, other: Value): number {
  return one === other ? 0 : one < other ? -1 : 1;
}

/**
 * A version as tags have it: `v` in front or not, one to three numbers, `-` and a suffix or a suffix at
 * once (`3.13.0rc1`), `_` and build metadata (a tag cannot have `+`), or `_rc1` and the like. Leading
 * zeros are allowed: `2026.01.15`. Every suffix is a pre-release, `-alpine` too, since a tag does not
 * tell variants from pre-releases, and a range that took them would take every variant.
 */
const VERSION =
  /^v?(\d+)(?:\.(\d+))?(?:\.(\d+))?(?:-([0-9A-Za-z.-]+)|([A-Za-z][0-9A-Za-z.-]*))?(?:_(.+))?$/;

/**
 * For parsing and comparing alike: a strict comparison of a loosely parsed version drops the build.
 */
const LOOSE = { loose: true };

/** Pre-releases as Alpine and Gentoo write them. */
const UNDERSCORED = /_(?=(?:alpha|beta|pre|rc)\d*$)/;

/**
 * The version that a whole tag is, with all three numbers: `1.27`, `16-alpine`, `20260101`, `latest` and
 * commits are none.
 */
export function findVersion(tag: string): SemVer | undefined {
  const match = matchVersion(tag);
  return match?.[3] === undefined ? undefined : parse(match);
}

/** The version in what a rule's regex caught: `1.27` is 1.27.0 and `20260101` is 20260101.0.0. */
export function findVersionPart(text: string): SemVer | undefined {
  return parse(matchVersion(text));
}

function matchVersion(text: string): RegExpExecArray | null {
  return VERSION.exec(text.replace(UNDERSCORED, '-'));
}

/**
 * Releases before all pre-releases, then the higher one first, so that the newest of a list are
 * what a site would run; negative when `one` comes first. Build metadata decides between equals.
 */
export function compareNewest(one: SemVer, other: SemVer): number {
  const [isPre, isOtherPre] = [one, other].map(({ prerelease }) => prerelease.length > 0);
  return Number(isPre) - Number(isOtherPre) || semver.compareBuild(other, one, LOOSE);
}

function parse(match: RegExpExecArray | null): SemVer | undefined {
  if (!match) return undefined;
  const [, major, minor = '0', patch = '0', dashed, attached, build] = match;
  const suffix = dashed ?? attached;
  const text = `${major}.${minor}.${patch}${suffix === undefined ? '' : `-${suffix}`}`;
  const metadata = build === undefined ? '' : `+${build.replaceAll('_', '-')}`;
  return semver.parse(text + metadata, LOOSE) ?? undefined;
}

interface Compiled {
  readonly hasRepository: (name: string) => boolean;
  readonly tags: TagSelector;
}

/** Each rule is compiled once; it is asked about many images and never changes. */
const COMPILED = new WeakMap<SyncRule, Compiled>();

/**
 * Whether a rule may select an image, whatever its upstream lists just now: where `newest` decides,
 * any tag that could be among them counts.
 */
export function mayMatch(
  rule: SyncRule,
  image: Pick<WantedImage, 'target' | 'tag'> & Partial<Pick<WantedImage, 'digest'>>,
): boolean {
  const { target, tag, digest } = image;
  if (!matchesRepository(rule, target)) return false;
  if (tag === undefined) return digest !== undefined && rule.digests.includes(digest);
  return compile(rule).tags.select([tag]).selected.includes(tag);
}

export function matchesRepository(rule: SyncRule, target: Target): boolean {
  return compile(rule).hasRepository(formatTarget(target));
}

/**
 * The problem of an image, which is written `name:tag` or `name@digest`; else the problem of its
 * repository, or of a rule that may select it.
 */
export function findFailure(
  image: string,
  problems: readonly SyncProblem[],
  rules: readonly SyncRule[],
): SyncProblem | undefined {
  const own = problems.find((problem) => problem.image === image);
  if (own) return own;
  const { name, ...reference } = parseImageName(image);
  const wanted = { target: splitTarget(name), ...reference };
  return problems.find((problem) => {
    const rule = rules.find(({ path }) => path === problem.rule);
    if (rule === undefined || !mayMatch(rule, wanted)) return false;
    return problem.image === rule.image || problem.image === name;
  });
}

function compile(rule: SyncRule): Compiled {
  const known = COMPILED.get(rule);
  if (known) return known;
  const { image } = rule;
  const pattern = isGlob(image) ? parseGlob(image) : undefined;
  const compiled = {
    hasRepository: (name: string) => (pattern ? pattern.matches(name) : name === image),
    tags: new TagSelector(rule.tags),
  };
  COMPILED.set(rule, compiled);
  return compiled;
}
