import { decode, Tokenizer, type DecodeOptions, type Token } from 'cborg';

export interface CborBounds {
  /** Lists, maps and what is in them: more of them take much memory for few bytes. */
  readonly maxItems: number;
  /** What becomes of values with these tags; others are refused. */
  readonly tags?: NonNullable<DecodeOptions['tags']>;
}

const STRICT: DecodeOptions = {
  strict: true,
  allowIndefinite: false,
  allowUndefined: false,
  allowBigInt: false,
  useMaps: true,
  rejectDuplicateMapKeys: true,
};

/** Maps become a `Map`. Throws for lengths that are left open, for a key that stands twice, and for more than `maxItems`. */
export function decodeStrictCbor(bytes: Uint8Array, { maxItems, tags }: CborBounds): unknown {
  const options = { ...STRICT, ...(tags && { tags }) };
  return decode(bytes, { ...options, tokenizer: new CountedTokens(bytes, options, maxItems) });
}

class CountedTokens extends Tokenizer {
  readonly #most: number;
  #count = 0;

  constructor(bytes: Uint8Array, options: DecodeOptions, most: number) {
    super(bytes, options);
    this.#most = most;
  }

  override next(): Token {
    this.#count += 1;
    if (this.#count > this.#most) throw new Error(`it has more than ${this.#most} items`);
    return super.next();
  }
}
