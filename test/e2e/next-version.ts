import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describeFiles } from './file-tree.ts';
import { NATIVE_ARCHITECTURE } from './image-layout.ts';
import { LayoutFiles, type Descriptor } from './layout-files.ts';
import type { PublishedImage } from './published-image.ts';
import type { World } from './world.ts';

const INDEX = 'application/vnd.oci.image.index.v1+json';
const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const CONFIG = 'application/vnd.oci.image.config.v1+json';
const NAME = 'org.opencontainers.image.ref.name';

interface IndexFields {
  readonly manifests: readonly (Descriptor & {
    readonly platform?: { readonly architecture: string };
    readonly annotations?: Readonly<Record<string, string>>;
  })[];
}

interface ManifestFields {
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
}

interface ConfigFields {
  readonly rootfs: { readonly diff_ids: readonly string[] };
  readonly history: readonly object[];
}

interface Version {
  readonly image: PublishedImage;
  /** What the version before has not: index, manifest, config and one layer, each digest with its size. */
  readonly changed: readonly { readonly digest: string; readonly size: number }[];
}

/**
 * The image of this machine's platform gets another last layer, the one of the other platform stays;
 * the tag `as` means the new index from now on, be it the tag of the version before or another one.
 */
export async function publishNextVersion(
  { netns, origin }: Pick<World, 'netns' | 'origin'>,
  before: PublishedImage,
  { name, as }: { readonly name: string; readonly as: string },
): Promise<Version> {
  const { repository } = before.byTag;
  const registry = `docker://${new URL(origin.url).host}/${repository}`;
  const layout = new LayoutFiles(join(netns.directory, name));
  const copy = async (...args: string[]) =>
    netns.run('skopeo', 'copy', '--quiet', '--all', '--preserve-digests', ...args);
  const source = `${registry}@${before.byDigest.reference}`;
  await copy('--src-tls-verify=false', source, `oci:${layout.path}:before`);

  const index = await readJson<IndexFields>(layout, before.byDigest.reference);
  const native = index.manifests.find(
    ({ platform }) => platform?.architecture === NATIVE_ARCHITECTURE,
  )!;
  const work = await layout.name(await withoutLastLayer(layout, native.digest), 'work');
  const image = work.replace('oci:', '');
  await mkdir(join(netns.directory, `${name}-files`));
  const file = join(netns.directory, `${name}-files`, 'last');
  await writeFile(file, name);
  await netns.run('umoci', 'insert', '--image', image, file, '/srv/last');
  await netns.run('umoci', 'unpack', '--image', image, join(netns.directory, `${name}-bundle`));

  const { mediaType, digest, size } = await named(layout, 'work');
  const replaced = { mediaType, digest, size, platform: native.platform };
  const manifests = index.manifests.map((each) => (each === native ? replaced : each));
  const next = await layout.add(INDEX, JSON.stringify({ ...index, manifests }));
  const destination = `${registry}:${as}`;
  await copy('--dest-tls-verify=false', await layout.name(next, 'next'), destination);

  const { config, layers } = await readJson<ManifestFields>(layout, digest);
  const blobs = [config, ...layers];
  const isNew = (blob: Descriptor): boolean => !before.allParts.includes(`blobs/${blob.digest}`);
  const others = before.allParts.filter(
    (part) => part !== `manifests/${before.byDigest.reference}` && !before.parts.includes(part),
  );
  const parts = [next, replaced]
    .map((manifest) => `manifests/${manifest.digest}`)
    .concat(blobs.map((blob) => `blobs/${blob.digest}`));
  return {
    image: {
      byTag: { ...before.byTag, reference: as },
      byDigest: { ...before.byTag, reference: next.digest },
      files: await describeFiles(join(netns.directory, `${name}-bundle`, 'rootfs')),
      parts,
      bytes: blobs.reduce((sum, blob) => sum + blob.size, 0),
      allParts: [...new Set([...parts, ...others])],
    },
    changed: [next, replaced, ...blobs.filter(isNew)].map((each) => ({
      digest: each.digest,
      size: each.size,
    })),
  };
}

async function withoutLastLayer(layout: LayoutFiles, digest: string): Promise<Descriptor> {
  const manifest = await readJson<ManifestFields>(layout, digest);
  const fields = await readJson<ConfigFields>(layout, manifest.config.digest);
  const rootfs = { ...fields.rootfs, diff_ids: fields.rootfs.diff_ids.slice(0, -1) };
  const history = fields.history.slice(0, -1);
  const config = await layout.add(CONFIG, JSON.stringify({ ...fields, rootfs, history }));
  const layers = manifest.layers.slice(0, -1);
  return layout.add(MANIFEST, JSON.stringify({ ...manifest, config, layers }));
}

async function named(layout: LayoutFiles, name: string): Promise<Descriptor> {
  const text = await readFile(join(layout.path, 'index.json'), 'utf8');
  const { manifests } = JSON.parse(text) as IndexFields;
  return manifests.find(({ annotations }) => annotations?.[NAME] === name)!;
}

async function readJson<Fields>(layout: LayoutFiles, digest: string): Promise<Fields> {
  return JSON.parse((await layout.read(digest)).toString()) as Fields;
}
