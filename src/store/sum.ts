import type { Collected } from './collector.ts';

/** What a collection came to. */
export interface Sum {
  readonly images: number;
  readonly blobs: number;
  readonly bytes: number;
}

/** A blob that no manifest lists is no image. */
export function sumOf(collected: readonly Collected[]): Sum {
  return {
    images: collected.filter(({ image }) => image !== '').length,
    blobs: collected.reduce((total, { blobs }) => total + blobs, 0),
    bytes: collected.reduce((total, { bytes }) => total + bytes, 0),
  };
}
