import { isGlob, parseGlob } from '../src/config/glob.ts';
import type { SyncRule } from '../src/config/sync-rule-schema.ts';
import type { SyncProblem } from '../src/api/sync-api.ts';
import { parseImageName } from '../src/oci/image-name.ts';
import { formatTarget, splitTarget, type Target } from '../src/oci/reference.ts';
import { TagSelector } from './tag-selector.ts';
import type { WantedImage } from './wanted-image.ts';

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
