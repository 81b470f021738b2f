import type { IncomingMessage } from 'node:http';
import type { Router } from '@koa/router';
import { RegistryError } from '../oci/errors.ts';
import { AdminInput } from './admin-input.ts';
import type { SyncApi } from '../api/sync-api.ts';
import { TEXTS } from './texts.ts';

/** A lock has some 250 bytes an image. */
const MAX_LOCK_BYTES = 64 * 2 ** 20;

/** What the site must hold: how that stands, what a run would do, and the run. */
export function addSyncRoutes(router: Router, sync: SyncApi): void {
  router.get('/api/v1/sync', async (ctx) => {
    ctx.body = await sync.status();
  });
  router.post('/api/v1/sync/plan', async (ctx) => {
    ctx.body = await sync.plan(await readLock(ctx.req));
  });
  router.get('/api/v1/sync/run', (ctx) => {
    ctx.body = sync.runState;
  });
  router.post('/api/v1/sync/run', async (ctx) => {
    const lock = await readLock(ctx.req);
    // To follow another run would pass its end off as that of the lock.
    if (lock !== undefined && sync.runState.running !== undefined) {
      throw new RegistryError('UNSUPPORTED', {
        status: 409,
        message: TEXTS.runUnderWay,
      });
    }
    ctx.status = 202;
    ctx.body = sync.run(lock);
  });
}

async function readLock(request: IncomingMessage): Promise<object | undefined> {
  const input = await AdminInput.ofBody(request, ['lock'], MAX_LOCK_BYTES);
  return input.optionalObject('lock');
}
