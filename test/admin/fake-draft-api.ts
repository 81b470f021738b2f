import { Readable } from 'node:stream';
import type { BlobRange, BundleWish, DraftApi, DraftState } from '../../src/api/bundle-api.ts';

/** Has one draft, of one blob of ten bytes, and writes down what it was asked. */
export class FakeDraftApi implements DraftApi {
  readonly calls: unknown[][] = [];

  async draft(wish: BundleWish): Promise<DraftState> {
    this.calls.push(['draft', wish]);
    return { id: 'd1' };
  }

  draftState(id: string): DraftState | undefined {
    return id === 'd1' ? { id } : undefined;
  }

  async openBlob(id: string, digest: string, range: BlobRange): Promise<Readable | undefined> {
    this.calls.push(['openBlob', id, digest, range]);
    if (digest !== `sha256:${'a'.repeat(64)}`) return undefined;
    return Readable.from([Buffer.from('0123456789').subarray(range.start, range.end)]);
  }

  end(id: string): void {
    this.calls.push(['end', id]);
  }
}
