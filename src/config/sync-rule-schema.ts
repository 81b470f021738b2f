import * as z from 'zod';
import { DIGEST } from '../oci/digest.ts';
import { isRepository } from '../oci/reference.ts';
import { ConfigError, repeated } from './problems.ts';
import { durationOrForever } from './quantity.ts';
import { isGlob, parseGlob } from './glob.ts';
import { parsePlatform } from './platform.ts';
import { imageMeant } from './image.ts';
import { DOCKER_HUB, registryForm, registryNameMeant } from './registries.ts';
import { converted, type Frozen } from './section.ts';
import type { Source } from './source.ts';
import { isEmptySelection, LATEST, NO_TAGS, tagSelectionSchema } from './tag-selection-schema.ts';
import { TEXTS } from './texts.ts';

/** The values of keys that neither the rule nor `defaults` sets. */
const RULE_DEFAULTS = {
  platforms: 'all',
  referrers: true,
  priority: 0,
  fresh: 86_400_000,
  removed: 'keep',
} as const;

/** Keys of rules and of `defaults`. */
const common = {
  platforms: z
    .union(
      [
        z.string().transform(converted(parseAll)).meta({ const: 'all' }),
        z
          .array(z.string().meta({ title: 'platform' }).transform(converted(parsePlatform)))
          .min(1, TEXTS.platforms),
      ],
      { error: TEXTS.platforms },
    )
    .exactOptional()
    .describe('OS/ARCHITECTURE[/VARIANT] of the images that are wanted, or all. Default: all.'),
  referrers: z
    .boolean()
    .exactOptional()
    .describe(
      'Signatures, SBOMs and attestations as well; always where admission has a rule. Default: true.',
    ),
  priority: z
    .int(TEXTS.asWholeNumber)
    .exactOptional()
    .describe('Higher ones of an upstream are fetched first. Default: 0.'),
  fresh: durationOrForever
    .refine((ms) => ms > 0, TEXTS.freshAboveZero)
    .exactOptional()
    .describe('How old the copy may get before it counts as stale. Default: 24h.'),
  removed: z
    .enum(['keep', 'release'], { error: TEXTS.removed })
    .exactOptional()
    .describe('What becomes of an image that the upstream has no more. Default: keep.'),
};

export const ruleDefaultsSchema = z
  .strictObject(common)
  .nullish()
  .transform((value): RuleDefaults => value ?? {});

export function ruleSchema({ upstreams }: Source) {
  const shape = {
    image: z
      .string(TEXTS.image)
      .meta({ title: 'image', pattern: `${registryForm('/')}[^:@]+$` })
      .transform(converted((text: string) => parseSyncImage(text, upstreams)))
      .describe('REGISTRY/REPOSITORY; the repository may be a pattern.'),
    tags: tagSelectionSchema
      .nullish()
      .describe('The tags that are wanted. Left out: latest, or none where digests are written.'),
    digests: z
      .array(z.string().regex(DIGEST, TEXTS.digest).meta({ title: 'digest' }))
      .default([])
      .describe('Digests that are wanted besides tags.'),
    ...common,
  };
  return z.strictObject(shape, {
    error: ({ code, input }) =>
      code === 'invalid_type' && typeof input === 'string'
        ? TEXTS.mapWith({ key: 'image', value: repeated(input) })
        : undefined,
  });
}

/** The rules and defaults of one file, or of the `sync` key itself. */
export interface RuleSource {
  readonly defaults: RuleDefaults;
  readonly rules: readonly z.output<ReturnType<typeof ruleSchema>>[];
  /** Where the rules stand, for messages: `sync.rules`, or `team-a.yaml: rules`. */
  readonly path: string;
}

export type RuleDefaults = Partial<z.output<z.ZodObject<typeof common>>>;

/**
 * The rules with all defaults: their own values, then those of their file, then those of `sync`.
 */
export function completeRules(source: RuleSource, defaults: RuleDefaults) {
  return source.rules.map(({ image, tags, digests, ...own }, position) => {
    const untagged = digests.length > 0 ? NO_TAGS : LATEST;
    const isUntagged = !tags || isEmptySelection(tags);
    const {
      fresh: freshMs,
      removed,
      ...rest
    } = { ...RULE_DEFAULTS, ...defaults, ...source.defaults, ...own };
    return {
      path: `${source.path}[${position}]`,
      image,
      tags: isUntagged ? untagged : tags,
      digests,
      ...rest,
      freshMs,
      removed,
    };
  });
}

export type SyncRule = Frozen<ReturnType<typeof completeRules>[number]>;

function parseAll(text: string): 'all' {
  if (text === 'all') return text;
  throw new ConfigError([TEXTS.notThis({ advice: TEXTS.platforms, text })]);
}

const MAX_LENGTH = 255;

/**
 * `registry/repository`, the repository perhaps a glob, in full: `docker.io/node` is
 * `docker.io/library/node`. Throws a `ConfigError` that says what to write.
 */
function parseSyncImage(text: string, upstreams?: readonly string[]): string {
  if (text.length > MAX_LENGTH) throw new ConfigError([TEXTS.tooLong({ most: MAX_LENGTH })]);
  if (text.startsWith('^')) parseGlob(text);
  const slash = text.indexOf('/');
  const [registry, repository] = [text.slice(0, Math.max(slash, 0)), text.slice(slash + 1)];
  if (isGlob(registry)) throw new ConfigError([TEXTS.imageRegistryGlob]);
  const isAddress = /^[a-z]+:\/\//i.test(text);
  if (isAddress || (!/[.:]/.test(registry) && registry !== 'localhost')) {
    const image = imageMeant(text.replace(/(?<=[^/:]\/?[^/:]*)[:@][^/]*$/, ''));
    throw new ConfigError([TEXTS.imageMeant({ image: image ?? text })]);
  }
  if (repository.includes('@')) throw new ConfigError([TEXTS.imageWithDigest]);
  if (repository.includes(':')) throw new ConfigError([TEXTS.imageWithTag]);
  const name = registryNameMeant(registry);
  if (name === undefined) throw new ConfigError([TEXTS.registryName]);
  if (name !== registry) {
    throw new ConfigError([TEXTS.writeName({ name: imageMeant(text) ?? name })]);
  }
  if (upstreams?.includes(name) === false) {
    throw new ConfigError([
      TEXTS.noUpstream({ name, remedy: TEXTS.addOrOneOf({ names: upstreams.join(', ') }) }),
    ]);
  }
  if (isGlob(repository)) parseGlob(repository);
  else if (!isRepository(repository)) throw new ConfigError([repositoryAdvice(text, repository)]);
  const isShort = name === DOCKER_HUB && isRepository(repository) && !repository.includes('/');
  return `${name}/${isShort ? `library/${repository}` : repository}`;
}

/** Throws where it is a regular expression, with the pattern that it means. */
function repositoryAdvice(text: string, repository: string): string {
  if (/[$^]/.test(repository)) parseGlob(repository);
  const isInCapitals = isRepository(repository.toLowerCase());
  const image = isInCapitals ? imageMeant(text) : undefined;
  return image === undefined ? TEXTS.imageRepository : TEXTS.writeName({ name: image });
}
