import test, { type ExecutionContext } from 'ava';
import { rmSync, symlinkSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import type { SyncStatus } from '../../../src/api/sync-api.ts';
import { get } from '../../helpers/client.ts';
import { HOUR } from '../../helpers/clock.ts';
import { fallbackIndex, fallbackTag } from '../../helpers/image.ts';
import { createTempFolder } from '../../helpers/mirror.ts';
import { REPOSITORY, UPSTREAM } from '../../helpers/scene.ts';
import { until } from '../../helpers/until.ts';
import { rule, syncConfig } from '../../sync/rules.ts';
import { codeOf, messageOf, restartOffline } from '../guarded.ts';
import { KeyHolder } from '../signing.ts';
import { issue, rootOf, seal, targetOf } from './forger.ts';
import {
  attachEnvelope,
  PLAIN,
  startNotation,
  writeStore,
  type NotationScene,
} from './notation-scene.ts';
import { envelopeOf, MADE_AT, STORES, type Form } from './signed-by-notation.ts';

const FORGER = 'x509.subject: C=US, ST=WA, O=Forgery';
const LONG = Date.UTC(2100, 0, 1);

/** Every way to the image that Notation signed and to what it lists. */
async function statuses({ manifest, blob, signed }: NotationScene): Promise<number[]> {
  const found: number[] = [];
  for (const method of ['HEAD', 'GET']) {
    for (const reference of ['signed', signed.manifest.digest]) {
      found.push((await manifest(reference, { method })).status);
    }
    found.push((await blob(signed.layer, { method })).status);
    const headers = { range: 'bytes=0-1' };
    const part = await blob(signed.layer, { method, headers });
    found.push(part.status === 206 ? 200 : part.status);
  }
  return [...new Set(found)];
}

async function reload(scene: NotationScene, options: object): Promise<number> {
  const upstreams = { [UPSTREAM]: { url: scene.registry.url } };
  const { admission } = scene;
  return (await scene.mirror.reload({ upstreams, admission, ...options })).status;
}

async function holdsEverywhere(t: ExecutionContext, scene: NotationScene, status: number) {
  t.deepEqual(await statuses(scene), [status]);
  await scene.mirror.idle();
  await scene.registry.refuse();
  t.deepEqual(await statuses(scene), [status]);
  t.is(await reload(scene, { offline: true }), 200);
  t.deepEqual(await statuses(scene), [status]);
}

for (const form of ['jws', 'cose'] as const satisfies readonly Form[]) {
  test(`what Notation signed leaves in full: GET and HEAD, tag and digest, blobs, stale, offline: ${form}`, async (t) => {
    const scene = await startNotation(t);
    const { registry, signed } = scene;
    attachEnvelope(registry, signed.manifest, envelopeOf('plain', form), { form });
    await holdsEverywhere(t, scene, 200);
  });

  test(`what somebody else signed leaves by no way, and the signature does: ${form}`, async (t) => {
    const scene = await startNotation(t, { identities: [PLAIN.replace('plain', 'release')] });
    const { registry, signed, manifest, ask } = scene;
    const carrier = attachEnvelope(registry, signed.manifest, envelopeOf('plain', form), { form });
    const refused = await manifest('signed');
    t.is(codeOf(refused), 'DENIED');
    t.regex(messageOf(refused), /CN=plain.* signed it/);
    t.is((await manifest(carrier.digest)).status, 200);
    const { layers } = JSON.parse(carrier.bytes.toString()) as { layers: [{ digest: string }] };
    t.is((await ask(`/v2/${REPOSITORY}/blobs/${layers[0].digest}`)).status, 200);
    t.is((await ask(`/v2/${REPOSITORY}/referrers/${signed.manifest.digest}`)).status, 200);
    await holdsEverywhere(t, scene, 403);
  });
}

test('a signature that Notation attaches by the fallback tag counts', async (t) => {
  const { registry, signed, manifest, clock } = await startNotation(t, {
    registry: { referrers: 'none' },
  });
  const carrier = attachEnvelope(registry, signed.manifest, envelopeOf('plain', 'jws'));
  t.is((await manifest('signed')).status, 403);
  const tags = [fallbackTag(signed.manifest.digest)];
  registry.addManifest(REPOSITORY, fallbackIndex([carrier]), { tags });
  clock.advance(31_000);
  t.is((await manifest('signed')).status, 200);
});

test('what is signed is pulled offline after a restart', async (t) => {
  const storePath = await createTempFolder(t);
  const scene = await startNotation(t, { storePath });
  const { registry, signed } = scene;
  attachEnvelope(registry, signed.manifest, envelopeOf('plain', 'cose'), { form: 'cose' });
  t.deepEqual(await statuses(scene), [200]);
  const ask = await restartOffline(t, scene, storePath);
  t.is((await ask('manifests/signed')).status, 200);
  t.is((await ask(`blobs/${signed.layer.digest}`)).status, 200);
  t.deepEqual(registry.requests, []);
});

test('what was admitted counts until its signature or certificate ends, not a second longer', async (t) => {
  for (const [name, leftMs] of [
    ['ending', 24 * HOUR],
    ['expired', 60_000],
  ] as const) {
    const scene = await startNotation(t, { identities: [PLAIN.replace(', CN=plain', '')] });
    const { registry, signed, manifest, clock } = scene;
    clock.setBack(clock.wall() - MADE_AT);
    attachEnvelope(registry, signed.manifest, envelopeOf(name, 'jws'));
    t.is((await manifest('signed')).status, 200);
    clock.advance(leftMs - 1000);
    t.is((await manifest('signed')).status, 200);
    // It was signed up to two seconds after the certificates were made.
    clock.advance(4000);
    t.is((await manifest('signed')).status, 403, name);
  }
});

test('the stores are read again when anything in them changes, and stay as they were while they cannot be', async (t) => {
  const scene = await startNotation(t, { identities: [FORGER] });
  const { registry, image, manifest, stores, clock, mirror } = scene;
  const root = await issue({ subject: 'CN=Root', isCa: true, until: LONG });
  const signer = await issue({ issuer: root, until: LONG });
  const forgery = { target: targetOf(image.manifest.bytes) };
  attachEnvelope(registry, image.manifest, seal('jws', signer, forgery));
  const status = async (): Promise<number> => {
    const { status: found } = await manifest('latest');
    clock.advance(31_000);
    return found;
  };
  t.is(await status(), 403);
  writeStore(stores, 'ca/new/root.crt', rootOf(root).der);
  t.is(await status(), 200, 'another folder');
  writeStore(stores, 'ca/new/root.crt', STORES.ca['ours']!);
  t.is(await status(), 403, 'another certificate in the file');
  writeStore(stores, 'ca/new/more.cer', rootOf(root).der);
  t.is(await status(), 200, 'one more file');
  writeStore(stores, 'ca/new/broken.pem', 'no certificate');
  t.is(await status(), 200, 'a broken file beside it');
  await mirror.logged('whose signatures count stays as it was');
  rmSync(join(stores, 'x509/ca/new/more.cer'));
  t.is(await status(), 200, 'still broken');
  unlinkSync(join(stores, 'x509/ca/new/broken.pem'));
  t.is(await status(), 403, 'whole again');
  await mirror.logged('whose signatures count is read again');
  writeStore(stores, 'ca/..data/root.pem', rootOf(root).der);
  writeStore(stores, 'ca/new/notes.txt', rootOf(root).der);
  t.is(await status(), 403, 'hidden folders and other files are passed over');
  writeStore(stores, 'elsewhere/root.pem', rootOf(root).der);
  symlinkSync(join(stores, 'x509/elsewhere/root.pem'), join(stores, 'x509/ca/new/linked.pem'));
  t.is(await status(), 200, 'links are followed');
  rmSync(join(stores, 'x509/ca'), { recursive: true });
  t.is(await status(), 403, 'no folder of the type');
});

test('sync brings what Notation signed with its signature: ready, and pulled offline', async (t) => {
  const rules = [rule(REPOSITORY, { tags: { names: ['latest', 'signed'] }, referrers: false })];
  const scene = await startNotation(t, { sync: syncConfig(rules) });
  const { registry, mirror, signed, manifest, blob } = scene;
  attachEnvelope(registry, signed.manifest, envelopeOf('plain', 'cose'), { form: 'cose' });
  const headers = { 'content-type': 'application/json' };
  const url = `${mirror.server.adminUrl}/api/v1/sync`;
  await get(`${url}/run`, { method: 'POST', headers, body: '{}' });
  const { images } = await until('both are here', async () => {
    const status = JSON.parse(String((await get(url)).body)) as SyncStatus;
    const isWhole = status.images.every(({ missing, bytes }) => bytes > 0 && missing.length === 0);
    const isReady = status.images.some(({ state }) => state === 'ready');
    return status.images.length === 2 && isWhole && isReady ? status : undefined;
  });
  t.deepEqual(images.map(({ tag, state }) => `${String(tag)} ${state}`).toSorted(), [
    'latest partial',
    'signed ready',
  ]);
  await mirror.idle();
  await registry.refuse();
  t.is(await reload(scene, { offline: true }), 200);
  t.is((await manifest('signed')).status, 200);
  t.is((await blob(signed.layer)).status, 200);
  t.is((await manifest('latest')).status, 403);
});

test('fifty signatures of strangers do not hide the one that counts', async (t) => {
  const { registry, signed, manifest } = await startNotation(t);
  for (let each = 0; each < 50; each += 1) {
    attachEnvelope(registry, signed.manifest, Buffer.from(`{"payload":${each}}`));
  }
  attachEnvelope(registry, signed.manifest, envelopeOf('plain', 'jws'));
  t.is((await manifest('signed')).status, 200);
});

test('an envelope of more than a mebibyte is not fetched', async (t) => {
  const { registry, signed, manifest } = await startNotation(t);
  const envelope = Buffer.concat([envelopeOf('plain', 'jws'), Buffer.alloc(2 ** 20, ' ')]);
  attachEnvelope(registry, signed.manifest, envelope);
  t.is((await manifest('signed')).status, 403);
  t.regex(messageOf(await manifest('signed')), /it has no signature/);
});

test('at the level audit whoever signed counts, and the log tells what strict would refuse', async (t) => {
  const scene = await startNotation(t, { level: 'audit' });
  const { registry, image, signed, manifest, mirror } = scene;
  attachEnvelope(registry, signed.manifest, envelopeOf('alone', 'jws'));
  t.is((await manifest('signed')).status, 200);
  const message = 'a signature counts by its level that would not count strictly';
  await mirror.logged(message);
  t.regex(
    String(mirror.log.find(({ msg }) => msg === message)?.['reason']),
    /CN=alone.* signed it/,
  );
  t.is((await manifest('latest')).status, 403);
  attachEnvelope(registry, image.manifest, envelopeOf('plain', 'jws'));
  t.is((await manifest(image.manifest.digest)).status, 403);
});

test('a rule may name keys beside Notation: one of them is enough, and others are not fetched', async (t) => {
  const folder = await createTempFolder(t);
  const holder = new KeyHolder();
  const scene = await startNotation(t, { more: [{ key: 'release' }] });
  const keys = { release: { file: holder.writeKey(folder) } };
  const admission = { ...scene.admission, trust: { ...scene.admission.trust, keys } };
  t.is(await reload(scene, { admission }), 200);
  const { registry, image, signed, manifest } = scene;
  holder.attach(registry, REPOSITORY, image.manifest);
  attachEnvelope(registry, signed.manifest, envelopeOf('plain', 'cose'), { form: 'cose' });
  t.is((await manifest('latest')).status, 200);
  t.is((await manifest('signed')).status, 200);

  const alone = await startNotation(t);
  const bundle = holder.attach(alone.registry, REPOSITORY, alone.signed.manifest);
  attachEnvelope(alone.registry, alone.signed.manifest, envelopeOf('plain', 'jws'));
  t.is((await alone.manifest('signed')).status, 200);
  t.false(alone.registry.requests.some(({ path }) => path.includes(bundle.digest)));
});
