/** What a program does about it, or whom it tells. */
export type BundleErrorCode =
  /** It is no bundle, or none that can be read here. */
  | 'format'
  /** It ends before its end. */
  | 'truncated'
  /** Bytes are not what the signed manifest says. */
  | 'content'
  /** It is signed by nobody who is trusted, or was changed after. */
  | 'signature'
  /** A key cannot be read or used. */
  | 'key'
  /** A part is not one that is wanted here, or is missing. */
  | 'part'
  /** It is older than what is in force. */
  | 'number'
  /** The key may not bring what it brings. */
  | 'trust'
  /** What it builds on is not held. */
  | 'needs'
  /** It may not be pulled here. */
  | 'refused'
  /** There is no room for it. */
  | 'room'
  /** An inventory cannot be read, or is of another site. */
  | 'inventory';

/** A bundle, a key or an inventory is refused; the message says what is wrong, then what to do. */
export class BundleError extends Error {
  override readonly name = 'BundleError';
  readonly code: BundleErrorCode;

  constructor(code: BundleErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
