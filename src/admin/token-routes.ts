import type { Router } from '@koa/router';
import type { AccessApi } from '../api/access-api.ts';
import { isRole } from '../config/access-schema.ts';
import { ConfigError } from '../config/problems.ts';
import { parseDuration } from '../config/quantity.ts';
import { badRequest, RegistryError } from '../oci/errors.ts';
import { adminRecordOf } from './admin-record.ts';
import { AdminInput } from './admin-input.ts';
import { TEXTS } from './texts.ts';

/** It stands in `token:NAME`. */
const NAME = /^[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}$/;
const ID = /^[a-z0-9]{12}$/;
/** A person or a team, in any letters; nothing that a terminal obeys. 10,000 tokens are one file. */
const OWNER = /^[^\p{C}\p{Zl}\p{Zp}]{1,128}$/u;
const MAX_DAYS = 3_660;
const DAY_MS = 86_400_000;

/** Tokens for scripts and machines. */
export function addTokenRoutes(router: Router, access: AccessApi): void {
  router.get('/api/v1/tokens', (ctx) => {
    ctx.body = { tokens: access.tokens() };
  });
  router.post('/api/v1/tokens', async (ctx) => {
    const input = await AdminInput.ofBody(ctx.req, ['name', 'owner', 'expires', 'role']);
    const name = input.text('name');
    if (!NAME.test(name)) throw badRequest(TEXTS.tokenName);
    const lifetimeMs = durationOf(input.optionalText('expires'));
    const owner = input.optionalText('owner') ?? name;
    if (!OWNER.test(owner)) throw badRequest(TEXTS.tokenOwner);
    const role = input.optionalText('role');
    if (role !== undefined && !isRole(role)) throw badRequest(TEXTS.tokenRole);
    ctx.status = 201;
    ctx.set('Cache-Control', 'no-store');
    const wish = { name, owner, ...(lifetimeMs && { lifetimeMs }), ...(role && { role }) };
    const made = await access.createToken(wish);
    adminRecordOf(ctx).madeId = made.id;
    ctx.body = made;
  });
  router.delete('/api/v1/tokens/:id', async (ctx) => {
    const { id = '' } = ctx.params;
    // What is no id may be a whole token.
    if (!ID.test(id)) throw badRequest(TEXTS.tokenId);
    if (!(await access.revokeToken(id))) {
      throw new RegistryError('NAME_UNKNOWN', { message: TEXTS.noSuchToken({ id }) });
    }
    ctx.status = 204;
  });
}

function durationOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  try {
    const ms = parseDuration(text);
    if (ms >= 60_000 && ms <= MAX_DAYS * DAY_MS) return ms;
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
  }
  throw badRequest(TEXTS.tokenExpires({ most: MAX_DAYS }));
}
