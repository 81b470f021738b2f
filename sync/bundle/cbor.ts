import { decode, encode, Tokenizer, type DecodeOptions, type Token } from 'cborg';

/** Arrays, maps and what is in them: more of them take much memory for few bytes. */
const MAX_ITEMS = 10_000;

const STRICT: DecodeOptions = {
  strict: true,
  allowIndefinite: false,
  allowUndefined: false,
  allowBigInt: false,
  useMaps: true,
  rejectDuplicateMapKeys: true,
};

/** The one form of a value: as short as can be, the keys of maps sorted. */
export function encodeCbor(value: unknown): Buffer {
  return Buffer.from(encode(value));
}

/** Maps become a `Map`. Throws for all that `encodeCbor` does not make, and for more than 10,000 items. */
export function decodeCbor(bytes: Uint8Array): unknown {
  const tokenizer = new CountedTokens(bytes, STRICT);
  const value: unknown = decode(bytes, { ...STRICT, tokenizer });
  if (!encodeCbor(value).equals(bytes)) throw new Error('it is in another form than its own');
  return value;
}

class CountedTokens extends Tokenizer {
  #count = 0;

  override next(): Token {
    this.#count += 1;
    if (this.#count > MAX_ITEMS) throw new Error(`it has more than ${MAX_ITEMS} items`);
    return super.next();
  }
}
