import type { Released } from '../../api/store-api.ts';
import type { Digest } from '../../oci/digest.ts';
import { formatTarget, type Tag } from '../../oci/reference.ts';
import { nodeOf } from '../catalog/catalog.ts';

/** What images are let go of for. */
export type Shortage = 'budget' | 'free-space' | 'request';

/** An image, or a blob that no manifest lists, that was let go of or would be. */
export interface Collected {
  /** The repository with its upstream; empty for a blob that no manifest lists. */
  readonly image: string;
  readonly tags: readonly Tag[];
  readonly digest: Digest;
  readonly lastPulledAt: number;
  readonly blobs: number;
  /** What it frees. */
  readonly bytes: number;
}

export interface Kept {
  readonly image: string;
  readonly digest: Digest;
  readonly why: string;
}

export interface Collection {
  readonly wantedBytes: number;
  readonly images: readonly Collected[];
  /** Older images that stay, and why. */
  readonly kept: readonly Kept[];
}

/** A blob that no manifest lists is no image. */
export function sumOf(collected: readonly Collected[]): Released {
  return {
    images: collected.filter(({ image }) => image !== '').length,
    blobs: collected.reduce((total, { blobs }) => total + blobs, 0),
    bytes: collected.reduce((total, { bytes }) => total + bytes, 0),
  };
}

/** How a unit is told of. */
export function nameOf(unit: string): { image: string; digest: Digest } {
  const node = nodeOf(unit);
  return { image: node ? formatTarget(node.target) : '', digest: node?.digest ?? (unit as Digest) };
}
