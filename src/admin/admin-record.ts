import type Koa from 'koa';
import type { Audit } from '../observe/audit.ts';
import type { Denial } from '../observe/declarations.ts';
import type { Log } from '../observe/log.ts';
import type { Metrics } from '../observe/metrics.ts';
import { redact } from '../observe/secret-shapes.ts';
import { AdminInput } from './admin-input.ts';

/** A request of the admin API as log and audit tell of it; the door and the routes fill it in. */
export interface AdminRecord {
  /** Who asks, as rules name it; `socket` is whoever may open the socket in the store's folder. */
  subject?: string;
  /** Of the API token by which the subject is known. */
  tokenId?: string;
  denied?: Denial;
  /** Of what was made. */
  madeId?: string;
}

/** Of what a client made up. */
const MAX_SHOWN = 300;
/** Of a list, such as images to warm. */
const MAX_LISTED = 10;

/** That of a request; one for its whole way. */
export function adminRecordOf(ctx: Koa.Context): AdminRecord {
  const state = ctx.state as { record?: AdminRecord };
  return (state.record ??= {});
}

/** Tells of every write who asked for it, for what, and what came of it; of a read only when it is refused. */
export function logAdminRequest(
  ctx: Koa.Context,
  { log, audit, metrics }: { log: Log; audit: Audit; metrics: Metrics },
): void {
  const { subject, tokenId, denied, madeId } = adminRecordOf(ctx);
  const isWrite = ctx.method !== 'GET' && ctx.method !== 'HEAD';
  if (denied) metrics.access.denials.inc({ door: 'admin', reason: denied });
  if (!isWrite && !denied) return;
  const agent = ctx.get('User-Agent').slice(0, MAX_SHOWN);
  const facts = {
    client: clientOf(ctx),
    agent: agent === '' ? undefined : redact(agent),
    subject: subject?.slice(0, MAX_SHOWN) ?? 'anonymous',
    tokenId,
    denied,
    method: ctx.method,
    path: redact(pathOf(ctx).slice(0, MAX_SHOWN)),
    status: ctx.status,
    input: inputOf(ctx),
    madeId,
  };
  audit.write({ event: isWrite ? 'change' : 'read', door: 'admin', ...facts });
  // Where no rules are configured nobody is asked who it is.
  if (subject !== undefined || denied) log.info(facts, isWrite ? 'admin write' : 'admin read');
}

/** The address of who asks, as rules have it; none at a socket in a folder. No proxy is believed at this door. */
export function clientOf({ req }: Koa.Context): string | undefined {
  return req.socket.remoteAddress?.replace(/^::ffff:(?=\d+\.)/i, '');
}

/** Also of a target that is no URL. */
function pathOf({ req }: Koa.Context): string {
  return (req.url ?? '').split('?', 1)[0] ?? '';
}

/** What was asked for, in its own words; `undefined` where that says nothing. */
function inputOf(ctx: Koa.Context): object | undefined {
  const told = AdminInput.readFrom(ctx).map(([name, value]) => [name, shortened(value)] as const);
  return told.length === 0 ? undefined : Object.fromEntries(told);
}

function shortened(value: unknown): unknown {
  if (typeof value === 'string') return redact(value.slice(0, MAX_SHOWN));
  if (!Array.isArray(value)) return typeof value === 'object' ? undefined : value;
  // What stands in a list is a text: lists in lists are nothing that anybody asks for.
  const texts = value.filter((each) => typeof each === 'string');
  const listed = texts.slice(0, MAX_LISTED).map(shortened);
  const more = value.length - listed.length;
  return more > 0 ? [...listed, `and ${more} more`] : listed;
}
