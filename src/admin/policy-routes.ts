import { isIP } from 'node:net';
import type { Router } from '@koa/router';
import type { Access } from '../access/access.ts';
import type { PolicyReport } from '../api/access-api.ts';
import { isIdentity } from '../config/access-schema.ts';
import { RegistryError } from '../oci/errors.ts';
import { formatTarget, type Target } from '../oci/reference.ts';
import { AdminInput } from './admin-input.ts';
import { TEXTS } from './texts.ts';

export interface PolicyParts {
  readonly access: () => Access | undefined;
  /** The repository of an image as any client names it. Throws a `RegistryError` for what is not mirrored. */
  readonly resolve: (image: string) => Target;
}

/** Who an asker may be, and belong to. */
const MAX_NAMES = 1000;

/** Whether a subject may have an image, by the rules that are in force. */
export function addPolicyRoutes(router: Router, { access, resolve }: PolicyParts): void {
  router.get('/api/v1/policy', (ctx) => {
    const input = AdminInput.ofQuery(ctx.query, ['image', 'as', 'from']);
    const target = resolve(input.text('image'));
    const subject = { names: namesOf(input.optionalEach('as')) };
    const address = addressOf(input.optionalText('from'));
    const rules = access();
    const asker = { subject, address };
    const unknown = subject.names.filter((name) => rules?.knows(name) === false);
    const verdict = rules && {
      pull: rules.explain(asker, 'pull', target),
      list: rules.explain(asker, 'list', target),
    };
    ctx.body = {
      image: formatTarget(target),
      subject: subject.names,
      ...(unknown.length > 0 && { unknown }),
      ...(address !== undefined && { address }),
      isAllowed: verdict?.pull.isAllowed ?? true,
      ...(verdict && { access: verdict }),
    } satisfies PolicyReport;
  });
}

/** Throws for what no rule can name. */
function namesOf(written: readonly string[]): readonly string[] {
  const wrong = written.find((name) => !isIdentity(name));
  if (wrong !== undefined || written.length > MAX_NAMES) throw invalid(TEXTS.policySubject);
  return written.filter((name) => name !== 'anonymous');
}

function addressOf(text: string | undefined): string | undefined {
  if (text === undefined || isIP(text) !== 0) return text;
  throw invalid(TEXTS.policyAddress);
}

function invalid(message: string): RegistryError {
  return new RegistryError('UNSUPPORTED', { status: 400, message });
}
