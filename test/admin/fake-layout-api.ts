import type { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import type { LayoutApi, LayoutReport, LayoutWish } from '../../src/api/layout-api.ts';

export const LAYOUT_REPORT: LayoutReport = {
  image: 'docker.io/library/app:1',
  digest: `sha256:${'a'.repeat(64)}`,
  mediaType: 'application/vnd.oci.image.manifest.v1+json',
  form: 'oci-layout',
  platforms: ['linux/amd64'],
  leftOut: [],
  referrers: 0,
  blobs: 3,
  bytes: 3000,
  skipped: 0,
};

/** Reads all of the tar, and writes down what it was asked. */
export class FakeLayoutApi implements LayoutApi {
  readonly calls: unknown[][] = [];
  report: LayoutReport | Error = LAYOUT_REPORT;

  async importLayout(tar: Readable, wish: LayoutWish): Promise<LayoutReport> {
    this.calls.push(['importLayout', (await buffer(tar)).length, wish]);
    if (this.report instanceof Error) throw this.report;
    return this.report;
  }
}
