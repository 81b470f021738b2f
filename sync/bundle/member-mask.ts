/** Which of the members of a manifest are held with all below them, one bit each, in the order of the manifest. */
export class MemberMask {
  /** Every member, however many there are. */
  static readonly whole = new MemberMask(undefined);

  /** Bit `n % 8` of byte `n / 8` stands for the member at place `n`; no byte of zeros is at the end. */
  readonly bytes: Uint8Array | undefined;

  static of(members: readonly boolean[]): MemberMask {
    if (members.every(Boolean)) return MemberMask.whole;
    const bytes = new Uint8Array(Math.ceil((members.lastIndexOf(true) + 1) / 8));
    members.forEach((isHeld, place) => {
      if (isHeld) bytes[place >>> 3]! |= 1 << (place & 7);
    });
    return new MemberMask(bytes);
  }

  constructor(bytes: Uint8Array | undefined) {
    this.bytes = bytes;
  }

  get isWhole(): boolean {
    return this.bytes === undefined;
  }

  has(place: number): boolean {
    if (!this.bytes) return true;
    return (((this.bytes[place >>> 3] ?? 0) >>> (place & 7)) & 1) === 1;
  }

  /** What is held of the same manifest by the one or the other. */
  or({ bytes: other }: MemberMask): MemberMask {
    const { bytes } = this;
    if (!bytes || !other) return MemberMask.whole;
    const united = Uint8Array.from(bytes.length < other.length ? other : bytes);
    const shorter = bytes.length < other.length ? bytes : other;
    shorter.forEach((byte, at) => (united[at]! |= byte));
    return new MemberMask(united);
  }

  isSameAs({ bytes: other }: MemberMask): boolean {
    const { bytes } = this;
    if (!bytes || !other) return bytes === other;
    return Buffer.from(bytes).equals(other);
  }
}
