import * as z from 'zod';
import { ConfigError } from './problems.ts';
import { TEXTS } from './texts.ts';
import { converted } from './section.ts';

interface Form {
  /** What it is called, for editors and documents. */
  readonly title: string;
  /** How it is written. */
  readonly form: RegExp;
}

/** A quantity as the file has it, and the number that it is. */
export function quantity(
  { title, form }: Form,
  parse: (text: string) => number,
  error: string | ((issue: { readonly input: unknown }) => string),
) {
  return z.string({ error }).meta({ title, pattern: form.source }).transform(converted(parse));
}

const SIZE_UNITS: Readonly<Record<string, number>> = {
  PiB: 2 ** 50,
  PB: 1e15,
  TiB: 2 ** 40,
  TB: 1e12,
  GiB: 2 ** 30,
  GB: 1e9,
  MiB: 2 ** 20,
  MB: 1e6,
  KiB: 2 ** 10,
  kB: 1e3,
  KB: 1e3,
  B: 1,
};

const BYTE_SIZE = /^(\d+(?:\.\d+)?) ?([KMGTP]iB|[kKMGTP]?B)?$/;
const WITH_UNIT = /^\d+(?:\.\d+)? ?(?:[KMGTP]iB|[kKMGTP]?B)$/;

/** Bytes of `100GiB`, `50 MB` or a plain number. Throws a `ConfigError` that says what to write. */
export function parseByteSize(size: string | number): number {
  const [, amount, unit = 'B'] = BYTE_SIZE.exec(String(size)) ?? [];
  const bytes = Math.round(Number(amount) * (SIZE_UNITS[unit] ?? Number.NaN));
  if (Number.isSafeInteger(bytes)) return bytes;
  const text = String(size);
  const right = rightSizes(text).join(' or ');
  const advice = right === '' ? TEXTS.size : TEXTS.writeName({ name: right });
  throw new ConfigError([TEXTS.notThis({ advice, text })]);
}

/** What may be meant by a size in the spelling of another program: `100G`, `100gb`, `100Gi`. */
function rightSizes(text: string): string[] {
  const [, amount, letter = '', binary] = /^(\d+(?:\.\d+)?) ?([kmgtp])(i)?b?$/i.exec(text) ?? [];
  if (amount === undefined || BYTE_SIZE.test(text)) return [];
  const [decimal, of1024] = ['B', 'iB'].map((end) => `${amount}${letter.toUpperCase()}${end}`);
  if (binary) return [of1024!];
  return /b$/i.test(text) ? [decimal!] : [decimal!, of1024!];
}

/**
 * A size of the store. A number without a unit that has fewer digits than a number of bytes could
 * sensibly have is refused: nobody means 100 bytes by `100`.
 */
export function storeSizeSchema(leastDigits: number) {
  const least = 10 ** (leastDigits - 1);
  const parse = (size: string | number): number => {
    const bytes = parseByteSize(size);
    const isBare = !WITH_UNIT.test(String(size));
    if (isBare && bytes > 0 && bytes < least) throw new ConfigError([bareSize(String(size))]);
    return bytes;
  };
  return z
    .union(
      [
        z.string().meta({ pattern: `^0$|^\\d{${leastDigits},}$|${WITH_UNIT.source}` }),
        z.literal(0),
        z.number().min(least, { error: ({ input }) => bareSize(String(input)) }),
      ],
      { error: TEXTS.size },
    )
    .meta({ title: 'size' })
    .transform(converted(parse));
}

function bareSize(text: string): string {
  if (!(Number(text) > 0)) return TEXTS.notThis({ advice: TEXTS.size, text });
  // 102400 is 100 GiB in MiB, 104857600 in KiB.
  const amount = Number(text);
  const unit = amount < 10_000 ? 'GiB' : amount < 1_000_000 ? 'MiB' : 'KiB';
  return TEXTS.sizeBare({ text, right: `${text}${unit}` });
}

/** The shortest exact form; `parseByteSize` gives the same number back. */
export function formatByteSize(bytes: number): string {
  for (const [unit, factor] of Object.entries(SIZE_UNITS)) {
    if (bytes >= factor && bytes % factor === 0) return `${bytes / factor}${unit}`;
  }
  return `${bytes}B`;
}

const RATE = /^(\d+(?:\.\d+)? ?(?:[KMGTP]iB|[kKMGTP]?B))\/s$/;

/** Bytes a second of `50MiB/s`, at least 1. Throws a `ConfigError` that says what to write. */
export function parseRate(text: string): number {
  const size = RATE.exec(text)?.[1];
  if (size === undefined)
    throw new ConfigError([TEXTS.notThis({ advice: rateAdvice(text), text })]);
  const bytes = parseByteSize(size);
  if (bytes === 0) throw new ConfigError([TEXTS.rateAboveZero]);
  return bytes;
}

