import { createHash } from 'node:crypto';
import { linkSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Digest } from '../../src/oci/digest.ts';
import { Tables, type Batch } from '../../src/store/catalog/tables.ts';

export interface FilledImage {
  readonly repository: string;
  readonly tag: string;
  readonly layer: string;
  /** Of its manifest and all that it lists. */
  readonly bytes: number;
}

/** The upstream that all of it is from. */
export const UPSTREAM = 'upstream.test';

const UNSHARED_BLOBS = 9;
const IMAGES_A_REPOSITORY = 100;
const IMAGES_A_BATCH = 200;
const LAYER_BYTES = 64;
/** Below what a file system allows of one file. */
const MOST_LINKS = 30_000;
const MANIFEST_TYPE = 'application/vnd.oci.image.manifest.v1+json';
const LAYER_TYPE = 'application/vnd.oci.image.layer.v1.tar';
const HOUR_MS = 3_600_000;

/**
 * A store of so many blobs, a tenth of them manifests with one tag each, the first image the one
 * that was not pulled for longest. Manifests are real files; configs and layers are hard links to
 * few files of the right length, whose bytes nobody reads.
 */
export class CatalogStore {
  readonly path: string;
  readonly images: FilledImage[] = [];
  #source = '';
  #links = MOST_LINKS;
  #sources = 0;

  static async fill(path: string, blobs: number): Promise<CatalogStore> {
    const store = new CatalogStore(path);
    store.#makeFolders();
    const tables = await Tables.open(join(path, 'catalog'), { durability: 'rename' });
    try {
      const images = blobs / (UNSHARED_BLOBS + 1);
      for (let first = 0; first < images; first += IMAGES_A_BATCH) {
        await tables.write((batch) => {
          const end = Math.min(first + IMAGES_A_BATCH, images);
          for (let number = first; number < end; number += 1) {
            store.#addImage({ tables, batch, number, at: Date.now() - HOUR_MS + number });
          }
        });
      }
    } finally {
      await tables.close();
    }
    return store;
  }

  constructor(path: string) {
    this.path = path;
  }

  #makeFolders(): void {
    for (let number = 0; number < 256; number += 1) {
      const shard = number.toString(16).padStart(2, '0');
      mkdirSync(join(this.path, 'blobs', 'sha256', shard), { recursive: true });
    }
    mkdirSync(join(this.path, 'sources'));
  }

  #addImage({ tables, batch, number, at }: Addition): void {
    const repository = `bench/app${Math.floor(number / IMAGES_A_REPOSITORY)}`;
    const tag = `v${number % IMAGES_A_REPOSITORY}`;
    const target = `${UPSTREAM}/${repository}`;
    const successors = Array.from({ length: UNSHARED_BLOBS }, (_, position) => ({
      digest: digestOf(`${number} ${position}`),
      size: LAYER_BYTES,
      mediaType: LAYER_TYPE,
    }));
    const [config, ...layers] = successors;
    const document = { schemaVersion: 2, mediaType: MANIFEST_TYPE, config, layers };
    const bytes = JSON.stringify(document);
    const digest = digestOf(bytes);
    const { length: size } = bytes;
    writeFileSync(this.#pathOf(digest), bytes);
    const unit = `${target} ${digest}`;
    const record = { mediaType: MANIFEST_TYPE, size, storedAt: at };
    batch.put(unit, record, { sublevel: tables.manifests });
    batch.put(digest, { successors }, { sublevel: tables.members });
    batch.put(`${target} ${tag}`, { digest, checkedAt: Date.now() }, { sublevel: tables.tags });
    batch.put(`${unit} ${tag}`, 1, { sublevel: tables.names });
    for (const held of [{ digest, size }, ...successors]) {
      batch.put(held.digest, { size: held.size, storedAt: at }, { sublevel: tables.blobs });
      batch.put(`${held.digest} ${target}`, 1, { sublevel: tables.links });
      batch.put(`${held.digest} ${unit}`, 1, { sublevel: tables.holders });
    }
    for (const layer of successors) this.#link(layer.digest);
    tables.putAccess(batch, unit, at, undefined);
    const layer = successors[1]?.digest ?? '';
    this.images.push({ repository, tag, layer, bytes: size + UNSHARED_BLOBS * LAYER_BYTES });
  }

  #link(digest: Digest): void {
    if (this.#links === MOST_LINKS) {
      this.#links = 0;
      this.#sources += 1;
      this.#source = join(this.path, 'sources', String(this.#sources));
      writeFileSync(this.#source, Buffer.alloc(LAYER_BYTES));
    }
    this.#links += 1;
    linkSync(this.#source, this.#pathOf(digest));
  }

  #pathOf(digest: Digest): string {
    const encoded = digest.slice('sha256:'.length);
    return join(this.path, 'blobs', 'sha256', encoded.slice(0, 2), encoded);
  }
}

interface Addition {
  readonly tables: Tables;
  readonly batch: Batch;
  readonly number: number;
  readonly at: number;
}

function digestOf(text: string): Digest {
  return `sha256:${createHash('sha256').update(text).digest('hex')}` as Digest;
}
