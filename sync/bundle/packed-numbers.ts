import { MemberMask } from './member-mask.ts';

const LENGTH_BYTES = 2;
export const PLACE_BYTES = 4;

/**
 * Each with its length in two bytes before it, one more than it is: 0 stands for a manifest of which all is
 * held. A manifest that could have a longer mask is too large to be held.
 */
export function packMasks(masks: readonly MemberMask[]): Buffer {
  const size = masks.reduce((sum, { bytes }) => sum + LENGTH_BYTES + (bytes?.length ?? 0), 0);
  const packed = Buffer.alloc(size);
  let at = 0;
  for (const { bytes } of masks) {
    at = packed.writeUInt16BE(bytes ? bytes.length + 1 : 0, at);
    packed.set(bytes ?? [], at);
    at += bytes?.length ?? 0;
  }
  return packed;
}

/** Throws for what `packMasks` does not make of so many. */
export function unpackMasks(packed: Buffer, count: number): MemberMask[] {
  const masks: MemberMask[] = [];
  let at = 0;
  for (let place = 0; place < count; place += 1) {
    const length = packed.readUInt16BE(at);
    const bytes = packed.subarray(at + LENGTH_BYTES, at + LENGTH_BYTES + length - 1);
    if (length > 0 && (bytes.length !== length - 1 || bytes.at(-1) === 0)) {
      throw new Error('half a mask');
    }
    masks.push(length === 0 ? MemberMask.whole : new MemberMask(bytes));
    at += LENGTH_BYTES + Math.max(0, length - 1);
  }
  if (at !== packed.length) throw new Error('masks of nothing');
  return masks;
}

/** In rows: the first bytes of all, the second ones, and so on, since the first ones are all alike. */
export function packPlaces(places: readonly number[]): Buffer {
  const bytes = Buffer.alloc(places.length * PLACE_BYTES);
  places.forEach((place, at) => {
    for (let row = 0; row < PLACE_BYTES; row += 1) {
      bytes[row * places.length + at] = place >>> (8 * (PLACE_BYTES - 1 - row));
    }
  });
  return bytes;
}

/** Throws for what `packPlaces` does not make. */
export function unpackPlaces(bytes: Buffer): number[] {
  const count = bytes.length / PLACE_BYTES;
  if (!Number.isInteger(count)) throw new Error('half a place');
  return Array.from({ length: count }, (_, at) => {
    let place = 0;
    for (let row = 0; row < PLACE_BYTES; row += 1) place = place * 256 + bytes[row * count + at]!;
    return place;
  });
}
