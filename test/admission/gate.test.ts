import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { buildImage, buildIndex, fallbackIndex, fallbackTag } from '../helpers/image.ts';
import { createTempFolder } from '../helpers/mirror.ts';
import { parseDigest } from '../../src/oci/digest.ts';
import { parseRepository } from '../../src/oci/reference.ts';
import { unitOf } from '../../src/store/catalog/catalog.ts';
import { HOUR } from '../helpers/clock.ts';
import { idle, REPOSITORY, startScene, UPSTREAM } from '../helpers/scene.ts';
import { Scrape } from '../helpers/scrape.ts';
import { Authority, IDENTITY, ISSUER } from './signatures/authority.ts';
import { attachDocument } from './documents.ts';
import { codeOf, messageOf, restartOffline, startGuarded, type Guarded } from './guarded.ts';
import { attachBundle, KeyHolder, statementOf } from './signing.ts';

const AMD64 = { os: 'linux', architecture: 'amd64' };

/** Every way to a manifest and to what it lists; none may give a byte of it. */
async function refusesAll(t: ExecutionContext, scene: Guarded, when: string): Promise<void> {
  const { image, manifest, blob } = scene;
  for (const method of ['HEAD', 'GET']) {
    for (const reference of ['latest', image.manifest.digest]) {
      const answer = await manifest(reference, { method });
      t.is(answer.status, 403, `${when}: ${method} ${reference}`);
      t.is(answer.headers['docker-content-digest'], undefined);
      if (method === 'GET') t.is(codeOf(answer), 'DENIED');
    }
    for (const each of [...image.blobs, image.manifest]) {
      for (const headers of [{}, { range: 'bytes=0-9' }]) {
        const answer = await blob(each, { method, headers });
        t.is(answer.status, 403, `${when}: ${method} blob ${JSON.stringify(headers)}`);
      }
    }
  }
}

test('what nobody has signed leaves by no way: GET and HEAD, tag and digest, blob and range, cold, held, stale, offline', async (t) => {
  const scene = await startGuarded(t);
  const { registry, mirror } = scene;
  await refusesAll(t, scene, 'cold');
  await refusesAll(t, scene, 'held');
  t.false(registry.conversation().some((line) => line.includes('blobs/<app.layer')));
  await registry.refuse();
  await refusesAll(t, scene, 'stale');
  const { admission } = scene;
  const upstreams = { [UPSTREAM]: { url: registry.url } };
  t.is((await mirror.reload({ upstreams, admission, offline: true })).status, 200);
  await refusesAll(t, scene, 'offline');
});

for (const way of ['attach', 'attachByTag'] as const) {
  test(`what the key has signed is pulled in full: ${way}`, async (t) => {
    const scene = await startGuarded(t);
    const { registry, image, manifest, blob, signer } = scene;
    signer[way](registry, REPOSITORY, image.manifest);
    t.is((await blob(image.layer(0))).status, 403);
    t.is((await manifest('latest', { method: 'HEAD' })).status, 200);
    const pulled = await manifest('latest');
    t.is(pulled.status, 200);
    t.deepEqual(pulled.body, image.manifest.bytes);
    for (const each of image.blobs) t.deepEqual((await blob(each)).body, each.bytes);
  });
}

test('what is signed is pulled while the upstream is away, also after a restart', async (t) => {
  const storePath = await createTempFolder(t);
  const scene = await startGuarded(t, { storePath });
  const { registry, image, signer } = scene;
  signer.attach(registry, REPOSITORY, image.manifest);
  t.is((await scene.manifest('latest')).status, 200);
  t.is((await scene.blob(image.layer(0))).status, 200);
  const ask = await restartOffline(t, scene, storePath);
  t.is((await ask(`manifests/latest`)).status, 200);
  t.is((await ask(`blobs/${image.layer(0).digest}`)).status, 200);
  t.deepEqual(registry.requests, []);
});

for (const by of ['tag', 'digest']) {
  test(`pushed first and signed a minute later: refused, and admitted within thirty seconds, by ${by}`, async (t) => {
    // Lists are believed for an hour, but not those of an image that was refused.
    const tags = { ttlMs: HOUR, negativeTtlMs: HOUR };
    const { registry, image, manifest, signer, clock } = await startGuarded(t, { tags });
    const reference = by === 'tag' ? 'latest' : image.manifest.digest;
    const refused = await manifest(reference);
    t.is(refused.status, 403);
    t.regex(
      messageOf(refused),
      /admission\.rules\[0\] asks for a signature, and it has no signature/,
    );
    clock.advance(60_000);
    t.is((await manifest(reference)).status, 403);
    signer.attach(registry, REPOSITORY, image.manifest);
    t.is((await manifest(reference)).status, 403);
    clock.advance(30_000);
    t.is((await manifest(reference, { method: 'HEAD' })).status, 200);
    t.is((await manifest(reference)).status, 200);
  });
}

