import { z } from 'zod';
import { ConfigError } from './config-error.ts';
import { converted } from './section.ts';
import { TEXTS } from './texts.ts';

const SHARE = /^(\d{1,3}(?:\.\d+)?)%$/;

/** A share such as `20%`, as a number from 0 to 1. */
export const shareSchema = z
  .string(TEXTS.share)
  .meta({ pattern: SHARE.source })
  .transform(converted(parseShare));

function parseShare(text: string): number {
  const share = Number(SHARE.exec(text)?.[1]) / 100;
  if (share <= 1) return share;
  throw new ConfigError([TEXTS.notThis({ advice: TEXTS.share, text })]);
}

/** `shareSchema` gives the same number back. */
export function formatShare(share: number): string {
  return `${Number((share * 100).toFixed(6))}%`;
}
