import test from 'ava';
import { parsePublicKey } from '../../src/admission/signatures/signing-key.ts';
import { Sigstore } from '../../src/admission/signatures/sigstore.ts';
import { parseDigest } from '../../src/oci/digest.ts';
import { buildBlob, buildImage, descriptorOf, MEDIA_TYPES, store } from '../helpers/image.ts';
import { HOUR, MINUTE } from '../helpers/clock.ts';
import { createTempFolder } from '../helpers/mirror.ts';
import { REPOSITORY, startScene, UPSTREAM } from '../helpers/scene.ts';
import { MIN_AGE, startAged } from './aged.ts';
import { attachDocument } from './documents.ts';
import { startGuarded } from './guarded.ts';
import { startScanned } from './scanned.ts';
import { BUNDLE, KeyHolder } from './signing.ts';

const OTHER = 'library/other';
const SIMPLE = 'application/vnd.dev.cosign.simplesigning.v1+json';

test('what another repository has is no older here for being asked for as a blob', async (t) => {
  const { registry, manifest, blob, ask, clock } = await startAged(t);
  const stolen = buildImage({ seed: 'stolen', layers: [10] });
  registry.addImage(OTHER, 'latest', stolen);
  t.is((await ask(`/v2/${OTHER}/manifests/latest`)).status, 403);
  t.not((await blob(stolen.manifest)).status, 200);
  clock.advance(MIN_AGE);
  registry.addImage(REPOSITORY, 'latest', stolen);
  t.is((await manifest(stolen.manifest.digest)).status, 403);
  t.is((await ask(`/v2/${OTHER}/manifests/latest`)).status, 200);
});

test('a layer is served for one manifest that meets every rule, not for two that meet one each', async (t) => {
  const folder = await createTempFolder(t);
  const [ours, theirs] = [new KeyHolder(), new KeyHolder()];
  const keys = {
    ours: { file: ours.writeKey(folder, 'ours.pub') },
    theirs: { file: theirs.writeKey(folder, 'theirs.pub') },
  };
  const rules = ['ours', 'theirs'].map((key) => ({
    images: [`${UPSTREAM}/**`],
    mode: 'enforce' as const,
    signedBy: [{ key }],
  }));
  const scene = await startScene(t, { admission: { trust: { keys }, rules } });
  const { registry, manifest, blob } = scene;
  const shared = buildBlob('shared', 300, MEDIA_TYPES.layer);
  const [one, other] = ['one', 'other'].map((seed) => buildImage({ seed, layers: [shared] }));
  for (const image of [one!, other!]) registry.addImage(REPOSITORY, undefined, image);
  ours.attach(registry, REPOSITORY, one!.manifest);
  theirs.attach(registry, REPOSITORY, other!.manifest);
  for (const image of [one!, other!]) {
    t.is((await manifest(image.manifest.digest)).status, 403);
  }
  t.is((await blob(shared)).status, 403);
  theirs.attach(registry, REPOSITORY, one!.manifest);
  scene.clock.advance(MINUTE);
  t.is((await manifest(one!.manifest.digest)).status, 200);
  t.is((await blob(shared)).status, 200);
});

test('a layer of an image that may be pulled is served, however many that may not have it too', async (t) => {
  const { registry, manifest, blob, signer } = await startGuarded(t);
  const shared = buildBlob('shared', 300, MEDIA_TYPES.layer);
  const images = Array.from({ length: 70 }, (_, seed) => buildImage({ seed, layers: [shared] }));
  const last = images.toSorted((a, b) => (a.manifest.digest < b.manifest.digest ? 1 : -1))[0]!;
  signer.attach(registry, REPOSITORY, last.manifest);
  for (const image of images) registry.addImage(REPOSITORY, undefined, image);
  const pulls = images.map(async (image) => (await manifest(image.manifest.digest)).status);
  t.deepEqual(
    await Promise.all(pulls),
    images.map((image) => (image === last ? 200 : 403)),
  );
  t.is((await blob(shared)).status, 200);
});

