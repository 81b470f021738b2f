import type { ByteRange, Content, Reader } from '../../oci/content.ts';
import type { Digest } from '../../oci/digest.ts';
import type { Interest } from './demand.ts';
import type { Download } from './download.ts';

/** A client that has its headers reads at once, or not at all. */
const EXPECTED_MS = 10_000;

/** A download as one of its clients has it: wanted while that client reads, or is about to. */
export class JoinedDownload implements Content {
  readonly digest: Digest;
  readonly #download: Download;
  readonly #expected: Interest;

  constructor(download: Download, expected: Interest) {
    this.digest = download.digest;
    this.#download = download;
    this.#expected = expected;
    setTimeout(() => expected[Symbol.dispose](), EXPECTED_MS).unref();
  }

  get size(): number | undefined {
    return this.#download.size;
  }

  get isVerified(): boolean {
    return this.#download.isVerified;
  }

  async open(range?: ByteRange): Promise<Reader> {
    const { demand } = this.#expected;
    const interest = this.#download.demand.join(demand);
    this.#expected[Symbol.dispose]();
    try {
      const reader = await this.#download.open(range, demand.client);
      const close = async (): Promise<void> => {
        interest[Symbol.dispose]();
        await reader.close();
      };
      return {
        ready: async () => reader.ready?.(),
        read: async (scratch) => reader.read(scratch),
        close,
      };
    } catch (error) {
      interest[Symbol.dispose]();
      throw error;
    }
  }
}
