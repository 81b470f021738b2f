import { hash } from 'node:crypto';
import { ContentWindow, type WholeContent } from './content-window.ts';
import type { Framing } from './layer-framing.ts';

/** Bytes of a layer that are found again in other versions of it. */
export interface LayerPiece {
  readonly start: number;
  /** Exclusive. */
  readonly end: number;
  /** The same for the same bytes: half of their SHA-256. */
  readonly key: string;
}

/** A frame that begins this close behind another one counts as a part of it. */
const LEAST_BYTES = 16;
/** A longer frame is cut, so that two of them that begin alike have pieces in common. */
const MOST_BYTES = 64 * 1024;
const KEY_BYTES = 16;

/**
 * All of a layer, piece by piece. One begins with each frame, and where the last one has its full length.
 * Where they are cut hangs on nothing but the bytes, and what looks like the beginning of a frame counts
 * as one. Reads the layer once; memory is that of a window.
 */
export async function* layerPiecesOf(
  layer: WholeContent,
  framing: Framing,
): AsyncGenerator<LayerPiece> {
  const window = new ContentWindow(layer);
  try {
    for (let start = 0; start < layer.size;) {
      const bytes = await window.read(
        start,
        Math.min(start + MOST_BYTES + framing.length, layer.size),
      );
      if (bytes.length === 0) return;
      const piece = bytes.subarray(0, lengthOfPiece(bytes, framing));
      yield {
        start,
        end: start + piece.length,
        key: hash('sha256', piece, 'latin1').slice(0, KEY_BYTES),
      };
      start += piece.length;
    }
  } finally {
    await window.close();
  }
}

function lengthOfPiece(bytes: Buffer, framing: Framing): number {
  const next = bytes.indexOf(framing, LEAST_BYTES);
  return Math.min(next < 0 ? MOST_BYTES : next, MOST_BYTES, bytes.length);
}
