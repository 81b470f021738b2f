import test from 'ava';
import type { SyncStatus } from '../../src/api/sync-api.ts';
import { get } from '../helpers/client.ts';
import { REPOSITORY } from '../helpers/scene.ts';
import { until } from '../helpers/until.ts';
import { rule, syncConfig } from '../sync/rules.ts';
import { startGuarded, type Guarded } from './guarded.ts';

const SIGNED = 'library/signed';

async function statusOf({ mirror }: Guarded): Promise<SyncStatus> {
  const { body } = await get(`${mirror.server.adminUrl}/api/v1/sync`);
  return JSON.parse(String(body)) as SyncStatus;
}

test('an image that may not be pulled is not ready, with the reason; one whose signature sync has brought is', async (t) => {
  const rules = [REPOSITORY, SIGNED].map((image) =>
    rule(image, { tags: { names: ['latest'] }, referrers: true }),
  );
  const scene = await startGuarded(t, { sync: syncConfig(rules) });
  const { registry, image, mirror, signer } = scene;
  registry.addImage(SIGNED, 'latest', image);
  signer.attach(registry, SIGNED, image.manifest);
  const headers = { 'content-type': 'application/json' };
  await get(`${mirror.server.adminUrl}/api/v1/sync/run`, { method: 'POST', headers });
  await until('both are here', async () => {
    const { images } = await statusOf(scene);
    const isWhole = images.every(({ missing, bytes }) => bytes > 0 && missing.length === 0);
    return images.length === 2 && isWhole && images.some(({ state }) => state === 'ready');
  });
  const { images } = await statusOf(scene);
  const told = images.map(({ image: name, state, reason }) => ({ name, state, reason }));
  t.like(
    told.find(({ name }) => name.endsWith(REPOSITORY)),
    {
      state: 'partial',
      reason:
        'it may not be pulled: admission.rules[0] is not met by what is held: it has no signature',
    },
  );
  t.is(told.find(({ name }) => name.endsWith(SIGNED))?.state, 'ready');
});
