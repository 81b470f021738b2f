import type { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import type {
  BundlesReport,
  BundleState,
  IntakeApi,
  ReceiveOptions,
  UntakenImage,
} from '../../src/api/bundle-api.ts';

/** Takes in whatever comes, and writes down what it was. */
export class FakeIntakeApi implements IntakeApi {
  readonly calls: unknown[][] = [];
  readonly untaken: readonly UntakenImage[] = [];
  readonly report: BundlesReport = { awaited: [], applied: [] };

  async receive(part: Readable, options: ReceiveOptions): Promise<BundleState> {
    this.calls.push(['receive', String(await buffer(part)), options]);
    return { id: 'sha256:b', series: 's', number: 1, received: [1], awaited: [2], images: 3 };
  }
}
