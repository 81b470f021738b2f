import { stat } from 'node:fs/promises';
import test from 'ava';
import type { ImageSummary, RemovalReport } from '../../src/api/store-api.ts';
import { parseDigest } from '../../src/oci/digest.ts';
import { parseRepository } from '../../src/oci/reference.ts';
import { Store } from '../../src/store/store.ts';
import { get } from '../helpers/client.ts';
import { buildImage, fallbackTag, type Stored } from '../helpers/image.ts';
import { blobPath, startMirror } from '../helpers/mirror.ts';
import { NOON, startLiveStore, WORLD } from './live-store.ts';

const { amd64, cosigned, index, old, older, provenance, signature } = WORLD;
const OLD = 'hub.example/org/old';
const TARGET = { upstream: 'hub.example', repository: parseRepository('org/old') };
const size = (...blobs: readonly Stored[]): number =>
  blobs.reduce((sum, { size: bytes }) => sum + bytes, 0);
/** Of two platforms, their index and what is attached, but for the layer that was not pulled. */
const HELD_OF_APP = size(
  index,
  amd64.manifest,
  amd64.config,
  amd64.layer(0),
  ...[provenance, signature, cosigned].map(({ manifest }) => manifest),
  // The config of the two artifacts is one.
  ...provenance.blobs,
  signature.layer(0),
  ...cosigned.blobs,
);
const said = (stdout: string) => ({ code: 0, stdout, stderr: '' });
const refused = (reason: string, code = 1) => ({
  code,
  stdout: '',
  stderr: `entrepot: ${reason}\n`,
});

