import type { ImageSummary } from '../api/store-api.ts';

/** How lists of images can be sorted. */
export const IMAGE_ORDER = {
  name: (a: ImageSummary, b: ImageSummary) =>
    compare(a.image, b.image) || compare(a.tags[0] ?? a.digest, b.tags[0] ?? b.digest),
  size: (a: ImageSummary, b: ImageSummary) => b.bytes - a.bytes || compare(a.image, b.image),
  oldest: (a: ImageSummary, b: ImageSummary) =>
    a.lastPulledAt - b.lastPulledAt || compare(a.image, b.image),
  pulls: (a: ImageSummary, b: ImageSummary) =>
    b.pulls - a.pulls || b.lastPulledAt - a.lastPulledAt || compare(a.image, b.image),
} as const;

function compare(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}
