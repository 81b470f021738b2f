import type { Router } from '@koa/router';
import type { ImageReport } from '../api/store-api.ts';
import type { SyncApi } from '../api/sync-api.ts';
import { isDigest, parseDigest } from '../oci/digest.ts';
import { RegistryError } from '../oci/errors.ts';
import { formatImageName, splitTarget } from '../oci/reference.ts';
import { AdminInput } from './admin-input.ts';
import { describeAbsence } from './image-absence.ts';
import type { PolicyParts } from './policy-routes.ts';

export interface ExplainParts extends PolicyParts {
  readonly sync: SyncApi;
}

const HELD = { isHeld: true };

/** What is held of an image, what a rule of sync wants of it, who may pull it, and whether it may be pulled: of what is neither held nor wanted 404. */
export function addExplainRoute(
  router: Router,
  { store, sync, access, admission, resolve }: ExplainParts,
): void {
  router.get('/api/v1/explain', async (ctx) => {
    const image = AdminInput.ofQuery(ctx.query, ['image']).text('image');
    const report = await store.explain(image);
    const wanted = await sync.explain(image);
    const failure = wanted?.state === 'ready' ? undefined : sync.failure(image);
    const absence = report ? undefined : await store.absence(image);
    if (absence && !wanted && !failure) {
      throw new RegistryError('NAME_UNKNOWN', { message: describeAbsence(absence) });
    }
    const target = report
      ? splitTarget(report.image)
      : isDigest(image)
        ? undefined
        : resolve(image);
    const judged = target && (await admission.report(report ? nameOf(report) : image, HELD));
    const pullers = target && access()?.rulesAbout('pull', target);
    ctx.body = {
      image: absence?.image,
      ...report,
      ...(wanted && { sync: wanted }),
      ...(failure && { failure }),
      ...(judged && judged.rules.length > 0 && { admission: judged }),
      ...(pullers && { pullers }),
    };
  });
}

function nameOf({ image, digest }: ImageReport): string {
  return formatImageName({ name: image, digest: parseDigest(digest) });
}
