import { createHash } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

export interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

const NAME = 'org.opencontainers.image.ref.name';
const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';

interface LayoutIndex {
  readonly manifests: readonly { readonly annotations?: Readonly<Record<string, string>> }[];
}

/** The files of an OCI image layout, written by hand: what no tool makes, skopeo can push from it. */
export class LayoutFiles {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  async read(digest: string): Promise<Buffer> {
    return readFile(this.file(digest));
  }

  async add(mediaType: string, bytes: string): Promise<Descriptor> {
    const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
    await mkdir(join(this.path, 'blobs', 'sha256'), { recursive: true });
    await writeFile(this.file(digest), bytes);
    return { mediaType, digest, size: Buffer.byteLength(bytes) };
  }

  /** The reference by which skopeo knows this manifest, until another one gets the name. */
  async name(manifest: Descriptor, name: string): Promise<string> {
    const path = join(this.path, 'index.json');
    const index = JSON.parse(await readFile(path, 'utf8')) as LayoutIndex;
    const annotations = { [NAME]: name };
    const others = index.manifests.filter((each) => each.annotations?.[NAME] !== name);
    const manifests = [...others, { ...manifest, annotations }];
    await writeFile(path, JSON.stringify({ ...index, manifests }));
    return `oci:${this.path}:${name}`;
  }

  file(digest: string): string {
    return join(this.path, 'blobs', 'sha256', digest.replace('sha256:', ''));
  }
}

export async function addManifest(layout: LayoutFiles, fields: object): Promise<Descriptor> {
  const manifest = { schemaVersion: 2, mediaType: MANIFEST, ...fields };
  return layout.add(MANIFEST, JSON.stringify(manifest));
}

/** As `manifests/…` and `blobs/…`. */
export function partsOf(manifest: Descriptor, ...blobs: readonly Descriptor[]): string[] {
  return [`manifests/${manifest.digest}`, ...blobs.map(({ digest }) => `blobs/${digest}`)];
}
