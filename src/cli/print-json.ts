import type { CommandContext } from './command-context.ts';

/** A document as `--json` prints it. */
export function printJson(value: unknown, { stdout }: Pick<CommandContext, 'stdout'>): void {
  stdout.write(`${JSON.stringify(value, undefined, 2)}\n`);
}
