import { randomUUID } from 'node:crypto';
import type { ByteRange } from '../oci/content.ts';

/**
 * The frame around several ranges in one answer.
 * @see https://www.rfc-editor.org/rfc/rfc9110#section-14.6
 */
export class Multipart {
  readonly #boundary = randomUUID();
  readonly #ranges: readonly ByteRange[];
  readonly #size: number;

  constructor(ranges: readonly ByteRange[], size: number) {
    this.#ranges = ranges;
    this.#size = size;
  }

  get contentType(): string {
    return `multipart/byteranges; boundary=${this.#boundary}`;
  }

  get length(): number {
    const parts = this.#ranges.map((range) => this.head(range).length + range.end - range.start);
    return parts.reduce((sum, part) => sum + part, this.end.length);
  }

  head({ start, end }: ByteRange): string {
    return [
      `\r\n--${this.#boundary}`,
      'Content-Type: application/octet-stream',
      `Content-Range: bytes ${start}-${end - 1}/${this.#size}`,
      '\r\n',
    ].join('\r\n');
  }

  get end(): string {
    return `\r\n--${this.#boundary}--\r\n`;
  }
}
