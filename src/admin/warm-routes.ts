import type { Router } from '@koa/router';
import type { WarmApi, WarmWish } from '../api/warm-api.ts';
import { formatDuration, parseDuration } from '../config/quantity.ts';
import { badRequest, RegistryError } from '../oci/errors.ts';
import { AdminInput } from './admin-input.ts';
import { parsed, readPlatforms } from './parsed-input.ts';
import { TEXTS } from './texts.ts';

const DEFAULT_DEADLINE = '10m';
const [LEAST_MS, MOST_MS] = [1_000, 3_600_000];

/**
 * Whole images, fetched ahead of their clients. A wish is answered at once and looked at later, so that
 * it does not depend on who made it.
 */
export function addWarmRoutes(router: Router, warm: WarmApi): void {
  router.post('/api/v1/warm', async (ctx) => {
    const input = await AdminInput.ofBody(ctx.req, ['images', 'platforms', 'deadline']);
    const state = warm.begin(readWish(input));
    ctx.status = 202;
    ctx.set('Location', `/api/v1/warm/${state.id}`);
    ctx.body = state;
  });
  router.get('/api/v1/warm/:id', (ctx) => {
    const state = warm.state(ctx.params['id'] ?? '');
    if (!state) throw new RegistryError('NAME_UNKNOWN', { message: TEXTS.noSuchWarm });
    ctx.body = state;
  });
}

/** Throws a `RegistryError` with status 400 that says what to write. */
function readWish(input: AdminInput): WarmWish {
  const images = input.texts('images');
  const deadline = input.optionalText('deadline') ?? DEFAULT_DEADLINE;
  const deadlineMs = parsed('deadline', deadline, parseDuration);
  if (deadlineMs < LEAST_MS || deadlineMs > MOST_MS) {
    const bounds = { least: formatDuration(LEAST_MS), most: formatDuration(MOST_MS) };
    throw badRequest(TEXTS.deadline({ ...bounds, found: deadline }));
  }
  return { images, platforms: readPlatforms(input) ?? 'all', deadlineMs };
}
