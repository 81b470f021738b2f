/** Of these names the one that a word is likely to be a slip of: one letter of a short name is wrong, or two. */
export function findNear(word: string, names: readonly string[]): string | undefined {
  const [nearest] = names
    .map((name) => ({ name, edits: countEdits(plain(name), plain(word)) }))
    .filter(({ name, edits }) => edits <= mostEdits(name))
    .toSorted((a, b) => a.edits - b.edits);
  return nearest?.name;
}

/** `max_bytes`, `max-bytes` and `maxbytes` are one. */
export function plain(name: string): string {
  return name.toLowerCase().replaceAll(/[^a-z0-9]/g, '');
}

/** Of a short name one letter may be wrong, else two. */
function mostEdits(name: string): number {
  return name.length < 7 ? 1 : 2;
}

/** Letters to add, take away, change or swap with the next one (optimal string alignment). */
function countEdits(a: string, b: string): number {
  let [before, last]: [number[], number[]] = [
    [],
    Array.from({ length: b.length + 1 }, (_, n) => n),
  ];
  for (let row = 1; row <= a.length; row += 1) {
    const next = [row];
    for (let column = 1; column <= b.length; column += 1) {
      const isSame = a[row - 1] === b[column - 1];
      const isSwapped = a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1];
      next[column] = Math.min(
        last[column]! + 1,
        next[column - 1]! + 1,
        last[column - 1]! + (isSame ? 0 : 1),
        isSwapped && row > 1 && column > 1 ? before[column - 2]! + 1 : Infinity,
      );
    }
    [before, last] = [last, next];
  }
  return last[b.length]!;
}
