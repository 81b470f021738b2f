import type { ByteRange } from '../../../src/oci/content.ts';
import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import type { BundledFile } from '../../../src/api/bundle-api.ts';
import { digestOf, type Digest } from '../../../src/oci/digest.ts';
import {
  compareTexts,
  formatManifest,
  type BundleManifest,
} from '../../../sync/bundle/bundle-manifest.ts';
import { countParts, type ContentEntry } from '../../../sync/bundle/content.ts';
import { cutBundle } from '../../../sync/bundle/cut-bundle.ts';
import { PAYLOAD_TYPE, sealEnvelope } from '../../../sync/bundle/envelope.ts';
import { writePart } from '../../../sync/bundle/part-writer.ts';
import { SigningKey } from '../../../sync/bundle/signing-key.ts';

/** The store that made it. */
export const SERIES = '5a7e0000-0000-4000-8000-000000000001';

/** What a bundle of a test has in it. */
export interface MadeContents {
  /** Of blobs; each becomes one. */
  readonly blobs?: readonly Buffer[];
  /** What the manifest names beside blobs and files: recipes. */
  readonly others?: readonly Buffer[];
  /** Blobs by SHA-512. */
  readonly wide?: readonly Buffer[];
  readonly files?: Readonly<Record<string, Buffer>>;
  readonly partBytes?: number;
  readonly key?: SigningKey;
  /** What else stands in the manifest. */
  readonly manifest?: Partial<BundleManifest>;
}

/** A bundle in memory, with all its parts. */
export class MadeBundle {
  readonly key: SigningKey;
  readonly manifest: BundleManifest;
  readonly envelope: Buffer;
  /** The bytes of each entry of the content, by its digest. */
  readonly bytes: ReadonlyMap<string, Buffer>;

  constructor({
    blobs = [],
    others = [],
    wide = [],
    files = {},
    partBytes,
    ...parts
  }: MadeContents = {}) {
    const index = Buffer.from('{"schemaVersion":2,"manifests":[]}');
    const named = Object.entries(files).map(([name, bytes]) => ({ name, ...describe(bytes) }));
    const described = [
      ...blobs.map((bytes) => describe(bytes)),
      ...wide.map((bytes) => ({ digest: digestOf(bytes, 'sha512'), size: bytes.length })),
    ];
    this.bytes = new Map([
      ...[index, ...blobs, ...others, ...Object.values(files)].map(
        (each) => [digestOf(each), each] as const,
      ),
      ...wide.map((each) => [digestOf(each, 'sha512'), each] as const),
    ]);
    const manifest = {
      format: 1 as const,
      series: SERIES,
      number: 1,
      hasParity: false,
      index: describe(index),
      images: [],
      released: [],
      needs: [],
      files: named.toSorted((a: BundledFile, b: BundledFile) => compareTexts(a.name, b.name)),
      blobs: described.toSorted((a, b) => compareTexts(a.digest, b.digest)),
      ...parts.manifest,
    };
    this.key = parts.key ?? SigningKey.generate();
    this.manifest = cutBundle(manifest, partBytes);
    const payload = formatManifest(this.manifest);
    this.envelope = sealEnvelope(payload, PAYLOAD_TYPE.manifest, this.key);
  }

  get parts(): number {
    return countParts(this.manifest);
  }

  open = ({ digest }: ContentEntry, { start, end }: ByteRange): Readable =>
    Readable.from([this.bytes.get(digest)!.subarray(start, end)]);

  write(part: number, open = this.open): AsyncGenerator<Uint8Array, void> {
    const { manifest, envelope, key } = this;
    return writePart({ manifest, envelope, key, open, part });
  }

  /** The file of a part. */
  async part(part: number): Promise<Buffer> {
    return Buffer.concat(await Array.fromAsync(this.write(part)));
  }

  async all(): Promise<Buffer[]> {
    return Promise.all(Array.from({ length: this.parts }, async (_, at) => this.part(at + 1)));
  }
}

export function describe(bytes: Buffer): { digest: Digest; size: number } {
  return { digest: digestOf(bytes), size: bytes.length };
}

/** A stream of these bytes, in chunks of this size. */
export async function* streamOf(bytes: Buffer, chunk = bytes.length): AsyncGenerator<Buffer, void> {
  for (let at = 0; at < bytes.length; at += chunk) yield bytes.subarray(at, at + chunk);
}

/** Bytes that no compression and no mix-up of places leaves equal. */
export function patterned(size: number): Buffer {
  const seed = createHash('sha512').update(`${size}`).digest();
  return Buffer.alloc(size, seed);
}
