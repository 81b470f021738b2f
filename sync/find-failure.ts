import type { SyncRule } from '../src/config/sync-config.ts';
import type { SyncProblem } from '../src/api/sync-api.ts';
import type { Digest } from '../src/oci/digest.ts';
import type { Tag } from '../src/oci/reference.ts';
import { parseTarget } from '../src/store/catalog/image-graph.ts';
import { covers } from './covers.ts';

/**
 * Among problems that of one image, by `name:tag` or `name@digest`; else that of a repository or a
 * pattern whose rule may select the image.
 */
export function findFailure(
  image: string,
  problems: readonly SyncProblem[],
  rules: readonly SyncRule[],
): SyncProblem | undefined {
  const own = problems.find((problem) => problem.image === image);
  const wanted = own ? undefined : parse(image);
  if (!wanted) return own;
  return problems.find((problem) => {
    const rule = rules.find(({ path }) => path === problem.rule);
    if (rule === undefined || !covers(rule, wanted)) return false;
    return problem.image === rule.image || problem.image === wanted.repository;
  });
}

function parse(image: string) {
  const at = image.indexOf('@');
  const colon = image.indexOf(':', image.lastIndexOf('/') + 1);
  const end = at === -1 ? colon : at;
  if (end === -1) return undefined;
  const repository = image.slice(0, end);
  const reference = image.slice(end + 1);
  const target = parseTarget(repository);
  const digest = reference as Digest;
  return at === -1
    ? { repository, target, digest, tag: reference as Tag }
    : { repository, target, digest };
}
