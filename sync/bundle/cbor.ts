import { encode } from 'cborg';
import { decodeStrictCbor } from '../../src/oci/strict-cbor.ts';

const MAX_ITEMS = 10_000;

/** The one form of a value: as short as can be, the keys of maps sorted. */
export function encodeCbor(value: unknown): Buffer {
  return Buffer.from(encode(value));
}

/** Maps become a `Map`. Throws for all that `encodeCbor` does not make, and for more than 10,000 items. */
export function decodeCbor(bytes: Uint8Array): unknown {
  const value = decodeStrictCbor(bytes, { maxItems: MAX_ITEMS });
  if (!encodeCbor(value).equals(bytes)) throw new Error('it is in another form than its own');
  return value;
}