test('what was admitted is refused when its signature is neither here nor at the upstream any more', async (t) => {
  const { registry, image, mirror, manifest, signer } = await startGuarded(t);
  const carrier = signer.attach(registry, REPOSITORY, image.manifest);
  t.is((await manifest('latest')).status, 200);
  await mirror.idle();
  const target = { upstream: UPSTREAM, repository: parseRepository(REPOSITORY) };
  const { catalog } = mirror.server;
  await catalog.evict(unitOf(target, parseDigest(image.manifest.digest)));
  t.false(await catalog.isHeld({ target, digest: parseDigest(carrier.digest) }));
  registry.remove(carrier);
  t.is((await manifest('latest')).status, 403);
});

test('the signature of another key, of another image, and a broken one do not count', async (t) => {
  const { registry, image, manifest, signer } = await startGuarded(t);
  const other = buildImage({ seed: 'other', layers: [10] });
  new KeyHolder().attach(registry, REPOSITORY, image.manifest);
  new KeyHolder().attachByTag(registry, REPOSITORY, image.manifest);
  const parts = { repository: REPOSITORY, image: image.manifest };
  attachBundle(registry, { ...parts, bundle: signer.bundle(other.manifest) });
  attachBundle(registry, { ...parts, bundle: Buffer.from('{') });
  attachBundle(registry, {
    ...parts,
    bundle: signer.bundle(image.manifest, 'https://spdx.dev/Document'),
  });
  const answer = await manifest('latest');
  t.is(answer.status, 403);
  t.regex(messageOf(answer), /and 4 more signatures that do not count/);
});

test('an index that is signed admits what it lists, asked for by digest; of no other index', async (t) => {
  const { registry, image, manifest, blob, signer } = await startGuarded(t);
  const second = buildImage({ seed: 'second', layers: [10] });
  const index = buildIndex([{ image: second, platform: AMD64 }]);
  const unsigned = buildIndex([{ image, platform: AMD64 }]);
  registry.addIndex(REPOSITORY, 'multi', index);
  registry.addIndex(REPOSITORY, 'unsigned', unsigned);
  signer.attach(registry, REPOSITORY, index.manifest);
  // The index has to be here: nobody knows of it before.
  t.is((await manifest(second.manifest.digest)).status, 403);
  t.is((await manifest('multi')).status, 200);
  t.is((await manifest(second.manifest.digest)).status, 200);
  t.is((await blob(second.layer(0))).status, 200);
  t.is((await manifest('unsigned')).status, 403);
  t.is((await manifest(image.manifest.digest)).status, 403);
});

test('what is signed in one repository is not so in another, nor are its blobs', async (t) => {
  const { registry, image, ask, manifest, signer } = await startGuarded(t);
  signer.attach(registry, REPOSITORY, image.manifest);
  registry.addImage('team/copy', 'v1', image);
  t.is((await manifest('latest')).status, 200);
  t.is((await ask(`/v2/team/copy/manifests/v1`)).status, 403);
  t.is((await ask(`/v2/team/copy/blobs/${image.layer(0).digest}`)).status, 403);
});

test('signatures and lists of what is attached are served of an image that is refused; its other artifacts are not', async (t) => {
  const { registry, image, ask, manifest, blob, clock, signer } = await startGuarded(t);
  const stranger = new KeyHolder();
  const bundle = stranger.attach(registry, REPOSITORY, image.manifest);
  const classic = stranger.attachByTag(registry, REPOSITORY, image.manifest);
  const sbom = attachDocument(registry, { subject: image.manifest });
  t.is((await manifest('latest')).status, 403);
  t.is((await manifest(bundle.digest)).status, 200);
  t.is((await manifest(fallbackTag(image.manifest.digest))).status, 200);
  t.is((await manifest(`${fallbackTag(image.manifest.digest)}.sig`)).status, 200);
  t.is((await manifest(classic.digest)).status, 200);
  t.is((await ask(`/v2/${REPOSITORY}/referrers/${image.manifest.digest}`)).status, 200);
  const { layers } = JSON.parse(bundle.bytes.toString()) as { layers: [{ digest: string }] };
  t.is((await ask(`/v2/${REPOSITORY}/blobs/${layers[0].digest}`)).status, 200);
  t.is((await manifest(sbom.manifest.digest)).status, 403);
  t.is((await blob(sbom.layer)).status, 403);
  signer.attach(registry, REPOSITORY, image.manifest);
  clock.advance(30_000);
  t.is((await manifest(sbom.manifest.digest)).status, 200);
  t.is((await blob(sbom.layer)).status, 200);
});

test('the fallback tag of a registry without the API brings the signature', async (t) => {
  const { registry, image, manifest, signer } = await startGuarded(t, {
    registry: { referrers: 'none' },
  });
  const bundle = signer.attach(registry, REPOSITORY, image.manifest);
  const tags = [fallbackTag(image.manifest.digest)];
  registry.addManifest(REPOSITORY, fallbackIndex([bundle]), { tags });
  t.is((await manifest('latest')).status, 200);
});