for (const isServed of [true, false]) {
  const how = isServed ? 'of a running server' : 'that no server has open';
  test(`a store ${how}: rm takes one image out by its tag or its digest, and says what is freed`, async (t) => {
    const { run, mirror } = await startLiveStore(t, { isServed });
    const would = said(`would go: ${OLD}:v0, 3 blobs, 20.3 KiB\n`);
    t.deepEqual(await run('rm', 'org/old:v0', '--dry-run'), would);
    t.deepEqual(await run('rm', 'org/old:v0', '--dry-run'), would, 'nothing has gone');
    t.deepEqual(await run('rm', 'org/old:v0'), said(`gone: ${OLD}:v0, 3 blobs, 20.3 KiB\n`));
    t.deepEqual(
      await run('rm', 'org/old:v0'),
      refused(`nothing of ${OLD}:v0 is held; of ${OLD} there is v1`),
    );
    for (const { digest } of [older.manifest, ...older.blobs]) {
      await t.throwsAsync(stat(blobPath(mirror.storePath, digest)), { code: 'ENOENT' });
    }
    const named = `${OLD}@${old.manifest.digest}`;
    t.deepEqual(
      await run('rm', `org/old@${old.manifest.digest}`),
      said(`gone: ${named}, v1, 3 blobs, 49.6 KiB\n`),
    );
    const whole = await run('rm', `hub.example/org/app@${index.digest}`, '--json');
    const { tags, released, ...rest } = JSON.parse(whole.stdout) as Record<string, unknown>;
    t.deepEqual(tags, ['latest', 'v1', `${fallbackTag(amd64.manifest.digest)}.sig`]);
    t.deepEqual(rest, { image: `hub.example/org/app@${index.digest}`, digest: index.digest });
    t.deepEqual(released, { images: 1, blobs: 12, bytes: HELD_OF_APP });
    t.deepEqual(await run('ls'), said('nothing is held\n'));
  });

  test(`a store ${how}: of an image with other tags rm takes the one tag alone`, async (t) => {
    const { run } = await startLiveStore(t, { isServed });
    const app = 'hub.example/org/app';
    const gone = `the tag ${app}:v1; the image stays as latest, so nothing is freed\n`;
    t.deepEqual(await run('rm', 'org/app:v1', '--dry-run'), said(`would go: ${gone}`));
    t.deepEqual(await run('rm', 'org/app:v1'), said(`gone: ${gone}`));
    t.regex((await run('ls')).stdout, /^hub\.example\/org\/app {2}latest {2}/m);
    const last = JSON.parse((await run('rm', 'org/app:latest', '--json')).stdout) as object;
    t.like(last, { image: `${app}:latest`, tags: ['latest'], released: { images: 1 } });
  });

  test(`a store ${how}: rm asks for one image, and says what to write`, async (t) => {
    const { run } = await startLiveStore(t, { isServed });
    for (const [image, reason] of [
      ['org/old', `say which image of ${OLD}: write ${OLD}:TAG or ${OLD}@DIGEST; there is v0, v1`],
      [
        'org/none',
        'say which image of hub.example/org/none: write hub.example/org/none:TAG or hub.example/org/none@DIGEST',
      ],
      ['org/*:v1', '"org/*:v1" is not one image: write it as REPOSITORY:TAG or REPOSITORY@DIGEST'],
      [
        index.digest,
        `"${index.digest}" is not one image: write it as REPOSITORY:TAG or REPOSITORY@DIGEST`,
      ],
    ] as const) {
      t.deepEqual(await run('rm', image), refused(reason, 64));
      t.deepEqual(await run('rm', image, '--dry-run'), refused(reason, 64));
    }
    t.deepEqual(
      await run('rm', `org/old@${index.digest}`),
      refused(`nothing of ${OLD}@${index.digest} is held; of ${OLD} there is v0, v1`),
    );
    t.regex((await run('rm', 'ghcr.io/org/old:v1')).stderr, /"ghcr\.io" is not an upstream/);
    const part = `hub.example/org/app@${amd64.manifest.digest}`;
    t.deepEqual(
      await run('rm', part),
      refused(
        `${part} stays: it is part of hub.example/org/app@${index.digest}; remove that instead`,
      ),
    );
  });

  test(`a store ${how}: rm leaves what is pinned, and says who keeps it and how that ends`, async (t) => {
    const { run } = await startLiveStore(t, { isServed });
    await run('pin', '--in-use', 'in-use', '--source', 'cluster-a');
    await run('pin', 'hub.example/org/*:v0', '--reason', 'why');
    const stays = refused(
      `${OLD}:v0 stays: cluster-a has it in use as ${OLD}:v0; leave it out of the list of cluster-a; it is pinned by hand as hub.example/org/*:v0; "entrepot unpin hub.example/org/*:v0" takes that back`,
    );
    t.deepEqual(await run('rm', 'org/old:v0'), stays);
    t.deepEqual(await run('rm', `org/old@${older.manifest.digest}`, '--dry-run'), {
      ...stays,
      stderr: stays.stderr.replace(':v0 stays', `@${older.manifest.digest} stays`),
    });
    // A pin of one platform keeps the whole image; a tag alone goes by the pins that mean it.
    await run('pin', `hub.example/org/app@${amd64.manifest.digest}`);
    t.regex((await run('rm', `org/app@${index.digest}`)).stderr, / stays: it is pinned by hand /);
    t.like(await run('rm', 'org/app:latest'), { code: 0, stderr: '' });
    await run('pin', 'org/app:v1');
    t.regex((await run('rm', 'org/app:v1')).stderr, / stays: it is pinned by hand /);
    await run('unpin', 'hub.example/org/*:v0');
    await run('pin', '--in-use', 'nothing', '--source', 'cluster-a');
    t.like(await run('rm', 'org/old:v0'), { code: 0, stderr: '' });
  });
}

test('what sync selects and what the configuration pins stays, and the remedy is there', async (t) => {
  const { run, mirror } = await startLiveStore(t);
  const { pins } = mirror.server.store.care;
  const digest = older.manifest.digest;
  const image = `${OLD}@${digest}`;
  await pins.add({ origin: 'sync', image, tags: ['v0'], reason: 'sync.rules[0]', since: NOON });
  t.deepEqual(
    await run('rm', 'org/old:v0'),
    refused(
      `${OLD}:v0 stays: sync selects it by sync.rules[0]; change that rule, and the next run lets it go`,
    ),
  );
  await pins.remove({ origin: 'sync', image });
  pins.configure([{ origin: 'config', image: OLD, since: NOON }]);
  t.deepEqual(
    await run('rm', 'org/old:v0'),
    refused(
      `${OLD}:v0 stays: it is pinned by the configuration as ${OLD}; take that out of store.pins`,
    ),
  );
  t.true(await mirror.server.catalog.isHeld({ target: TARGET, digest: parseDigest(digest) }));
});