test('a signature that goes on beyond what it says is left, and holds nobody up', async (t) => {
  const { registry, image, manifest, signer, clock } = await startGuarded(t, {
    leftovers: { partials: true },
  });
  const long = registry.addBlob(REPOSITORY, buildBlob('long', 3_000_000, BUNDLE));
  const layers = [{ ...descriptorOf(long), size: 10 }];
  const extra = { artifactType: BUNDLE, layers };
  attachDocument(registry, { subject: image.manifest, layerType: BUNDLE, extra });
  const gate = registry.hold(long, { after: 1_000_000, times: Infinity });
  t.is((await manifest('latest')).status, 403);
  const [asked] = await registry.seen(long);
  t.is(await asked?.finished, 'aborted');
  t.is(gate.waiting, 0);
  signer.attach(registry, REPOSITORY, image.manifest);
  clock.advance(MINUTE);
  t.is((await manifest('latest')).status, 200);
});

test('a signature is one also where another repository has lost a part of it', async (t) => {
  const { registry, image, manifest, signer, ask } = await startGuarded(t);
  const signature = signer.attachByTag(registry, REPOSITORY, image.manifest);
  registry.addManifest(OTHER, signature);
  t.is((await ask(`/v2/${OTHER}/manifests/${signature.digest}`)).status, 403);
  t.is((await manifest(signature.digest)).status, 200);
});

test('what a signature lists and is none leaves by no blob', async (t) => {
  const { registry, image, manifest, blob } = await startGuarded(t);
  registry.addBlob(REPOSITORY, image.manifest);
  for (const part of [image.manifest, ...image.blobs]) {
    const { bytes } = part;
    const evidence = attachDocument(registry, { layerType: SIMPLE, bytes });
    t.is((await manifest(evidence.manifest.digest)).status, 200);
    t.is((await blob(part)).status, 403);
  }
  const real = attachDocument(registry, { layerType: SIMPLE, bytes: '{"critical":{}}' });
  t.is((await manifest(real.manifest.digest)).status, 200);
  t.is((await blob(real.layer)).status, 200);
  t.is((await blob(store('{}'))).status, 200);
});

test('what a scanner said while the clock ran ahead does not outlive its age when the clock is set right', async (t) => {
  const { scanner, manifest, clock } = await startScanned(t);
  clock.setBack(-1_000 * HOUR);
  t.is((await manifest('latest')).status, 200);
  clock.setBack(1_000 * HOUR);
  scanner.onMetadata = (response) => response.writeHead(500).end();
  clock.advance(25 * HOUR);
  t.is((await manifest('latest')).status, 403);
});

test('what is long is read when it is known who signed it: a list without end, and the statement of a stranger', async (t) => {
  const [ours, stranger] = [new KeyHolder(), new KeyHolder()];
  const sigstore = new Sigstore({
    root: undefined,
    keys: new Map([['ours', parsePublicKey(ours.pem)]]),
  });
  const { bytes: manifest, digest } = buildImage({ seed: 'app', layers: [] }).manifest;
  const image = { manifest, digest: parseDigest(digest) };
  const asked = { image, kind: 'attestation', signers: [{ kind: 'key', key: 'ours' }] } as const;
  const codeOf = (bundle: Buffer): unknown => {
    const found = sigstore.verifyBundle(bundle, asked);
    return 'code' in found ? found.code : 'counts';
  };
  const other = store('another');
  const long = 'https://example.com/'.padEnd(100_000, 'x');
  t.is(codeOf(stranger.bundle(other, 'https://example.com/')), 'predicate-type');
  t.is(codeOf(stranger.bundle(other, long)), 'signature');
  t.is(codeOf(ours.bundle(other, long)), 'predicate-type');
  const { mediaType } = store('', BUNDLE);
  const endless = { mediaType, list: Array.from({ length: 20_000 }, () => 1) };
  const found = sigstore.verifyBundle(Buffer.from(JSON.stringify(endless)), asked);
  t.regex('reason' in found ? found.reason : '', /parts/);
});
