import { InvalidArgumentError } from 'commander';
import { ConfigError } from '../config/problems.ts';
import { parseByteSize } from '../config/quantity.ts';
import { FILE_OPTION, JSON_OPTION } from './command-context.ts';
import type { CommandLine } from './command-line.ts';
import { TEXTS } from './texts.ts';

/** A command: its arguments, its options and what it may touch. */
type Action = (...args: never[]) => number | Promise<number>;

/** Makes of an action what commander calls; its module is loaded when it is called. */
export type Run = (load: () => Promise<Action>) => (...args: unknown[]) => Promise<void>;

/** Where a group of command lines belongs, and what makes a command of each. */
export interface Group {
  readonly parent: CommandLine;
  readonly run: Run;
}

const MAX_LIMIT = 100_000;

/** A command that reads the configuration. */
export function add(parent: CommandLine, name: string, description: string): CommandLine {
  return parent
    .command(name)
    .description(description)
    .option(...FILE_OPTION)
    .option(...JSON_OPTION);
}

export function parseBytes(text: string): number {
  try {
    const bytes = parseByteSize(text);
    if (bytes >= 1) return bytes;
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
  }
  throw new InvalidArgumentError(TEXTS.writeBytes);
}

export function parseLimit(text: string): number {
  const limit = Number(text);
  if (/^\d+$/.test(text) && limit >= 1 && limit <= MAX_LIMIT) return limit;
  throw new InvalidArgumentError(TEXTS.writeCount({ most: MAX_LIMIT }));
}

export function parseList(text: string): readonly string[] {
  return text.split(',').map((each) => each.trim());
}