test('blobs of other images stay, and the next pull fetches the image anew', async (t) => {
  const { run, mirror, registry } = await startLiveStore(t);
  // Of one seed: the first layer is the same.
  const [one, two] = [10, 20].map((size) => buildImage({ seed: 'pair', layers: [30_000, size] }));
  registry.addImage('org/pair', 'one', one!, { name: 'one' });
  registry.addImage('org/pair', 'two', two!, { name: 'two' });
  t.is(one!.layer(0).digest, two!.layer(0).digest);
  const pull = async (tag: string, { blobs }: typeof old): Promise<void> => {
    for (const path of [`manifests/${tag}`, ...blobs.map(({ digest }) => `blobs/${digest}`)]) {
      t.is((await get(`${mirror.url}/v2/org/pair/${path}`)).status, 200);
    }
    await mirror.idle();
  };
  await pull('one', one!);
  await pull('two', two!);
  const freed = size(one!.manifest, one!.config, one!.layer(1));
  const { stdout } = await run('rm', 'org/pair:one', '--json');
  const { released } = JSON.parse(stdout) as RemovalReport;
  t.deepEqual(released, { images: 1, blobs: 3, bytes: freed });
  registry.clear();
  await pull('two', two!);
  t.deepEqual(registry.conversation(), ['HEAD /v2/org/pair/manifests/two']);
  registry.clear();
  await pull('one', one!);
  t.deepEqual(registry.conversation(), [
    'HEAD /v2/org/pair/manifests/one',
    'GET /v2/org/pair/manifests/<one>',
    'GET /v2/org/pair/blobs/<one.config>',
    'GET /v2/org/pair/blobs/<one.layer1>',
  ]);
});

test('what is being pulled stays until that is done', async (t) => {
  const { run, mirror, registry } = await startLiveStore(t);
  const image = buildImage({ seed: 'slow', layers: [60_000] });
  registry.addImage('org/slow', 'v1', image);
  await get(`${mirror.url}/v2/org/slow/manifests/v1`);
  const gate = registry.hold(image.layer(0), { after: 1_000 });
  const pulling = get(`${mirror.url}/v2/org/slow/blobs/${image.layer(0).digest}`);
  await gate.arrived();
  t.deepEqual(
    await run('rm', 'org/slow:v1'),
    refused('hub.example/org/slow:v1 stays: it is being pulled; try again when that is done'),
  );
  gate.open();
  t.is((await pulling).status, 200);
  await mirror.idle();
  t.regex((await run('rm', 'org/slow:v1')).stdout, /^gone: .*, 2 blobs, /);
});

test('the journal knows what went: a catalog made anew has no trace of it', async (t) => {
  const { run, mirror, registry } = await startLiveStore(t);
  await run('rm', 'org/old:v0');
  await run('rm', 'org/app:v1');
  // When and how often it was pulled no file tells.
  const held = async () => {
    const { images } = JSON.parse((await run('ls', '--json')).stdout) as { images: ImageSummary[] };
    return images.map(({ image, tags, digest, bytes }) => ({ image, tags, digest, bytes }));
  };
  const before = await held();
  t.is(before.length, 2);
  await mirror.stop();
  await Store.rebuild({ ...mirror.config.store });
  t.deepEqual(await held(), before);
  const again = await startMirror(t, {
    storePath: mirror.storePath,
    upstreams: { 'hub.example': { url: registry.url } },
    offline: true,
  });
  t.is((await get(`${again.url}/v2/org/app/manifests/v1`)).status, 504);
  t.is((await get(`${again.url}/v2/org/app/manifests/latest`)).status, 200);
});
