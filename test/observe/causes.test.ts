import { readFile, rm, writeFile } from 'node:fs/promises';
import test from 'ava';
import { get, open } from '../helpers/client.ts';
import { MINUTE } from '../helpers/clock.ts';
import { buildImage } from '../helpers/image.ts';
import { blobPath, type TestMirror } from '../helpers/mirror.ts';
import { Scrape } from '../helpers/scrape.ts';
import { startScene } from '../helpers/scene.ts';
import { until } from '../helpers/until.ts';

const scrape = async ({ server }: TestMirror): Promise<Scrape> => Scrape.of(server.adminUrl);
const JSON_BODY = { 'content-type': 'application/json' };

test('a miss says why: cold, evicted, damaged, moved, absent', async (t) => {
  const { mirror, registry, manifest, blob, image, clock } = await startScene(t, {
    tags: { ttlMs: MINUTE },
  });
  const reasons = async (kind: string): Promise<Record<string, number>> => {
    const { samples } = await scrape(mirror);
    return Object.fromEntries(
      samples
        .filter(
          ({ name, labels, value }) =>
            name === 'cache_misses_total' && labels['kind'] === kind && value > 0,
        )
        .map(({ labels, value }) => [labels['reason'], value]),
    );
  };
  await manifest('latest');
  await blob(image.layer(0));
  await mirror.idle();
  t.deepEqual(await reasons('manifest'), { cold: 1 });
  t.deepEqual(await reasons('blob'), { cold: 1 });

  await writeFile(blobPath(mirror.storePath, image.layer(0).digest), 'short');
  t.is((await blob(image.layer(0))).status, 200);
  await mirror.idle();
  t.deepEqual(await reasons('blob'), { cold: 1, damaged: 1 });

  const url = `${mirror.server.adminUrl}/api/v1/gc`;
  const bytes = Buffer.from(JSON.stringify({ bytes: 2 ** 40 }));
  t.is((await get(url, { method: 'POST', headers: JSON_BODY, body: bytes })).status, 200);
  await manifest('latest');
  await blob(image.layer(0));
  await mirror.idle();
  t.deepEqual(await reasons('manifest'), { cold: 1, evicted: 1 });
  t.deepEqual(await reasons('blob'), { cold: 1, damaged: 1, evicted: 1 });
  t.is((await scrape(mirror)).sum('evicted_images_total', { reason: 'request' }), 1);

  const next = buildImage({ seed: 'next', layers: [100] });
  registry.addImage('library/app', 'latest', next);
  clock.advance(2 * MINUTE);
  await manifest('latest');
  t.deepEqual(await reasons('manifest'), { cold: 1, evicted: 1, moved: 1 });
  registry.untag('library/app', 'latest');
  clock.advance(2 * MINUTE);
  t.is((await manifest('latest')).status, 404);
  const { absent } = await reasons('manifest');
  t.is(absent, 1);
  const now = await scrape(mirror);
  t.is(now.sum('tags_moved_total'), 1);
  t.is(now.sum('tags_gone_total'), 1);
  const told = mirror.log.filter(({ msg }) => msg === 'tag moved' || msg === 'tag gone');
  const held = { target: 'hub.example/library/app', tag: 'latest' };
  t.like(told[0], { ...held, from: image.manifest.digest, to: next.manifest.digest });
  t.like(told[1], { ...held, digest: next.manifest.digest, msg: 'tag gone' });
});

