import type { IncomingMessage } from 'node:http';
import type Koa from 'koa';
import type { Access } from '../access/access.ts';
import { isAnonymous } from '../access/access.ts';
import type { Role } from '../access/rules.ts';
import { describeSubject } from '../access/subject.ts';
import { RegistryError } from '../oci/errors.ts';
import { TEXTS } from './texts.ts';

/** Asked by probes, which show nothing. */
const OPEN: ReadonlySet<string> = new Set(['/healthz', '/readyz']);
/** What gives rights, or takes them; in any case, as a router may take it. */
const OF_ADMINS = /^\/api\/v1\/(?:reload|tokens)(?:\/|$)/i;

/**
 * Who may ask the admin API, where access control is configured: whoever may open its socket in the store's
 * folder, and subjects with the role. Resolves with who asks, for the log of writes. Throws `UNAUTHORIZED`
 * and `DENIED`.
 */
export async function admitToAdmin(
  ctx: Koa.Context,
  access: Access | undefined,
): Promise<string | undefined> {
  if (!access || OPEN.has(ctx.path)) return undefined;
  if (isOfSocketFile(ctx.req)) return 'socket';
  const role = roleOf(ctx);
  const address = ctx.req.socket.remoteAddress?.replace(/^::ffff:/, '');
  const shown = await access.identify(ctx.get('Authorization') || undefined, address);
  // The token of a pull is none for this door.
  const isOther = shown.claims !== undefined;
  if (!isOther && access.hasRole(shown, role)) return describeSubject(shown.subject);
  if (isAnonymous(shown) || isOther) {
    if (shown.refusal) throw shown.refusal;
    throw new RegistryError('UNAUTHORIZED', {
      message: TEXTS.adminLogin({ role }),
      headers: {
        'WWW-Authenticate': `Basic realm="${access.service}"`,
        'Cache-Control': 'no-store',
      },
    });
  }
  throw new RegistryError('DENIED', {
    message: TEXTS.adminRole({ subject: describeSubject(shown.subject), role }),
  });
}

function roleOf({ path, method }: Koa.Context): Role {
  if (path === '/metrics') return 'metrics';
  if (OF_ADMINS.test(path)) return 'admin';
  return method === 'GET' || method === 'HEAD' ? 'view' : 'operate';
}

/** Who may open a socket in a folder is a matter of the folder's mode. A closed connection has no address either. */
export function isOfSocketFile({ socket }: IncomingMessage): boolean {
  return !socket.destroyed && socket.localAddress === undefined;
}