test('audit lets everything pass, counts it, and tells what it would refuse', async (t) => {
  const { mirror, manifest, blob, image } = await startGuarded(t, { rule: { mode: 'audit' } });
  t.is((await manifest('latest')).status, 200);
  t.is((await blob(image.layer(0))).status, 200);
  await mirror.logged('a rule of admission would refuse this image');
  const told = mirror.log.find(({ msg }) => msg === 'a rule of admission would refuse this image');
  t.like(told, { rule: 'admission.rules[0]', reason: 'it has no signature' });
  await idle(mirror);
  const metrics = await Scrape.of(mirror.server.adminUrl);
  t.is(metrics.sum('admission_verdicts_total', { mode: 'audit', outcome: 'refused' }), 1);
});

test('off asks nothing, and a rule is about its images alone', async (t) => {
  const off = await startGuarded(t, { rule: { mode: 'off' } });
  t.is((await off.manifest('latest')).status, 200);
  const other = await startGuarded(t, { rule: { images: [`${UPSTREAM}/team/**`] } });
  t.is((await other.manifest('latest')).status, 200);
  for (const { registry } of [off, other]) {
    t.false(registry.conversation().some((line) => /referrers|sha256-/.test(line)));
  }
});

test('every rule about an image has to be met', async (t) => {
  const scene = await startGuarded(t);
  const { registry, image, mirror, admission, folder, signer, clock } = scene;
  const second = new KeyHolder();
  const keys = { ...admission.trust.keys, second: { file: second.writeKey(folder, 'second.pub') } };
  const [rule] = admission.rules;
  const rules = [rule!, { ...rule!, signedBy: [{ key: 'second' }] }];
  const upstreams = { [UPSTREAM]: { url: registry.url } };
  await mirror.reload({ upstreams, admission: { trust: { keys }, rules } });
  signer.attach(registry, REPOSITORY, image.manifest);
  t.regex(messageOf(await scene.manifest('latest')), /admission\.rules\[1\]/);
  second.attach(registry, REPOSITORY, image.manifest);
  clock.advance(30_000);
  t.is((await scene.manifest('latest')).status, 200);
});

test('another key in the file counts at once: what was admitted is refused', async (t) => {
  const scene = await startGuarded(t);
  const { registry, image, manifest, blob, signer, folder } = scene;
  signer.attach(registry, REPOSITORY, image.manifest);
  t.is((await manifest('latest')).status, 200);
  writeFileSync(join(folder, 'cosign.pub'), `${new KeyHolder().pem}\n`);
  t.is((await manifest('latest')).status, 403);
  t.is((await blob(image.layer(0))).status, 403);
  writeFileSync(join(folder, 'cosign.pub'), 'half a key');
  t.is((await manifest('latest')).status, 403);
});

test('who signs without a key is admitted by identity and issuer', async (t) => {
  const folder = await createTempFolder(t);
  const authority = await Authority.create();
  const trustedRoot = join(folder, 'trusted_root.json');
  writeFileSync(trustedRoot, JSON.stringify(authority.root));
  const rule = (identity: string, image: string) => ({
    images: [`${UPSTREAM}/${image}`],
    mode: 'enforce' as const,
    signedBy: [{ identity, issuer: ISSUER }],
  });
  const rules = [rule(IDENTITY, 'library/*'), rule('https://github.com/other/**', 'team/*')];
  const admission = { trust: { sigstore: { trustedRoot }, keys: {} }, rules };
  const { registry, image, manifest, ask } = await startScene(t, { admission });
  registry.addImage('team/app', 'v1', image);
  const signed = await authority.sign({ payload: statementOf(image.manifest) });
  const bundle = Buffer.from(JSON.stringify(signed));
  for (const repository of [REPOSITORY, 'team/app']) {
    attachBundle(registry, { repository, image: image.manifest, bundle });
  }
  t.is((await manifest('latest')).status, 200);
  const refused = await ask('/v2/team/app/manifests/v1');
  t.is(refused.status, 403);
  t.regex(messageOf(refused), /github\.com\/org\/app/);
});

test('an upstream that does not list what is attached: 503, and it is asked again', async (t) => {
  const { registry, image, manifest, signer, clock } = await startGuarded(t);
  signer.attach(registry, REPOSITORY, image.manifest);
  registry.status(/referrers/, 500, { times: 20 });
  const answer = await manifest('latest');
  t.is(answer.status, 503);
  t.is(answer.headers['retry-after'], '5');
  registry.heal();
  clock.advance(HOUR);
  t.is((await manifest('latest')).status, 200);
});

test('a client waits for twenty seconds from its request on, the fetch of the manifest among them', async (t) => {
  const { registry, image, manifest, signer, clock } = await startGuarded(t);
  signer.attach(registry, REPOSITORY, image.manifest);
  const fetching = registry.hold(image.manifest, { before: 'headers' });
  const judging = registry.hold(/referrers/, { before: 'headers' });
  const asked = manifest('latest');
  await fetching.arrived();
  clock.advance(20_000);
  fetching.open();
  const answer = await asked;
  t.is(answer.status, 503);
  t.regex(messageOf(answer), /still being found out/);
  judging.open();
  t.is((await manifest('latest')).status, 200);
});
