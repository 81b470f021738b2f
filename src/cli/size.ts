const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

/** A size to read: three digits are enough. */
export function roundSize(bytes: number): string {
  const power = bytes < 1 ? 0 : Math.min(UNITS.length - 1, Math.floor(Math.log2(bytes) / 10));
  const amount = bytes / 1024 ** power;
  // 1023.7 KiB would be 1.02e+3 in three digits.
  const digits =
    power === 0 || amount >= 999.5 ? String(Math.round(amount)) : amount.toPrecision(3);
  return `${digits} ${UNITS[power]}`;
}
