import semver from 'semver';
import * as z from 'zod';
import { isTag, DEFAULT_TAG } from '../oci/reference.ts';
import { ConfigError } from './problems.ts';
import { isGlob, parseGlob } from './glob.ts';
import { parseRegex } from './pattern.ts';
import { validated, converted } from './section.ts';
import { TEXTS } from './texts.ts';

/**
 * A tag is selected when it is named; or when it matches a glob or regex (any tag does where
 * neither is given, unless there are only names), is not excluded, lies in the semver range, and is
 * among the newest of all that do; an empty selection wants none. A tag that is named after a digest
 * matches only what begins as it does. The version of a tag is the group `version` of the first regex
 * that caught one, else the whole tag. No name is excluded: that is refused.
 */
export interface TagSelection {
  readonly names: readonly string[];
  readonly globs: readonly string[];
  readonly regexes: readonly string[];
  readonly exclude: readonly string[];
  readonly semver?: string;
  readonly newest?: { readonly count: number; readonly by: 'semver' | 'created' };
}

/** The selection of a rule that wants digests alone. */
export const NO_TAGS: TagSelection = { names: [], globs: [], regexes: [], exclude: [] };

/** The selection of a rule without `tags` and `digests`. */
export const LATEST: TagSelection = { ...NO_TAGS, names: [DEFAULT_TAG] };

const name = z.string().meta({ title: 'tag' }).transform(converted(checkTag));
const glob = z.string().meta({ title: 'pattern' }).transform(validated(parseGlob));
const regex = z.string().meta({ title: 'expression' }).transform(validated(parseRegex));
const count = z.int(TEXTS.newest).min(1, TEXTS.newest);

const selection = z
  .strictObject({
    names: z.array(name).prefault([]).describe('Tags that are wanted whatever the rest says.'),
    globs: z.array(glob).prefault([]).describe('Patterns of tags, such as "22-*".'),
    regex: z
      .union([regex, z.array(regex)], { error: TEXTS.regexes })
      .default([])
      .describe('Expressions (RE2); ^ and $ bind. The group "version" is the version of the tag.'),
    semver: z
      .string()
      .meta({ title: 'range of versions' })
      .transform(converted(checkRange))
      .exactOptional()
      .describe('Range that the version must lie in, such as ">=20 <23".'),
    newest: z
      .union(
        [
          count.transform((number) => ({ count: number, by: 'semver' as const })),
          z.strictObject({
            count: count.describe('How many.'),
            by: z
              .enum(['semver', 'created'], { error: TEXTS.newestBy })
              .default('semver')
              .describe('semver: the highest versions. created: the images that were built last.'),
          }),
        ],
        { error: TEXTS.newest },
      )
      .exactOptional()
      .describe('Of all that match, only so many.'),
    exclude: z.array(glob).prefault([]).describe('Patterns of tags that are not wanted.'),
  })
  .transform(({ regex: expressions, ...rest }): TagSelection => {
    return { ...rest, regexes: [expressions].flat() };
  })
  .superRefine(checkNames);

export function isEmptySelection(selection: TagSelection): boolean {
  return Object.values(selection).every((part) => Array.isArray(part) && part.length === 0);
}

/** The tags of a rule; a tag or a list of tags is short for `names`. */
export const tagSelectionSchema = z.union(
  [
    name.transform((tag) => ({ ...LATEST, names: [tag] })),
    z
      .array(name)
      .min(1, TEXTS.tagsEmpty)
      .transform((names) => ({ ...LATEST, names })),
    selection,
  ],
  { error: TEXTS.tags },
);

/** A tag cannot be both named and excluded. */
function checkNames({ names, exclude }: TagSelection, context: z.RefinementCtx): void {
  // A glob that is wrong has its own problem and is no string here.
  const patterns = exclude.filter((text) => typeof text === 'string');
  for (const [position, tag] of names.entries()) {
    const pattern = patterns.find((text) => parseGlob(text).matches(tag));
    if (pattern === undefined) continue;
    const message = TEXTS.excluded({ pattern });
    context.addIssue({ code: 'custom', path: ['names', position], message });
  }
}

function checkTag(text: string): string {
  if (isTag(text)) return text;
  const advice = TEXTS.tag;
  const isRegex = /^\^|[^}]\$$|\.[*+]|\\/.test(text);
  if (isRegex) throw new ConfigError([TEXTS.tagIsRegex({ advice, text })]);
  throw new ConfigError([isGlob(text) ? TEXTS.tagIsGlob({ advice, text }) : advice]);
}

function checkRange(text: string): string {
  if (text.trim() === '' || semver.validRange(text) === null) {
    throw new ConfigError([TEXTS.notThis({ advice: TEXTS.range, text })]);
  }
  if (semver.minVersion(text) === null) {
    throw new ConfigError([TEXTS.rangeEmpty({ text, advice: TEXTS.range })]);
  }
  return text;
}
