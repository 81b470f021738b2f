import type { SyncRule } from '../src/config/sync-config.ts';
import type { SyncProblem } from '../src/api/sync-api.ts';
import { parseImageName } from '../src/oci/image-name.ts';
import { splitTarget } from '../src/oci/reference.ts';
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
  if (own) return own;
  const { name, ...reference } = parseImageName(image);
  const wanted = { target: splitTarget(name), ...reference };
  return problems.find((problem) => {
    const rule = rules.find(({ path }) => path === problem.rule);
    if (rule === undefined || !covers(rule, wanted)) return false;
    return problem.image === rule.image || problem.image === name;
  });
}
