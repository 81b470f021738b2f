import test from 'ava';
import { buildImage, fallbackIndex, fallbackTag, MEDIA_TYPES } from '../helpers/image.ts';
import { REPOSITORY } from '../helpers/scene.ts';
import { attachDocument, type Attached } from './documents.ts';
import { startGuarded } from './guarded.ts';

const SIMPLE = 'application/vnd.dev.cosign.simplesigning.v1+json';
const TAR = Buffer.from('layer.txt\0\0\0');
const DISGUISES: Readonly<Record<string, Attached>> = {
  'layers of a signature that are none, with the config of an image': {
    configType: MEDIA_TYPES.config,
    layerType: SIMPLE,
    bytes: TAR,
  },
  'an empty list that has layers': {
    mediaType: '',
    layerType: MEDIA_TYPES.layer,
    extra: { manifests: [] },
  },
  'layers that only some readers see': {
    layerType: SIMPLE,
    extra: {
      Layers: [{ mediaType: MEDIA_TYPES.layer, digest: `sha256:${'a'.repeat(64)}`, size: 1 }],
    },
  },
  'a chart that is about the image': {
    configType: 'application/vnd.cncf.helm.config.v1+json',
    layerType: 'application/vnd.cncf.helm.chart.content.v1.tar+gzip',
  },
  'a layer about the image': { layerType: MEDIA_TYPES.layer },
};

for (const [name, parts] of Object.entries(DISGUISES)) {
  test(`${name}: it is judged as an image, and its layer stays`, async (t) => {
    const { registry, image, manifest, blob, signer } = await startGuarded(t);
    signer.attach(registry, REPOSITORY, image.manifest);
    t.is((await manifest('latest')).status, 200);
    const disguised = attachDocument(registry, { subject: image.manifest, ...parts });
    t.is((await manifest(disguised.manifest.digest)).status, 403);
    t.is((await blob(disguised.layer)).status, 403);
  });
}

test('a manifest that is refused leaves as no blob, whatever lists it as one', async (t) => {
  const { registry, image, manifest, blob } = await startGuarded(t);
  const { bytes } = image.manifest;
  registry.addBlob(REPOSITORY, image.manifest);
  t.is((await manifest('latest')).status, 403);
  const evidence = attachDocument(registry, { layerType: SIMPLE, bytes });
  t.is(evidence.layer.digest, image.manifest.digest);
  t.is((await manifest(evidence.manifest.digest)).status, 200);
  t.is((await blob(image.manifest)).status, 403);
});

test('an image that calls itself a signature, a list or an artifact of an image is none', async (t) => {
  const { registry, image, manifest, signer } = await startGuarded(t);
  signer.attach(registry, REPOSITORY, image.manifest);
  const type = 'application/vnd.dev.sigstore.bundle.v0.3+json';
  const options = { seed: 'x', layers: [10], artifactType: type, subject: image.manifest };
  const disguised = buildImage(options);
  registry.addImage(REPOSITORY, 'disguised', disguised);
  registry.tag(REPOSITORY, `${fallbackTag(image.manifest.digest)}.sig`, disguised.manifest);
  t.is((await manifest('disguised')).status, 403);
  t.is((await manifest(`${fallbackTag(image.manifest.digest)}.sig`)).status, 403);
  const list = fallbackIndex([disguised]);
  registry.addManifest(REPOSITORY, list, { tags: ['list'] });
  t.is((await manifest('list')).status, 200);
  t.is((await manifest(disguised.manifest.digest)).status, 403);
});
