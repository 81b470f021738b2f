import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { parseDigest } from '../../src/oci/digest.ts';
import { parseRepository } from '../../src/oci/reference.ts';
import { unitOf } from '../../src/store/catalog/catalog.ts';
import { get, type ClientAnswer } from '../helpers/client.ts';
import { HOUR, MINUTE } from '../helpers/clock.ts';
import { buildImage, buildIndex } from '../helpers/image.ts';
import { createTempFolder, startMirror } from '../helpers/mirror.ts';
import { REPOSITORY, startScene, UPSTREAM } from '../helpers/scene.ts';
import { rule, syncConfig } from '../sync/rules.ts';
import { MIN_AGE, startAged, type Aged } from './aged.ts';
import { codeOf, messageOf, startGuarded, type AdmissionConfig } from './guarded.ts';
import { Authority, IDENTITY, ISSUER } from './signatures/authority.ts';
import { attachBundle, statementOf } from './signing.ts';

const TARGET = { upstream: UPSTREAM, repository: parseRepository(REPOSITORY) };

function refusesAsYoung(t: ExecutionContext, answer: ClientAnswer, until: string): void {
  t.is(answer.status, 403);
  t.is(codeOf(answer), 'DENIED');
  const [, told] =
    /admission\.rules\[0\] asks for an age, .* passes at (\S+);/.exec(messageOf(answer)) ?? [];
  t.is(told, until);
}

async function evict(t: ExecutionContext, { mirror, image }: Aged): Promise<void> {
  await mirror.idle();
  const digest = parseDigest(image.manifest.digest);
  const { catalog } = mirror.server;
  await catalog.evict(unitOf(TARGET, digest));
  t.false(await catalog.isHeld({ target: TARGET, digest }));
}

/** The rule asks for a signature without a key as well; `sign` attaches one to the image. */
async function startWitnessed(t: ExecutionContext) {
  const folder = await createTempFolder(t);
  const authority = await Authority.create();
  const trustedRoot = join(folder, 'trusted_root.json');
  writeFileSync(trustedRoot, JSON.stringify(authority.root));
  const signedBy = [{ identity: IDENTITY, issuer: ISSUER }];
  const rules = [{ images: ['**'], mode: 'enforce' as const, signedBy, minAge: MIN_AGE }];
  const admission: AdmissionConfig = { trust: { sigstore: { trustedRoot }, keys: {} }, rules };
  const scene = await startScene(t, { admission });
  const { manifest: image } = scene.image;
  const sign = async (who: Authority, laterMs = 0): Promise<void> => {
    const signed = await who.sign({ payload: statementOf(image), laterMs });
    const bundle = Buffer.from(JSON.stringify(signed));
    attachBundle(scene.registry, { repository: REPOSITORY, image, bundle });
  };
  return { ...scene, authority, sign };
}

test('what is too young leaves by no way, and the hour is told at which it passes', async (t) => {
  const { image, manifest, blob, clock } = await startAged(t);
  const { digest } = image.manifest;
  const passesAt = '2030-01-03T00:00Z';
  for (const wait of [0, HOUR, MIN_AGE - HOUR - 1]) {
    clock.advance(wait);
    for (const reference of ['latest', digest]) {
      refusesAsYoung(t, await manifest(reference), passesAt);
      t.is((await manifest(reference, { method: 'HEAD' })).status, 403);
    }
    t.is((await blob(image.layer(0))).status, 403);
  }
  clock.advance(1);
  for (const reference of ['latest', digest]) t.is((await manifest(reference)).status, 200);
  t.is((await blob(image.layer(0))).status, 200);
});

test('the age is of the digest: what was seen by digest is as old by a tag, and not in another repository', async (t) => {
  const { registry, image, manifest, ask, clock } = await startAged(t);
  t.is((await manifest(image.manifest.digest, { method: 'HEAD' })).status, 403);
  clock.advance(MIN_AGE);
  t.is((await manifest('latest')).status, 200);
  registry.addImage('team/app', 'latest', image);
  t.is((await ask(`/v2/team/app/manifests/latest`)).status, 403);
});

test('what sync brought is as old as its run, though nobody has asked for it', async (t) => {
  const rules = [rule(REPOSITORY, { tags: { names: ['latest'] } })];
  const { registry, mirror, image, manifest, clock } = await startAged(t, {
    sync: syncConfig(rules),
  });
  const headers = { 'content-type': 'application/json' };
  await get(`${mirror.server.adminUrl}/api/v1/sync/run`, { method: 'POST', headers });
  await registry.seen(image.layer(1));
  await mirror.idle();
  clock.advance(MIN_AGE);
  t.is((await manifest('latest')).status, 200);
});

