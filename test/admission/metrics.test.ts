import { statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import type { ServerStatus } from '../../src/api/status-api.ts';
import { get } from '../helpers/client.ts';
import { REPOSITORY, startScene, UPSTREAM } from '../helpers/scene.ts';
import { createTempFolder } from '../helpers/mirror.ts';
import { Scrape } from '../helpers/scrape.ts';
import { Authority, IDENTITY, ISSUER } from './signatures/authority.ts';
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

test('verdicts are counted by rule and outcome, from 0 on', async (t) => {
  const { mirror, clock, image, manifest, registry } = await startGuarded(t);
  const outcomes = async (): Promise<Record<string, number>> => {
    const { samples } = await Scrape.of(mirror.server.adminUrl);
    const verdicts = samples.filter(({ name }) => name === 'admission_verdicts_total');
    t.true(verdicts.every(({ labels }) => labels['rule'] === 'admission.rules[0]'));
    t.true(verdicts.every(({ labels }) => labels['mode'] === 'enforce'));
    return Object.fromEntries(verdicts.map(({ labels, value }) => [labels['outcome'], value]));
  };
  t.deepEqual(await outcomes(), { admitted: 0, refused: 0, unknown: 0 });
  t.is((await manifest('latest')).status, 403);
  t.deepEqual(await outcomes(), { admitted: 0, refused: 1, unknown: 0 });
  await registry.refuse();
  clock.advance(31_000);
  t.is((await manifest(image.manifest.digest)).status, 503);
  t.deepEqual(await outcomes(), { admitted: 0, refused: 1, unknown: 1 });
});

test('the age of the trust root is that of its file, also after a refresh, and absent without one', async (t) => {
  const trustedRoot = join(await createTempFolder(t), 'trusted_root.json');
  writeFileSync(trustedRoot, JSON.stringify((await Authority.create()).root));
  utimesSync(trustedRoot, 1_700_000_000, 1_700_000_000);
  const signedBy = [{ identity: IDENTITY, issuer: ISSUER }];
  const rules = [{ images: [`${UPSTREAM}/**`], mode: 'enforce' as const, signedBy }];
  const admission = { trust: { sigstore: { trustedRoot }, keys: {} }, rules };
  const { mirror, registry } = await startScene(t, { admission });
  const told = async (): Promise<number | undefined> => {
    const { samples } = await Scrape.of(mirror.server.adminUrl);
    return samples.find(({ name }) => name === 'admission_trust_root_timestamp_seconds')?.value;
  };
  t.is(await told(), 1_700_000_000);
  utimesSync(trustedRoot, 1_800_000_000, 1_800_000_000);
  t.is(await told(), statSync(trustedRoot).mtimeMs / 1000);
  const upstreams = { [UPSTREAM]: { url: registry.url } };
  await mirror.reload({ upstreams, admission: { ...admission, trust: { keys: {} } } });
  t.is(await told(), undefined);
});
