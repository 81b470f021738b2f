import { digestOf, type Digest } from '../../src/oci/digest.ts';
import { formatManifest, type BundleManifest } from './bundle-manifest.ts';
import { countParts, slicesOf } from './content.ts';
import { envelopeSize, PAYLOAD_TYPE } from './envelope.ts';
import { MANIFEST_LIMITS } from './parse-manifest.ts';
import { BLOCK, paddingOf, TAR_END, tarSize } from './tar-entry.ts';

/** What stands in the tar of a part beside content. */
export const PART_PATH = {
  manifest: 'entrepot/manifest.json',
  /** Which part it is. */
  part: 'entrepot/part.json',
  /** In the parity part in its place. */
  parity: 'entrepot/parity.json',
  trailer: 'entrepot/trailer.json',
} as const;

/** The content of the parity part: all parts laid over each other by XOR, shorter ones filled up with zeros. */
export const PARITY_PATH = 'parity';

const MOST_DIGITS = String(Number.MAX_SAFE_INTEGER).length;

/** What stands behind the content of any part, at most. */
export const TAIL_BYTES =
  tarSize(PART_PATH.trailer, trailerSize(MANIFEST_LIMITS.parts)) + TAR_END.length;

/** The signed end of a part. */
export interface Trailer {
  /** The digest of the signed manifest. */
  readonly bundle: Digest;
  readonly part: number;
  /** Of one line for each entry of the content: `path size sha256`. */
  readonly digest: Digest;
}

export function formatTrailer({ bundle, part, digest }: Trailer): Buffer {
  return Buffer.from(`${JSON.stringify({ bundle, part, digest })}\n`);
}

export function trailerSize(part: number): number {
  const digest = digestOf(Buffer.alloc(0));
  return envelopeSize(formatTrailer({ bundle: digest, part, digest }).length, PAYLOAD_TYPE.trailer);
}

/** What `Trailer.digest` is made of. */
export function contentLine({
  path,
  size,
  sha256,
}: Record<'path' | 'sha256', string> & { size: number }): string {
  return `${path} ${size} ${sha256}\n`;
}

export function formatPart(part: number, of: number): Buffer {
  return Buffer.from(`${JSON.stringify({ part, of })}\n`);
}

/** The parity part says how long each part is. */
export function formatParity(sizes: readonly number[]): Buffer {
  return Buffer.from(`${JSON.stringify({ parts: sizes })}\n`);
}

/** What stands before the content of a part with an envelope of this size. */
export function headSize(envelope: number): number {
  return (
    tarSize(PART_PATH.manifest, envelope) +
    tarSize(PART_PATH.part, formatPart(MANIFEST_LIMITS.parts, MANIFEST_LIMITS.parts).length)
  );
}

/** What the parity part is larger than the largest part, at most. */
export function parityOverhead(manifest: Pick<BundleManifest, 'cuts'>, envelope: number): number {
  const sizes = formatParity([]).length + countParts(manifest) * (MOST_DIGITS + 1);
  return (
    tarSize(PART_PATH.manifest, envelope) +
    tarSize(PART_PATH.parity, sizes) +
    2 * BLOCK +
    TAIL_BYTES
  );
}

/** How long the file of each part is, which follows from the manifest alone. */
export function partSizes(manifest: BundleManifest): readonly number[] {
  const { length } = formatManifest(manifest);
  const count = countParts(manifest);
  const envelope = tarSize(PART_PATH.manifest, envelopeSize(length, PAYLOAD_TYPE.manifest));
  return Array.from({ length: count }, (_, position) => {
    const part = position + 1;
    let size = envelope + tarSize(PART_PATH.part, formatPart(part, count).length);
    for (const { path, start, end } of slicesOf(manifest, part)) size += tarSize(path, end - start);
    return size + tarSize(PART_PATH.trailer, trailerSize(part)) + TAR_END.length;
  });
}

/** Where the entry `parity` stands in the parity part, and how long that file is. */
export interface ParityLayout {
  readonly sizes: readonly number[];
  /** Where its bytes begin. */
  readonly start: number;
  /** How many there are: as many as the largest part has. */
  readonly length: number;
  /** Of the whole file. */
  readonly total: number;
}

export function parityLayout(manifest: BundleManifest): ParityLayout {
  const sizes = partSizes(manifest);
  const length = sizes.reduce((most, size) => Math.max(most, size), 0);
  const envelope = envelopeSize(formatManifest(manifest).length, PAYLOAD_TYPE.manifest);
  const start =
    tarSize(PART_PATH.manifest, envelope) +
    tarSize(PART_PATH.parity, formatParity(sizes).length) +
    BLOCK;
  const tail = tarSize(PART_PATH.trailer, trailerSize(0)) + TAR_END.length;
  return { sizes, start, length, total: start + length + paddingOf(length) + tail };
}
