import { CommanderError } from 'commander';
import { ConfigError } from '../config/problems.ts';
import { createProgram } from './command-lines.ts';
import { count, onOneLine } from './format.ts';
import {
  AdminError,
  EXIT_CODE,
  InterruptedError,
  UsageError,
  type CommandContext,
  createStoreContext,
  type StoreCommandParts,
} from './command-context.ts';

/** Runs one command. Resolves with the exit code; what went wrong is on stderr by then. */
export async function runCommand(
  args: readonly string[],
  context: CommandContext,
  parts: Partial<StoreCommandParts> = {},
): Promise<number> {
  let exitCode: number = EXIT_CODE.ok;
  const storeContext = createStoreContext(context, parts);
  const output = {
    writeOut: (text: string) => context.stdout.write(text),
    writeErr: (text: string) => context.stderr.write(text),
  };
  const program = createProgram(output, (action) => async (...args) => {
    // The last one that commander gives is the command itself.
    const given = [...args.slice(0, -1), storeContext] as never[];
    exitCode = await action(...given);
  });
  try {
    await program.parseAsync(args, { from: 'user' });
    return exitCode;
  } catch (error) {
    return reportError(error, { isJson: args.includes('--json'), ...context });
  }
}

function reportError(
  error: unknown,
  { isJson, ...context }: CommandContext & { isJson: boolean },
): number {
  const tell = (reason: string, exitCode: number): number => {
    const line = isJson ? JSON.stringify({ error: reason }) : `entrepot: ${onOneLine(reason)}`;
    context.stderr.write(`${line}\n`);
    return exitCode;
  };
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT_CODE.ok : EXIT_CODE.usage;
  if (error instanceof ConfigError) return reportConfigError(error, context);
  if (error instanceof UsageError) return tell(error.message, EXIT_CODE.usage);
  if (error instanceof InterruptedError) return tell(error.message, EXIT_CODE.interrupted);
  if (error instanceof AdminError) {
    return tell(error.message, error.status === 400 ? EXIT_CODE.usage : EXIT_CODE.failed);
  }
  context.stderr.write(`entrepot: ${error instanceof Error ? error.stack : String(error)}\n`);
  return EXIT_CODE.failed;
}

function reportConfigError({ problems, file }: ConfigError, { stderr }: CommandContext): number {
  stderr.write(
    `entrepot: ${count(problems.length, 'problem')} in ${file ?? 'the configuration'}\n`,
  );
  for (const problem of problems) stderr.write(`  ${problem}\n`);
  return EXIT_CODE.config;
}