test('an index that is old enough admits what it lists, which nobody has asked for before', async (t) => {
  const { registry, manifest, blob, clock } = await startAged(t);
  const image = buildImage({ seed: 'amd64', layers: [500] });
  const index = buildIndex([{ image, platform: { os: 'linux', architecture: 'amd64' } }]);
  registry.addIndex(REPOSITORY, 'multi', index);
  t.is((await manifest('multi')).status, 403);
  clock.advance(MIN_AGE);
  t.is((await manifest(image.manifest.digest)).status, 200);
  t.is((await blob(image.layer(0))).status, 200);
  t.is((await manifest('multi')).status, 200);
});

test('neither an eviction nor a restart makes an image young again', async (t) => {
  const storePath = await createTempFolder(t);
  const scene = await startAged(t, { storePath });
  const { registry, mirror, image, manifest, clock, admission } = scene;
  t.is((await manifest('latest')).status, 403);
  clock.advance(HOUR);
  await evict(t, scene);
  refusesAsYoung(t, await manifest('latest'), '2030-01-03T00:00Z');
  await evict(t, scene);
  await mirror.stop();
  clock.advance(MIN_AGE - HOUR);
  const upstreams = { [UPSTREAM]: { url: registry.url } };
  const next = await startMirror(t, { upstreams, storePath, admission, clock });
  const path = `/v2/${REPOSITORY}/manifests/${image.manifest.digest}`;
  t.is((await get(`${next.url}${path}`)).status, 200);
});

test('what was here before there was a rule is as old as it is', async (t) => {
  const { registry, mirror, manifest, clock } = await startScene(t);
  t.is((await manifest('latest')).status, 200);
  clock.advance(MIN_AGE - MINUTE);
  const rules = [{ images: ['**'], mode: 'enforce' as const, minAge: MIN_AGE }];
  const upstreams = { [UPSTREAM]: { url: registry.url } };
  await mirror.reload({ upstreams, admission: { trust: { keys: {} }, rules } });
  refusesAsYoung(t, await manifest('latest'), '2030-01-03T00:00Z');
  clock.advance(MINUTE);
  t.is((await manifest('latest')).status, 200);
});

test('a clock that is set forward admits for as long as it runs ahead, and one that is set back refuses', async (t) => {
  const { manifest, clock } = await startAged(t);
  t.is((await manifest('latest')).status, 403);
  clock.setBack(-MIN_AGE);
  t.is((await manifest('latest')).status, 200);
  clock.setBack(MIN_AGE);
  t.is((await manifest('latest')).status, 403);
  clock.advance(MIN_AGE);
  t.is((await manifest('latest')).status, 200);
  clock.setBack(1000 * HOUR);
  t.is((await manifest('latest')).status, 403);
});

test('what was first seen by a clock that ran ahead waits for its age in one run, and not for that hour', async (t) => {
  const { manifest, clock } = await startAged(t);
  clock.setBack(-10_000 * HOUR);
  t.is((await manifest('latest')).status, 403);
  clock.setBack(10_000 * HOUR);
  t.is((await manifest('latest')).status, 403);
  clock.advance(MIN_AGE - 1);
  t.is((await manifest('latest')).status, 403);
  clock.advance(1);
  t.is((await manifest('latest')).status, 200);
});

test('a signature that counts tells the age by its witness, and none by a key alone', async (t) => {
  const byKey = await startGuarded(t, { rule: { minAge: MIN_AGE } });
  byKey.signer.attach(byKey.registry, REPOSITORY, byKey.image.manifest);
  refusesAsYoung(t, await byKey.manifest('latest'), '2030-01-03T00:00Z');
  const { authority, manifest, sign, clock } = await startWitnessed(t);
  await sign(await Authority.create());
  t.is((await manifest('latest')).status, 403);
  await sign(authority);
  clock.advance(MINUTE);
  t.is((await manifest('latest')).status, 200);
  clock.setBack(clock.wall() - authority.at - MIN_AGE / 2);
  t.is((await manifest('latest')).status, 403);
});

test('of several signatures the one that was seen first tells the age', async (t) => {
  const { authority, manifest, sign, clock } = await startWitnessed(t);
  for (const laterMs of [5, 4, 0, 5, 4].map((minutes) => minutes * MINUTE)) {
    await sign(authority, laterMs);
  }
  clock.setBack(clock.wall() - authority.at - MIN_AGE + MINUTE);
  t.is((await manifest('latest')).status, 403);
  clock.advance(2 * MINUTE);
  t.is((await manifest('latest')).status, 200);
});

test('audit serves what is too young, and tells of it', async (t) => {
  const { mirror, manifest } = await startAged(t, { mode: 'audit' });
  t.is((await manifest('latest')).status, 200);
  await mirror.logged('a rule of admission would refuse this image');
  const told = mirror.log.find(({ msg }) => msg === 'a rule of admission would refuse this image');
  t.regex(String(told?.['reason']), /passes at 2030-01-03T00:00Z/);
});
