const MINUTE = 60_000;
const UNITS = [
  ['day', 24 * 60 * MINUTE],
  ['hour', 60 * MINUTE],
  ['minute', MINUTE],
] as const;

const WORDS = new Intl.RelativeTimeFormat('en');

/** `3 days ago`, of two points in milliseconds; nothing is told of the future. */
export function formatAge(at: number, now: number): string {
  const age = now - at;
  const [unit, length] = UNITS.find(([, length]) => age >= length) ?? [undefined, 1];
  return unit === undefined ? 'just now' : WORDS.format(-Math.floor(age / length), unit);
}
