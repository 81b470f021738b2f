import test from 'ava';
import { matchGolden } from './golden.ts';
import { APP, JUNK, OLD, Site } from './site.ts';

test('the headers of pulls, and what the log says of each', async (t) => {
  const site = await Site.start(t);
  const manifests = '/v2/org/app/manifests';
  const { digest } = OLD.layer(0);
  const told = [
    await site.pull('GET /v2/'),
    await site.pull('HEAD /v2/org/junk/manifests/v1'),
    await site.pull(`GET ${manifests}/v1`, { Accept: APP.manifest.mediaType }),
    await site.pull(`GET ${manifests}/v1`),
    await site.pull(`GET ${manifests}/v1`, { Accept: 'text/html' }),
    await site.pull(`GET ${manifests}/${APP.manifest.digest}`),
    await site.pull(`GET ${manifests}/v1`, { 'If-None-Match': `"${APP.manifest.digest}"` }),
    await site.pull(`GET ${manifests}/missing`),
    await site.pull(`HEAD /v2/org/old/blobs/${digest}`),
    await site.pull(`GET /v2/org/old/blobs/${digest}`),
    await site.pull(`GET /v2/org/old/blobs/${digest}`),
    await site.pull(`GET /v2/org/old/blobs/${digest}?ns=hub.example`, { Range: 'bytes=10-19' }),
    await site.pull(`GET /v2/org/old/blobs/${digest}`, { Range: 'bytes=9999-' }),
    await site.pull(`GET /v2/org/old/blobs/${digest}`, { 'If-None-Match': `"${digest}"` }),
    await site.pull(`GET /v2/org/old/blobs/sha256:${'0'.repeat(64)}`),
    await site.pull('GET /v2/org/app/tags/list'),
    await site.pull(`GET /v2/org/app/referrers/${APP.manifest.digest}`),
    await site.pull('GET /v2/_catalog'),
    await site.pull('GET /v2/org/app/manifests/v1?ns=other.example'),
    await site.pull('GET /v2/Org/app/manifests/v1'),
    await site.pull('GET /v2/org/app/blobs/nonsense'),
    await site.pull('PUT /v2/org/app/manifests/v1'),
    await site.pull('GET /elsewhere'),
  ];
  await site.registry.refuse();
  site.minutes(60);
  told.push(await site.pull(`GET ${manifests}/v1`));
  told.push(await site.pull(`GET ${manifests}/v2`));
  told.push(await site.pull('GET /v2/org/junk/manifests/v2'));
  matchGolden(t, 'pulls.txt', told.join(''));
  const lines = site.log
    .filter(({ msg }) => msg === 'request')
    .map((line) =>
      JSON.stringify({
        ...line,
        time: 'TIME',
        ttfbMs: 'MS',
        ms: 'MS',
        ...(line['err'] ? { err: 'ERROR' } : {}),
      }),
    );
  matchGolden(t, 'log.txt', site.even(`${lines.join('\n')}\n`));
});

test('the output of the commands', async (t) => {
  const site = await Site.start(t);
  const [amd64] = APP.images;
  await site.pull('GET /v2/org/old/manifests/v0');
  for (const blob of OLD.blobs) await site.pull(`GET /v2/org/old/blobs/${blob.digest}`);
  await site.pull('GET /v2/org/junk/manifests/v1');
  for (const blob of JUNK.blobs) await site.pull(`GET /v2/org/junk/blobs/${blob.digest}`);
  site.minutes(7);
  await site.pull('GET /v2/org/app/manifests/v1');
  await site.pull(`GET /v2/org/app/manifests/${amd64!.manifest.digest}`);
  await site.pull(`GET /v2/org/app/blobs/${amd64!.layer(0).digest}`);
  await site.idle();
  site.minutes(3);
  const told = [
    await site.command('sync', 'plan'),
    await site.command('sync', 'status'),
    await site.command('ls'),
    await site.command('explain', 'org/app:v1'),
    await site.command('sync', 'run'),
    await site.command('sync', 'plan'),
    await site.command('sync', 'status'),
    await site.command('status'),
    await site.command('ls', '--sort', 'size', '--limit', '1'),
    await site.command('ls', 'hub.example/none/*'),
    await site.command('explain', 'org/app:v1'),
    await site.command('explain', 'org/base:gone'),
    await site.command('explain', 'org/old:v9'),
    await site.command('explain', 'other.example/org/old:v9'),
    await site.command('explain', 'Nonsense'),
    await site.command('explain', 'org/app:'),
    await site.command('pin', 'org/old:v0', '--reason', 'the rollout'),
    await site.command('pin', 'org/**'),
    await site.command('pin', '--in-use', 'in-use', '--source', 'cluster-a'),
    await site.command('pins'),
    await site.command('explain', 'org/old:v0'),
    await site.command('gc', '--dry-run', '--bytes', '1KiB'),
    await site.command('unpin', 'org/old:v0'),
    await site.command('unpin', 'org/base:v1'),
    await site.command('unpin', 'org/**'),
    await site.command('pin', '--in-use', 'in-use'),
    await site.command('gc', '--bytes', '1KiB'),
    await site.command('verify'),
    await site.command('verify', '--rebuild'),
    await site.command('doctor', 'org/old:v0', 'org/old:v9'),
    await site.command('doctor', 'other.example/org/old:v0'),
  ];
  matchGolden(t, 'commands.txt', told.join(''));
});
