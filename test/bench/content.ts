import { createCipheriv, createHash } from 'node:crypto';
import { open, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

const BUNDLE = 'application/vnd.dev.sigstore.bundle.v0.3+json';
export const SIGSTORE = {
  artifactType: BUNDLE,
  configType: 'application/vnd.oci.empty.v1+json',
  layerType: BUNDLE,
} as const;
export const NOTATION = {
  artifactType: 'application/vnd.cncf.notary.signature',
  configType: 'application/vnd.cncf.notary.signature',
  layerType: 'application/jose+json',
} as const;

export interface BenchBlob {
  readonly digest: string;
  readonly size: number;
}

const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const PIECE_BYTES = 8 * 1024 * 1024;

/** The folder that the upstream registry serves: `blobs/<hex>` and `manifests/<tag or digest>`. */
export class Content {
  readonly path: string;
  #seed = 0;

  constructor(path: string) {
    this.path = path;
  }

  /** Bytes that no earlier call gave, and that do not compress. */
  async addBlob(size: number): Promise<BenchBlob> {
    this.#seed += 1;
    const key = createHash('sha256').update(String(this.#seed)).digest();
    const cipher = createCipheriv('aes-256-ctr', key, Buffer.alloc(16));
    const hash = createHash('sha256');
    const zeros = Buffer.alloc(Math.min(size, PIECE_BYTES));
    const partial = join(this.path, 'blobs', 'partial');
    await using file = await open(partial, 'w');
    for (let written = 0; written < size; written += zeros.length) {
      const piece = cipher.update(zeros.subarray(0, size - written));
      hash.update(piece);
      await file.write(piece);
    }
    const hex = hash.digest('hex');
    await rename(partial, this.blobPath(`sha256:${hex}`));
    return { digest: `sha256:${hex}`, size };
  }

  /** A manifest of usual size under a tag and its digest. */
  async addManifest(tag: string, layers: number): Promise<string> {
    const describe = (mediaType: string, name: string, size: number): object => ({
      mediaType: `application/vnd.oci.image.${mediaType}`,
      digest: `sha256:${createHash('sha256').update(name).digest('hex')}`,
      size,
    });
    const manifest = JSON.stringify({
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      config: describe('config.v1+json', 'config', 7_000),
      layers: Array.from({ length: layers }, (_, layer) =>
        describe('layer.v1.tar+gzip', `layer ${layer}`, 30_000_000 + layer),
      ),
    });
    const digest = `sha256:${createHash('sha256').update(manifest).digest('hex')}`;
    for (const name of [tag, digest]) await writeFile(join(this.path, 'manifests', name), manifest);
    return digest;
  }

  /** As small as one is, and none's but this one's. */
  async addConfig(name: string): Promise<BenchBlob> {
    const rootfs = { type: 'layers', diff_ids: [] };
    const config = { architecture: 'amd64', os: 'linux', config: { Hostname: name }, rootfs };
    return this.#write('blobs', Buffer.from(JSON.stringify(config)));
  }

  /** The tag means an image of this config and these layers from now on. */
  async addImage(
    tag: string,
    { config, layers }: { readonly config: BenchBlob; readonly layers: readonly BenchBlob[] },
  ): Promise<BenchBlob> {
    const describe = (type: string, blob: BenchBlob) => ({
      mediaType: `application/vnd.oci.image.${type}`,
      ...blob,
    });
    const manifest = JSON.stringify({
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      config: describe('config.v1+json', config),
      layers: layers.map((layer) => describe('layer.v1.tar', layer)),
    });
    const digest = `sha256:${createHash('sha256').update(manifest).digest('hex')}`;
    for (const name of [tag, digest]) await writeFile(join(this.path, 'manifests', name), manifest);
    return { digest, size: manifest.length };
  }

  /** A signature of an image, listed under its fallback tag. */
  async addSignature(
    image: BenchBlob,
    signature: Uint8Array,
    { artifactType, configType, layerType }: typeof SIGSTORE | typeof NOTATION,
  ): Promise<void> {
    const layer = await this.#write('blobs', signature);
    const config = await this.#write('blobs', Buffer.from('{}'));
    const carrier = await this.#write(
      'manifests',
      Buffer.from(
        JSON.stringify({
          schemaVersion: 2,
          mediaType: MANIFEST,
          ...(artifactType !== configType && { artifactType }),
          config: { mediaType: configType, ...config },
          layers: [{ mediaType: layerType, ...layer }],
          subject: { mediaType: MANIFEST, ...image },
        }),
      ),
    );
    const mediaType = 'application/vnd.oci.image.index.v1+json';
    const manifests = [{ mediaType: MANIFEST, ...carrier, artifactType }];
    const list = JSON.stringify({ schemaVersion: 2, mediaType, manifests });
    await writeFile(join(this.path, 'manifests', image.digest.replace(':', '-')), list);
  }

  /** Under its digest. */
  async #write(folder: 'blobs' | 'manifests', bytes: Uint8Array): Promise<BenchBlob> {
    const hex = createHash('sha256').update(bytes).digest('hex');
    const digest = `sha256:${hex}`;
    await writeFile(join(this.path, folder, folder === 'blobs' ? hex : digest), bytes);
    return { digest, size: bytes.length };
  }

  blobPath(digest: string): string {
    return join(this.path, 'blobs', digest.replace('sha256:', ''));
  }
}
