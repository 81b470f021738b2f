import test from 'ava';
import type { ServerStatus } from '../../src/api/status-api.ts';
import { get } from '../helpers/client.ts';
import { REPOSITORY } from '../helpers/scene.ts';
import { Scrape } from '../helpers/scrape.ts';
import { startGuarded } from './guarded.ts';

test('what may not be pulled is counted as refused, is so in the log, and is in no hit ratio', async (t) => {
  const { mirror, clock, image, manifest, blob, registry, signer } = await startGuarded(t);
  const url = mirror.server.adminUrl;
  for (const method of ['GET', 'HEAD']) t.is((await manifest('latest', { method })).status, 403);
  t.is((await blob(image.layer(0))).status, 403);
  const scrape = await Scrape.of(url);
  const refused = { upstream: 'hub.example', result: 'refused' };
  const counted = (labels: Record<string, string>): number =>
    scrape.sum('cache_requests_total', { ...refused, ...labels });
  t.is(counted({ kind: 'manifest', method: 'GET' }), 1);
  t.is(counted({ kind: 'manifest', method: 'HEAD' }), 1);
  t.is(counted({ kind: 'blob' }), 1);
  t.is(scrape.sum('cache_requests_total'), 3);
  const lines = mirror.log.filter(({ msg }) => msg === 'request');
  t.deepEqual(
    lines.map(({ source, status }) => ({ source, status })),
    Array.from({ length: 3 }, () => ({ source: 'refused', status: 403 })),
  );
  const cache = async () => {
    const { body } = await get(`${url}/api/v1/status`);
    return (JSON.parse(String(body)) as ServerStatus).cache;
  };
  t.deepEqual(await cache(), { requests: 0, hits: 0 });
  signer.attach(registry, REPOSITORY, image.manifest);
  clock.advance(31_000);
  t.is((await manifest('latest')).status, 200);
  t.like(await cache(), { requests: 1 });
});
