/**
 * One step of a recipe. Recipes are instructions one after the other, each begun by a number: twice the
 * length, and new bytes follow; or one more than that, and the bytes are those of a blob that is held:
 * its position among the sources and that of the first byte in it follow as two more numbers. Numbers are
 * LEB128 of at most eight bytes.
 */
export interface RecipeInstruction {
  /** Bytes. */
  readonly length: number;
  /** Left out where the bytes follow. */
  readonly from?: { readonly source: number; readonly start: number };
}

const NUMBER_BYTES = 8;
/** Of an instruction, without the new bytes. */
export const MAX_INSTRUCTION_BYTES = 3 * NUMBER_BYTES;

export function formatInstruction({ length, from }: RecipeInstruction): number[] {
  if (!from) return formatNumber(2 * length);
  return [2 * length + 1, from.source, from.start].flatMap(formatNumber);
}

/** `undefined` for what is none, or not all of one. */
export function parseInstruction(
  bytes: Uint8Array,
): (RecipeInstruction & { readonly bytes: number }) | undefined {
  const head = parseNumber(bytes, 0);
  if (!head) return undefined;
  const length = Math.floor(head.value / 2);
  if (head.value % 2 === 0) return { length, bytes: head.end };
  const source = parseNumber(bytes, head.end);
  const start = source && parseNumber(bytes, source.end);
  if (!start) return undefined;
  return { length, from: { source: source.value, start: start.value }, bytes: start.end };
}

function formatNumber(value: number): number[] {
  const bytes: number[] = [];
  for (let left = value; ; left = Math.floor(left / 128)) {
    if (left < 128) return [...bytes, left];
    bytes.push((left % 128) + 128);
  }
}

function parseNumber(bytes: Uint8Array, at: number): { value: number; end: number } | undefined {
  let value = 0;
  for (let index = 0; index < NUMBER_BYTES; index += 1) {
    const byte = bytes[at + index];
    if (byte === undefined) return undefined;
    value += (byte % 128) * 128 ** index;
    if (byte < 128) return { value, end: at + index + 1 };
  }
  return undefined;
}
