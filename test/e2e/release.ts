import { join } from 'node:path';
import { NATIVE_ARCHITECTURE } from './image-layout.ts';
import { LayoutFiles } from './layout-files.ts';
import type { Descriptor } from './layout-files.ts';
import type { PublishedImage } from './published-image.ts';
import type { World } from './world.ts';

const PUT = join(import.meta.dirname, 'put.ts');

const INDEX = 'application/vnd.oci.image.index.v1+json';
const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const CONFIG = 'application/vnd.oci.image.config.v1+json';
const EMPTY = 'application/vnd.oci.empty.v1+json';
const IN_TOTO = 'application/vnd.in-toto+json';
const SIMPLE_SIGNING = 'application/vnd.dev.cosign.simplesigning.v1+json';
const SPDX = 'application/spdx+json';

interface IndexFields {
  readonly manifests: readonly (Descriptor & { readonly platform: { architecture: string } })[];
}

/** What is about an image and no part of it: a manifest with one layer. */
export interface Attachment {
  /** By which its registry finds it. */
  readonly tag: string;
  readonly subject: string;
  readonly manifest: Descriptor;
  /** As `manifests/…` and `blobs/…`. */
  readonly parts: readonly string[];
  /** The bytes of its layer, and what they are called. */
  readonly content: string;
  readonly layer: Descriptor;
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
export async function publishRelease({ netns, images, origin }: World): Promise<Release> {
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
  const { sbom, list } = await describeContents(layout, native);
  await push(sbom.manifest, `@${sbom.manifest.digest}`);
  // skopeo writes lists anew, and without the types of artifacts.
  const url = `${origin.url}/v2/${repository}/manifests/${sbom.tag}`;
  await netns.run(process.execPath, PUT, url, list.mediaType, layout.file(list.digest));

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

/** An SBOM that names its subject, and the list of the subject's referrers. */
async function describeContents(
  layout: LayoutFiles,
  { mediaType, digest, size }: Descriptor,
): Promise<{ sbom: Attachment; list: Descriptor }> {
  const content = JSON.stringify({ spdxVersion: 'SPDX-2.3', name: 'library/app' });
  const layer = await layout.add(SPDX, content);
  const config = await layout.add(EMPTY, '{}');
  const subject = { mediaType, digest, size };
  const manifest = await addManifest(layout, {
    artifactType: SPDX,
    config,
    layers: [layer],
    subject,
  });
  const listed = { ...manifest, artifactType: SPDX };
  const fields = { schemaVersion: 2, mediaType: INDEX, manifests: [listed] };
  const list = await layout.add(INDEX, JSON.stringify(fields));
  const parts = partsOf(manifest, config, layer);
  const tag = digest.replace(':', '-');
  return { sbom: { tag, subject: digest, manifest, parts, content, layer }, list };
}

async function addManifest(layout: LayoutFiles, fields: object): Promise<Descriptor> {
  const manifest = { schemaVersion: 2, mediaType: MANIFEST, ...fields };
  return layout.add(MANIFEST, JSON.stringify(manifest));
}

function partsOf(manifest: Descriptor, ...blobs: readonly Descriptor[]): string[] {
  return [`manifests/${manifest.digest}`, ...blobs.map(({ digest }) => `blobs/${digest}`)];
}

function isNative({ architecture }: { readonly architecture: string }): boolean {
  return architecture === NATIVE_ARCHITECTURE;
}