test('transfers are counted as they ended, and those that wait for their turn', async (t) => {
  const { mirror, registry, blob, image } = await startScene(t, {
    upstream: { concurrency: 1 },
    store: { maxBlobShare: 0.4, maxBytes: 64 * 2 ** 20 },
  });
  const large = buildImage({ seed: 'large', layers: [30 * 2 ** 20, 2 * 2 ** 20, 2 * 2 ** 20 + 1] });
  registry.addImage('library/app', 'large', large);
  t.is((await blob(large.layer(0))).body.length, 30 * 2 ** 20);
  const gate = registry.hold(large.layer(1), { after: 10 });
  const first = blob(large.layer(1));
  await gate.arrived();
  const second = blob(large.layer(2));
  await until('one waits', async () => (await scrape(mirror)).sum('transfer_queue_waiting') === 1);
  gate.open();
  await Promise.all([first, second]);
  const pause = registry.hold(large.layer(0), { after: 2 ** 20 });
  const left = await open(`${mirror.url}/v2/library/app/blobs/${large.layer(0).digest}`);
  await pause.arrived();
  left.destroy();
  pause.open();
  await mirror.idle();
  registry.corrupt(image.layer(0), { at: 10 });
  await t.throwsAsync(blob(image.layer(0)));
  t.is((await blob(buildImage({ seed: 'none', layers: [7] }).layer(0))).status, 404);
  await mirror.idle();
  const now = await scrape(mirror);
  const ended = ['kept', 'passed', 'absent', 'failed'].map((result) => [
    result,
    now.sum('downloads_total', { result }),
  ]);
  t.deepEqual(Object.fromEntries(ended), { kept: 2, passed: 1, absent: 1, failed: 2 });
  t.is(now.sum('download_bytes_total', { result: 'passed' }), 30 * 2 ** 20);
  t.is(now.sum('download_bytes_total', { result: 'kept' }), 4 * 2 ** 20 + 1);
  t.is(now.sum('download_duration_seconds_count'), 3);
  t.is(now.sum('transfer_queue_wait_seconds_count'), 6);
  t.is(now.sum('transfer_queue_waiting'), 0);
});

test('tokens that were given and refused are counted', async (t) => {
  const { mirror, registry, manifest } = await startScene(t, {
    registry: { auth: { kind: 'bearer' } },
  });
  registry.status(/token/, 500, { times: 9, origin: 'token' });
  t.not((await manifest('latest')).status, 200);
  const failed = (await scrape(mirror)).sum('upstream_token_requests_total', { result: 'failed' });
  t.true(failed > 0);
  registry.heal();
  t.is((await manifest('latest')).status, 200);
  const now = await scrape(mirror);
  t.is(now.sum('upstream_token_requests_total', { result: 'ok' }), 1);
  t.is(now.sum('upstream_token_requests_total', { result: 'failed' }), failed);
});

test('a verification tells what it read, what was wrong, and when it ended', async (t) => {
  const { mirror, manifest, blob, image, clock } = await startScene(t);
  await manifest('latest');
  await blob(image.layer(0));
  await blob(image.layer(1));
  await mirror.idle();
  t.is((await scrape(mirror)).find('verify_last_end_timestamp_seconds'), undefined);
  const verify = async (): Promise<number> => {
    const url = `${mirror.server.adminUrl}/api/v1/verify`;
    return (await get(url, { method: 'POST', headers: JSON_BODY, body: '{}' })).status;
  };
  t.is(await verify(), 202);
  await mirror.logged('verified all that is held');
  const whole = await scrape(mirror);
  t.is(whole.sum('scrub_blobs_total'), 3);
  t.is(whole.sum('scrub_bytes_total'), image.manifest.size + 3000);
  t.is(whole.sum('scrub_findings_total'), 0);
  await rm(blobPath(mirror.storePath, image.layer(0).digest));
  const path = blobPath(mirror.storePath, image.layer(1).digest);
  const bytes = await readFile(path);
  bytes[5] = (bytes[5] ?? 0) ^ 1;
  await writeFile(path, bytes);
  t.is(await verify(), 202);
  await mirror.logged('verified all that is held', 2);
  await mirror.idle();
  const now = await scrape(mirror);
  t.is(now.sum('scrub_findings_total', { fault: 'missing', result: 'healed' }), 1);
  t.is(now.sum('scrub_findings_total', { fault: 'damaged', result: 'healed' }), 1);
  t.is(now.sum('scrub_findings_total', { result: 'open' }), 0);
  t.is(now.sum('scrub_blobs_total'), 6);
  t.is(now.sum('verify_last_end_timestamp_seconds'), clock.now() / 1000);
  t.is(now.sum('upstream_bytes_total', { purpose: 'healing', kind: 'blob' }), 3000);
  t.true(now.sum('store_bytes', { state: 'quarantined' }) > 0);
});
