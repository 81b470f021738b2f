const LENGTH_BYTES = 2;
export const PLACE_BYTES = 4;

/**
 * Each with its length in two bytes before it, one more than it is: 0 stands for a manifest of which all is
 * held. A manifest that could have a longer mask is too large to be held.
 */
export function packMasks(masks: readonly (Uint8Array | undefined)[]): Buffer {
  const parts = masks.flatMap((mask) => {
    const length = Buffer.alloc(LENGTH_BYTES);
    length.writeUInt16BE(mask ? mask.length + 1 : 0);
    return mask ? [length, mask] : [length];
  });
  return Buffer.concat(parts);
}

/** Throws for what `packMasks` does not make of so many. */
export function unpackMasks(bytes: Buffer, count: number): (Uint8Array | undefined)[] {
  const masks: (Uint8Array | undefined)[] = [];
  let at = 0;
  for (let place = 0; place < count; place += 1) {
    const length = bytes.readUInt16BE(at);
    at += LENGTH_BYTES;
    const mask = length === 0 ? undefined : bytes.subarray(at, at + length - 1);
    if (mask && (mask.length !== length - 1 || mask.at(-1) === 0)) throw new Error('half a mask');
    masks.push(mask);
    at += mask?.length ?? 0;
  }
  if (at !== bytes.length) throw new Error('masks of nothing');
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
