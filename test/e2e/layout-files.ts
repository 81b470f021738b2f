import { createHash } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

export interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

interface LayoutIndex {
  readonly manifests: object[];
}

/** The files of an OCI image layout, written by hand: what no tool makes, skopeo can push from it. */
export class LayoutFiles {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  async read(digest: string): Promise<Buffer> {
    return readFile(this.#blob(digest));
  }

  async add(mediaType: string, bytes: string): Promise<Descriptor> {
    const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
    await mkdir(join(this.path, 'blobs', 'sha256'), { recursive: true });
    await writeFile(this.#blob(digest), bytes);
    return { mediaType, digest, size: Buffer.byteLength(bytes) };
  }

  /** The reference by which skopeo knows this manifest from now on. */
  async name(manifest: Descriptor, name: string): Promise<string> {
    const path = join(this.path, 'index.json');
    const index = JSON.parse(await readFile(path, 'utf8')) as LayoutIndex;
    const annotations = { 'org.opencontainers.image.ref.name': name };
    index.manifests.push({ ...manifest, annotations });
    await writeFile(path, JSON.stringify(index));
    return `oci:${this.path}:${name}`;
  }

  #blob(digest: string): string {
    return join(this.path, 'blobs', 'sha256', digest.replace('sha256:', ''));
  }
}
