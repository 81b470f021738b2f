import { createHash } from 'node:crypto';
import type { ByteRange } from '../../src/oci/content.ts';
import { digestOf, type Digest } from '../../src/oci/digest.ts';
import { formatManifest, type BundleManifest } from './bundle-manifest.ts';
import { countParts, OCI_LAYOUT, slicesOf, type ContentEntry, type Slice } from './content.ts';
import { PAYLOAD_TYPE, sealEnvelope } from './envelope.ts';
import { contentLine, formatPart, formatTrailer, PART_PATH } from './part-layout.ts';
import type { SigningKey } from './signing-key.ts';
import { SliceCheck } from './slice-check.ts';
import { paddingOf, TAR_END, tarHeader } from './tar-entry.ts';

export interface PartToWrite {
  readonly manifest: BundleManifest;
  /** `sealEnvelope(formatManifest(manifest), …)`, one for all parts. */
  readonly envelope: Buffer;
  /** From 1 on. */
  readonly part: number;
  readonly key: SigningKey;
  /** The bytes of an entry of the content from `start` to `end`; of all but `oci-layout`. */
  readonly open: (
    entry: ContentEntry,
    range: ByteRange,
  ) => AsyncIterable<Uint8Array> | Promise<AsyncIterable<Uint8Array>>;
}

/**
 * The bytes of one part, in one pass: whoever takes them sets the pace (`pipeline(writePart(…), file)`).
 * Nothing is held but the chunk that is under way. Each byte of the content is hashed once, but of whole blobs
 * whose digest is not SHA-256; a size that is not right, or a whole entry that does not match its
 * digest, ends it with a `BundleError` with code `content`.
 */
export async function* writePart(part: PartToWrite): AsyncGenerator<Uint8Array, void> {
  const { manifest, envelope, part: number, key } = part;
  yield tarFile(PART_PATH.manifest, envelope);
  yield tarFile(PART_PATH.part, formatPart(number, countParts(manifest)));
  const lines = createHash('sha256');
  for (const slice of slicesOf(manifest, number)) {
    const size = slice.end - slice.start;
    yield tarHeader(slice.path, size);
    const sha256 = yield* copySlice(slice, part);
    lines.update(contentLine({ path: slice.path, size, sha256 }));
    if (paddingOf(size) > 0) yield Buffer.alloc(paddingOf(size));
  }
  const bundle = digestOf(formatManifest(manifest));
  const trailer = formatTrailer({
    bundle,
    part: number,
    digest: `sha256:${lines.digest('hex')}` as Digest,
  });
  yield tarFile(PART_PATH.trailer, sealEnvelope(trailer, PAYLOAD_TYPE.trailer, key));
  yield TAR_END;
}

/** A small file with its header and padding. */
export function tarFile(path: string, bytes: Uint8Array): Buffer {
  const padding = Buffer.alloc(paddingOf(bytes.length));
  return Buffer.concat([tarHeader(path, bytes.length), bytes, padding]);
}

/** Gives the bytes of a slice, and returns their SHA-256 in hex. */
async function* copySlice(
  slice: Slice,
  { open }: Pick<PartToWrite, 'open'>,
): AsyncGenerator<Uint8Array, string> {
  const { of, start, end } = slice;
  const check = new SliceCheck(slice);
  const source =
    slice.entry === 0 ? [OCI_LAYOUT.subarray(start, end)] : await open(of, { start, end });
  for await (const chunk of source) {
    check.update(chunk);
    yield chunk;
  }
  return check.end();
}
