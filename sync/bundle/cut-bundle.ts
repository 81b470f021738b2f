import { BundleError } from './bundle-error.ts';
import { formatManifest, type BundleManifest } from './bundle-manifest.ts';
import { contentOf, slicePath, type ContentEntry } from './content.ts';
import { envelopeSize, PAYLOAD_TYPE } from './envelope.ts';
import { MANIFEST_LIMITS } from './parse-manifest.ts';
import { headSize, parityOverhead, TAIL_BYTES } from './part-layout.ts';
import { BLOCK, tarSize } from './tar-entry.ts';
import { TEXTS } from './texts.ts';

type Cut = BundleManifest['cuts'][number];

/**
 * The manifest with its cuts, such that no part is larger than `partBytes`, the parity part neither; without
 * `partBytes` it is one part. Throws a `BundleError` with code `part` where that is too little for the
 * manifest, or makes more than 10,000 parts.
 */
export function cutBundle(
  manifest: Omit<BundleManifest, 'cuts'>,
  partBytes = Number.POSITIVE_INFINITY,
): BundleManifest {
  let cut: BundleManifest = { ...manifest, cuts: [] };
  if (partBytes === Number.POSITIVE_INFINITY) return cut;
  // Cuts stand in the head of each part, which they make larger: so it is tried with a larger head until it fits.
  for (let room = 0; ;) {
    const { length } = formatManifest(cut);
    const envelope = envelopeSize(length, PAYLOAD_TYPE.manifest);
    const needed = headSize(envelope) + (manifest.hasParity ? parityOverhead(cut, envelope) : 0);
    if (needed <= room) return cut;
    room = needed;
    const cuts = cutContent(contentOf(cut), { partBytes, headBytes: room });
    cut = { ...manifest, cuts };
  }
}

/**
 * Where the content is cut so that no part is larger than `partBytes`, tar headers, padding, trailer and
 * a head of `headBytes` counted. Throws a `BundleError` with code `part`.
 */
export function cutContent(
  entries: Iterable<ContentEntry>,
  { partBytes, headBytes }: { partBytes: number; headBytes: number },
): readonly Cut[] {
  const whole = partBytes - headBytes - TAIL_BYTES;
  // A header with a path of any length, and something behind it.
  if (whole < 4 * BLOCK) {
    throw new BundleError('part', TEXTS.partTooSmall({ least: partBytes - whole + 4 * BLOCK }));
  }
  const cuts: Cut[] = [];
  let room = whole;
  let position = 0;
  for (const { path, size } of entries) {
    let start = 0;
    while (sizeFrom(start, { path, size, position }) > room) {
      // Whole blocks, and never all of the entry: a path that is too long for one block may be what has no room.
      const bytes = Math.max(0, Math.min(room - BLOCK, size - start - 1));
      start += bytes - (bytes % BLOCK);
      cuts.push([position, start]);
      if (cuts.length === MANIFEST_LIMITS.parts) {
        throw new BundleError('part', TEXTS.partsTooMany({ most: MANIFEST_LIMITS.parts }));
      }
      room = whole;
    }
    room -= sizeFrom(start, { path, size, position });
    position += 1;
  }
  return cuts;
}

/** What the rest of an entry takes in a part. */
function sizeFrom(
  start: number,
  { path, size, position }: { path: string; size: number; position: number },
): number {
  const rest = size - start;
  if (start === 0) return tarSize(path, rest);
  return tarSize(slicePath({ entry: position, start }), rest);
}
