import semver, { type SemVer } from 'semver';

/**
 * The version that a whole tag is: `v` in front or not, all three numbers, `-` and a suffix or a
 * suffix at once (`3.13.0rc1`), `_` and build metadata (a tag cannot have `+`), or `_rc1` and the
 * like. Leading zeros are allowed: `2026.01.15`. Every suffix is a pre-release, `-alpine` too,
 * since a tag does not tell variants from pre-releases, and a range that took them would take every
 * variant.
 */
const WHOLE = /^v?(\d+)\.(\d+)\.(\d+)(?:-([0-9A-Za-z.-]+)|([A-Za-z][0-9A-Za-z.-]*))?(?:_(.+))?$/;

/** The version that a rule's regex caught: as `WHOLE`, with missing numbers as 0. */
const PART =
  /^v?(\d+)(?:\.(\d+))?(?:\.(\d+))?(?:-([0-9A-Za-z.-]+)|([A-Za-z][0-9A-Za-z.-]*))?(?:_(.+))?$/;

/**
 * For parsing and comparing alike: a strict comparison of a loosely parsed version drops the build.
 */
const LOOSE = { loose: true };

/** Pre-releases as Alpine and Gentoo write them. */
const UNDERSCORED = /_(?=(?:alpha|beta|pre|rc)\d*$)/;

/** `1.27`, `16-alpine`, `20260101`, `latest` and commits are no versions. */
export function findVersion(tag: string): SemVer | undefined {
  return parse(WHOLE.exec(tag.replace(UNDERSCORED, '-')));
}

/** Of what a rule's regex caught: `1.27` is 1.27.0 and `20260101` is 20260101.0.0. */
export function findVersionPart(text: string): SemVer | undefined {
  return parse(PART.exec(text.replace(UNDERSCORED, '-')));
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
