import type { WholeContent } from './content-window.ts';
import type { Framing } from './layer-framing.ts';
import { layerPiecesOf } from './layer-pieces.ts';
import type { RecipeInstruction } from './recipe-instruction.ts';

/** Pieces of a layer that are looked for; what stands behind them counts as new. They take some 60 MB. */
const MAX_PIECES = 500_000;
/** A shorter run of bytes is carried: to name it takes about as much. */
const LEAST_BYTES = 32;
const NOT_FOUND = -1;

/** The pieces of a layer, and where each was found in other ones. */
export class FoundPieces {
  readonly #size: number;
  /** Where each begins, and where the last one ends. */
  readonly #starts = [0];
  /** For each, the first one with the same bytes. */
  readonly #twins: number[] = [];
  readonly #firsts = new Map<string, number>();
  /** Of a first one, bytes of all its twins. */
  readonly #weights: number[] = [];
  readonly #sources: number[] = [];
  readonly #places: number[] = [];
  #bytes = 0;

  static async of(layer: WholeContent, framing: Framing): Promise<FoundPieces> {
    const pieces = new FoundPieces(layer.size);
    for await (const { key, end } of layerPiecesOf(layer, framing)) {
      if (pieces.#twins.length === MAX_PIECES) break;
      pieces.#add(key, end);
    }
    return pieces;
  }

  constructor(size: number) {
    this.#size = size;
  }

  /** That were found. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * What was found before stays where it was found, unless it follows here on what it follows in the
   * layer: long runs take few instructions.
   */
  async lookIn(source: WholeContent, index: number, framing: Framing): Promise<void> {
    /** What would follow in the layer on the piece before. */
    let next = NOT_FOUND;
    for await (const { key, start } of layerPiecesOf(source, framing)) {
      const first = this.#firsts.get(key);
      if (first === undefined) {
        next = NOT_FOUND;
        continue;
      }
      const piece = this.#twins[next] === first ? next : first;
      if (this.#sources[first] === NOT_FOUND) {
        this.#bytes += this.#weights[first] ?? 0;
        this.#place(first, index, start);
      }
      if (piece === next && !this.#isInRun(piece)) this.#place(piece, index, start);
      next = piece + 1;
    }
  }

  /** How the layer is made of them. Sources are numbered as they were looked in. */
  *instructions(): Generator<RecipeInstruction> {
    let newBytes = 0;
    for (const run of this.#runs()) {
      if (!run.from || run.length < LEAST_BYTES) {
        newBytes += run.length;
        continue;
      }
      if (newBytes > 0) yield { length: newBytes };
      newBytes = 0;
      yield run;
    }
    if (newBytes > 0) yield { length: newBytes };
  }

  /** Neighbours that are neighbours in a source as well are one. */
  *#runs(): Generator<RecipeInstruction> {
    let run: RecipeInstruction | undefined;
    for (const [index, twin] of this.#twins.entries()) {
      const piece = this.#sources[index] === NOT_FOUND ? twin : index;
      const [source, start] = [this.#sources[piece] ?? NOT_FOUND, this.#places[piece] ?? 0];
      const length = this.#lengthOf(index);
      const isNext = run?.from?.source === source && run.from.start + run.length === start;
      if (run && isNext) {
        run = { ...run, length: run.length + length };
        continue;
      }
      if (run) yield run;
      run = source === NOT_FOUND ? { length } : { length, from: { source, start } };
    }
    if (run) yield run;
    const end = this.#starts.at(-1) ?? 0;
    if (end < this.#size) yield { length: this.#size - end };
  }

  #add(key: string, end: number): void {
    const index = this.#twins.length;
    const first = this.#firsts.get(key) ?? index;
    if (first === index) this.#firsts.set(key, index);
    this.#twins.push(first);
    this.#starts.push(end);
    this.#sources.push(NOT_FOUND);
    this.#places.push(0);
    this.#weights.push(0);
    this.#weights[first] = (this.#weights[first] ?? 0) + this.#lengthOf(index);
  }

  #place(piece: number, source: number, start: number): void {
    this.#sources[piece] = source;
    this.#places[piece] = start;
  }

  #isInRun(piece: number): boolean {
    const before = piece - 1;
    return (
      this.#sources[piece] !== NOT_FOUND &&
      this.#sources[piece] === this.#sources[before] &&
      this.#places[piece] === (this.#places[before] ?? 0) + this.#lengthOf(before)
    );
  }

  #lengthOf(piece: number): number {
    return (this.#starts[piece + 1] ?? 0) - (this.#starts[piece] ?? 0);
  }
}
