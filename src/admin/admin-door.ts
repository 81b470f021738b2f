import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import type Koa from 'koa';
import type { Access, Shown } from '../access/access.ts';
import { isAnonymous } from '../access/access.ts';
import type { Role } from '../access/rules.ts';
import { describeSubject } from '../access/subject.ts';
import type { Denial } from '../observe/declarations.ts';
import { RegistryError } from '../oci/errors.ts';
import { requestedHost } from '../oci/host-header.ts';
import { adminRecordOf, clientOf } from './admin-record.ts';
import { TEXTS } from './texts.ts';

/** Asked by probes, which show nothing. */
const OPEN: ReadonlySet<string> = new Set(['/healthz', '/readyz']);
/** Asked by probes and scrapers, under whatever host name they have for this listener. */
const PUBLIC: ReadonlySet<string> = new Set([...OPEN, '/metrics']);
/** What gives rights, or takes them; in any case, as a router may take it. */
const OF_ADMINS = /^\/api\/v1\/(?:reload|tokens)(?:\/|$)/i;

/**
 * Who may ask the admin API, where access control is configured: whoever may open its socket in the store's
 * folder, and subjects with the role. The record is told who asks, also of those that are refused. Throws
 * `UNAUTHORIZED` and `DENIED`.
 */
export async function admitToAdmin(ctx: Koa.Context, access: Access | undefined): Promise<void> {
  const record = adminRecordOf(ctx);
  if (isOfSocketFile(ctx.req)) record.subject = 'socket';
  if (!access || OPEN.has(ctx.path) || isOfSocketFile(ctx.req)) return;
  const role = roleOf(ctx);
  const origin = { address: clientOf(ctx), connection: ctx.req.socket };
  const shown = await access.identify(ctx.get('Authorization') || undefined, origin);
  // The token of a pull is none for this door.
  const isOther = shown.claims !== undefined;
  record.subject = describeSubject(shown.subject);
  if (shown.grant.kind === 'token') record.tokenId = shown.grant.id;
  if (!isOther && access.hasRole(shown, role)) return;
  record.denied = denialOf(shown);
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

function denialOf(shown: Shown): Denial {
  if (shown.refusal) return 'limit';
  if (shown.isForeign || shown.claims !== undefined) return 'credentials';
  return isAnonymous(shown) ? 'anonymous' : 'rule';
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

/**
 * Refuses what was asked under a name that is not this listener's. A page of a name that its owner
 * points here (DNS rebinding) is of the same origin as the API for a browser, and its `Host` is the
 * one thing that it cannot change. A listener that the operator opened to a network goes by names
 * that only the network knows. Throws `DENIED`.
 */
export function requireOwnHost(ctx: Koa.Context, configured: string): void {
  // Before the path is looked at, which Koa cannot of a target that is no URL.
  const host = requestedHost(ctx.req);
  if (PUBLIC.has(ctx.path)) return;
  // No browser can open a socket in a folder.
  if (isOfSocketFile(ctx.req) || isOpenToNetwork(configured)) return;
  const name = host.replace(/:\d*$/, '').replace(/\.$/, '').toLowerCase();
  const own = ['localhost', configured.toLowerCase()];
  if (isAddress(name) || own.includes(name)) return;
  adminRecordOf(ctx).denied = 'host';
  throw new RegistryError('DENIED', {
    message: TEXTS.otherHost({ host: JSON.stringify(host.slice(0, 255)) }),
  });
}

function isOpenToNetwork(configured: string): boolean {
  return isIP(configured) !== 0 && !/^(?:127\.|::1$)/.test(configured);
}

function isAddress(name: string): boolean {
  const [, bracketed] = /^\[(.*)\]$/.exec(name) ?? [];
  return bracketed === undefined ? isIP(name) === 4 : isIP(bracketed) === 6;
}
