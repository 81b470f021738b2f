import { isIP } from 'node:net';
import type { Router } from '@koa/router';
import type { Access } from '../access/access.ts';
import type { AdmissionApi } from '../api/admission-api.ts';
import type { IntakeApi } from '../api/bundle-api.ts';
import type { PolicyReport } from '../api/access-api.ts';
import type { StoreApi } from '../api/store-api.ts';
import { isIdentity } from '../config/access-schema.ts';
import { badRequest } from '../oci/errors.ts';
import { formatTarget, type Target } from '../oci/reference.ts';
import { AdminInput } from './admin-input.ts';
import { findRefused } from './refused-images.ts';
import { TEXTS } from './texts.ts';

export interface PolicyParts {
  readonly access: () => Access | undefined;
  readonly admission: AdmissionApi;
  readonly store: StoreApi;
  readonly bundles: { readonly imports: Pick<IntakeApi, 'untaken'> };
  /** The repository of an image as any client names it. Throws a `RegistryError` for what is not mirrored. */
  readonly resolve: (image: string) => Target;
}

/** Who an asker may be, and belong to. */
const MAX_NAMES = 1000;
/** Of one page. */
const MAX_REFUSED = 1000;

/**
 * Whether an image may be pulled, by the rules that are in force: by a subject where one is named, and by what
 * it is, which may be asked for alone.
 */
export function addPolicyRoutes(
  router: Router,
  { access, admission, resolve, store, bundles }: PolicyParts,
): void {
  router.get('/api/v1/policy', async (ctx) => {
    const input = AdminInput.ofQuery(ctx.query, ['image', 'as', 'from']);
    const image = input.text('image');
    const target = resolve(image);
    const as = input.optionalEach('as');
    const subject = { names: namesOf(as) };
    const address = addressOf(input.optionalText('from'));
    const rules = as.length > 0 ? access() : undefined;
    const asker = { subject, address };
    const unknown = subject.names.filter((name) => rules?.knows(name) === false);
    const verdict = rules && {
      pull: rules.explain(asker, 'pull', target),
      list: rules.explain(asker, 'list', target),
    };
    const told = await admission.report(image);
    const isJudged = told.rules.length > 0 || told.reason !== undefined;
    ctx.body = {
      image: formatTarget(target),
      ...(as.length > 0 && { subject: subject.names }),
      ...(unknown.length > 0 && { unknown }),
      ...(address !== undefined && { address }),
      isAllowed: (verdict?.pull.isAllowed ?? true) && told.isAllowed,
      ...(verdict && { access: verdict }),
      ...(isJudged && { admission: told }),
    } satisfies PolicyReport;
  });
  router.get('/api/v1/admission/refused', async (ctx) => {
    const input = AdminInput.ofQuery(ctx.query, ['after', 'limit']);
    const untaken = () => bundles.imports.untaken;
    const after = input.optionalText('after');
    const limit = input.optionalCount('limit', MAX_REFUSED) ?? MAX_REFUSED;
    ctx.body = await findRefused({ store, admission, untaken }, { after, limit });
  });
  router.get('/api/v1/admission', async (ctx) => {
    ctx.body = await admission.report(AdminInput.ofQuery(ctx.query, ['image']).text('image'));
  });
}

/** Throws for what no rule can name. */
function namesOf(written: readonly string[]): readonly string[] {
  const wrong = written.find((name) => !isIdentity(name));
  if (wrong !== undefined || written.length > MAX_NAMES) throw badRequest(TEXTS.policySubject);
  return written.filter((name) => name !== 'anonymous');
}

function addressOf(text: string | undefined): string | undefined {
  if (text === undefined || isIP(text) !== 0) return text;
  throw badRequest(TEXTS.policyAddress);
}