/** `50M`, `50MiB`, and the bits of those who sell links: `100Mbit/s`, `100Mbps`. */
function rateAdvice(text: string): string {
  const [, size = '', bits] =
    /^(\d+(?:\.\d+)? ?[kmgtp]?(?:i?b)?)(its?(?:\/s)?|ps)?(?:\/s(?:ec)?)?$/i.exec(text) ?? [];
  if (bits !== undefined && /b$/i.test(size)) {
    const [unit] = rightSizes(size);
    return unit === undefined
      ? TEXTS.rate
      : TEXTS.writeName({ name: formatRate(Math.round(parseByteSize(unit) / 8)) });
  }
  const sizes = size.endsWith('B') && BYTE_SIZE.test(size) ? [size] : rightSizes(size);
  if (sizes.length === 0) return TEXTS.rate;
  return TEXTS.writeName({ name: sizes.map((right) => `${right}/s`).join(' or ') });
}

/** Bytes a second. */
export const rate = (error: string) => quantity({ title: 'rate', form: RATE }, parseRate, error);

/** The shortest exact form; `parseRate` gives the same number back. */
export function formatRate(bytesPerSecond: number): string {
  return `${formatByteSize(bytesPerSecond)}/s`;
}

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const TIME_UNITS = { d: DAY, h: HOUR, m: MINUTE, s: SECOND, ms: 1 } as const;

/** The written form of a duration, for editors; at least one part must be there. */
const DURATION = /^(?=\d)(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+)s)?(?:(\d+)ms)?$/;

/** Milliseconds of `5m`, `1h30m` or `0s`. Throws a `ConfigError` that says what to write. */
export function parseDuration(text: string): number {
  const parts = DURATION.exec(text)?.slice(1);
  const milliseconds = Object.values(TIME_UNITS).reduce(
    (sum, unit, position) => sum + Number(parts?.[position] ?? 0) * unit,
    0,
  );
  if (!parts || !Number.isSafeInteger(milliseconds)) {
    throw new ConfigError([TEXTS.notThis({ advice: durationAdvice(text), text })]);
  }
  return milliseconds;
}

/** The units as people write them out. */
const UNIT_WORDS: Readonly<Record<string, RegExp>> = {
  ms: /^(?:ms|msecs?|milliseconds?)$/i,
  s: /^(?:s|secs?|seconds?)$/i,
  m: /^(?:m|[Mm]ins?|[Mm]inutes?)$/,
  h: /^(?:h|hrs?|hours?)$/i,
  d: /^(?:d|days?)$/i,
};

function durationAdvice(text: string): string {
  const [, amount = '', word = ''] = /^(\d+) ?([a-z]+)$/i.exec(text) ?? [];
  if (/^w(?:eeks?)?$/i.test(word)) return TEXTS.writeName({ name: `${7 * Number(amount)}d` });
  const unit = Object.keys(UNIT_WORDS).find((each) => UNIT_WORDS[each]!.test(word));
  const right = `${amount}${unit}`;
  return unit === undefined || right === text ? TEXTS.duration : TEXTS.writeName({ name: right });
}

/** As `parseDuration`, and `forever` is `Infinity`. */
export function parseDurationOrForever(text: string): number {
  return text === 'forever' ? Number.POSITIVE_INFINITY : parseDuration(text);
}

/** The shortest exact form; `parseDurationOrForever` gives the same number back. */
export function formatDuration(milliseconds: number): string {
  if (milliseconds === Number.POSITIVE_INFINITY) return 'forever';
  let rest = milliseconds;
  let text = '';
  for (const [unit, length] of Object.entries(TIME_UNITS)) {
    const count = Math.floor(rest / length);
    if (count > 0) text += `${count}${unit}`;
    rest -= count * length;
  }
  return text === '' ? '0s' : text;
}

/** A duration of the file, in milliseconds. */
export const duration = quantity(
  { title: 'duration', form: DURATION },
  parseDuration,
  TEXTS.duration,
);

/** As `duration`, and `forever` is `Infinity`. */
export const durationOrForever = quantity(
  { title: 'duration or forever', form: new RegExp(`${DURATION.source}|^forever$`) },
  parseDurationOrForever,
  TEXTS.durationOrForever,
);

/** The written form of a share, for editors. */
export const SHARE = /^(\d{1,3}(?:\.\d+)?)%$/;

/** A share such as `20%`, as a number from 0 to 1. */
export const shareSchema = quantity({ title: 'share', form: SHARE }, parseShare, ({ input }) => {
  if (typeof input !== 'number' || !(input > 0 && input <= 100) || input === 1) return TEXTS.share;
  return TEXTS.writeName({ name: formatShare(input < 1 ? input : input / 100) });
});

function parseShare(text: string): number {
  const share = Number(SHARE.exec(text)?.[1]) / 100;
  if (share <= 1) return share;
  throw new ConfigError([TEXTS.notThis({ advice: TEXTS.share, text })]);
}

/** `shareSchema` gives the same number back. */
export function formatShare(share: number): string {
  return `${Number((share * 100).toFixed(6))}%`;
}
