import { formatByteSize, parseByteSize } from './byte-size.ts';
import { ConfigError } from './config-error.ts';

/** The written form of a rate, for editors. */
export const RATE = /^(\d+(?:\.\d+)? ?(?:[KMGTP]iB|[kKMGTP]?B))\/s$/;

/** Bytes a second of `50MiB/s`, at least 1. Throws a `ConfigError` that says what to write. */
export function parseRate(text: string): number {
  const size = RATE.exec(text)?.[1];
  if (size === undefined) throw new ConfigError([`write a rate such as "50MiB/s", not "${text}"`]);
  const bytes = parseByteSize(size);
  if (bytes === 0) throw new ConfigError(['write more than 0; leave the key out for no limit']);
  return bytes;
}

/** The shortest exact form; `parseRate` gives the same number back. */
export function formatRate(bytesPerSecond: number): string {
  return `${formatByteSize(bytesPerSecond)}/s`;
}
