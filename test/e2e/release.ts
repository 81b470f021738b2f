import { join } from 'node:path';
import { NATIVE_ARCHITECTURE } from './image-layout.ts';
import { addManifest, LayoutFiles, partsOf, type Descriptor } from './layout-files.ts';
import type { PublishedImage } from './published-image.ts';
import { publishReferrer, type Attachment } from './referrer.ts';
import type { World } from './world.ts';

const INDEX = 'application/vnd.oci.image.index.v1+json';
const CONFIG = 'application/vnd.oci.image.config.v1+json';
const IN_TOTO = 'application/vnd.in-toto+json';
const SIMPLE_SIGNING = 'application/vnd.dev.cosign.simplesigning.v1+json';
const SPDX = 'application/spdx+json';

interface IndexFields {
  readonly manifests: readonly (Descriptor & { readonly platform: { architecture: string } })[];
}

/** An image as a pipeline leaves it: built by BuildKit, signed by cosign, with an SBOM by ORAS. */
export interface Release {
  /** docker.io/library/app:1.1, an index of two platforms with an attestation for each. */
  readonly image: PublishedImage;
  /** Of the index, under a tag of cosign's naming. */
  readonly signature: Attachment;
  /** Of this machine's platform; its tag is the list that stands in for the referrers API. */
  readonly sbom: Attachment;
  /** The platform of the index that is not this machine's. */
  readonly otherPlatform: { readonly name: string; readonly digest: string };
}

/** Pushes it beside docker.io/library/app:1, from which it has its platforms. */
export async function publishRelease(world: World): Promise<Release> {
  const { netns, images, origin } = world;
  const { repository } = images.oci.byTag;
  const registry = `docker://${new URL(origin.url).host}/${repository}`;
  const layout = new LayoutFiles(join(netns.directory, 'release'));
  const copy = async (...args: string[]) =>
    netns.run('skopeo', 'copy', '--quiet', '--all', '--preserve-digests', ...args);
  await copy('--src-tls-verify=false', `${registry}:1`, `oci:${layout.path}:base`);
  const push = async (manifest: Descriptor, reference: string) =>
    copy('--dest-tls-verify=false', await layout.name(manifest, 'next'), registry + reference);

  const base = (await layout.read(images.oci.byDigest.reference)).toString();
  const platforms = (JSON.parse(base) as IndexFields).manifests;
  const native = platforms.find(({ platform }) => isNative(platform))!;
  const other = platforms.find(({ platform }) => !isNative(platform))!;
  const attestations = await Promise.all(platforms.map(async (each) => attest(layout, each)));
  const index = await layout.add(
    INDEX,
    JSON.stringify({
      schemaVersion: 2,
      mediaType: INDEX,
      manifests: [...platforms, ...attestations.map(({ entry }) => entry)],
    }),
  );
  await push(index, ':1.1');
  const signature = await sign(layout, index);
  await push(signature.manifest, `:${signature.tag}`);
  const content = JSON.stringify({ spdxVersion: 'SPDX-2.3', name: 'library/app' });
  const sbom = await publishReferrer(world, layout, native, { type: SPDX, content });

  const [, ...nativeParts] = images.oci.parts;
  const attested = attestations.find(({ subject }) => subject === native)!;
  const byTag = { ...images.oci.byTag, reference: '1.1' };
  const parts = [`manifests/${index.digest}`, ...nativeParts, ...attested.parts];
  return {
    image: { ...images.oci, byTag, byDigest: { ...byTag, reference: index.digest }, parts },
    signature,
    sbom,
    otherPlatform: { name: `linux/${other.platform.architecture}`, digest: other.digest },
  };
}

/** As BuildKit does it: one more manifest of the index, for no platform. */
async function attest(layout: LayoutFiles, subject: Descriptor) {
  const statement = JSON.stringify({
    _type: 'https://in-toto.io/Statement/v0.1',
    predicateType: 'https://slsa.dev/provenance/v0.2',
    subject: [{ digest: { sha256: subject.digest.replace('sha256:', '') } }],
  });
  const layer = await layout.add(IN_TOTO, statement);
  const rootfs = { type: 'layers', diff_ids: [layer.digest] };
  const nowhere = { architecture: 'unknown', os: 'unknown' };
  const config = await layout.add(CONFIG, JSON.stringify({ ...nowhere, config: {}, rootfs }));
  const manifest = await addManifest(layout, { config, layers: [layer] });
  const annotations = {
    'vnd.docker.reference.type': 'attestation-manifest',
    'vnd.docker.reference.digest': subject.digest,
  };
  const entry = { ...manifest, annotations, platform: nowhere };
  return { subject, entry, parts: partsOf(manifest, config, layer) };
}

async function sign(layout: LayoutFiles, subject: Descriptor): Promise<Attachment> {
  const content = JSON.stringify({
    critical: {
      identity: { 'docker-reference': 'docker.io/library/app' },
      image: { 'docker-manifest-digest': subject.digest },
      type: 'cosign container image signature',
    },
  });
  const layer = await layout.add(SIMPLE_SIGNING, content);
  const rootfs = { type: 'layers', diff_ids: [layer.digest] };
  const settings = { architecture: '', os: '', config: {}, rootfs };
  const config = await layout.add(CONFIG, JSON.stringify(settings));
  const annotations = { 'dev.cosignproject.cosign/signature': 'bm90IHJlYWxseQ==' };
  const layers = [{ ...layer, annotations }];
  const manifest = await addManifest(layout, { config, layers });
  const parts = partsOf(manifest, config, layer);
  const tag = `${subject.digest.replace(':', '-')}.sig`;
  return { tag, subject: subject.digest, manifest, parts, content, layer };
}

function isNative({ architecture }: { readonly architecture: string }): boolean {
  return architecture === NATIVE_ARCHITECTURE;
}
