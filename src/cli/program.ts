import { Command, CommanderError } from 'commander';
import packageJson from '../../package.json' with { type: 'json' };
import { ConfigError } from '../config/config-error.ts';
import { type CommandContext, createStoreContext, type StoreParts } from './command-context.ts';
import { addCommandLines } from './command-lines.ts';
import { count, onOneLine } from './format.ts';
import { AdminError, EXIT_CODE, InterruptedError, UsageError } from './outcome.ts';

/** Runs one command. Resolves with the exit code; what went wrong is on stderr by then. */
export async function runCommand(
  args: readonly string[],
  context: CommandContext,
  parts: Partial<StoreParts> = {},
): Promise<number> {
  let exitCode: number = EXIT_CODE.ok;
  const program = new Command('entrepot')
    .description(packageJson.description)
    .version(packageJson.version)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => context.stdout.write(text),
      writeErr: (text) => context.stderr.write(text),
    });
  addCommandLines({
    parent: program,
    context: createStoreContext(context, parts),
    finish: (code) => (exitCode = code),
  });
  pointToHelp(program);
  try {
    await program.parseAsync(args, { from: 'user' });
    return exitCode;
  } catch (error) {
    return reportError(error, { isJson: args.includes('--json'), ...context });
  }
}

/** After a command that is not known; each command says by itself what is wrong with its options. */
function pointToHelp(program: Command): void {
  program.showHelpAfterError('(entrepot --help lists the commands)');
  for (const group of program.commands.filter(({ commands }) => commands.length > 0)) {
    group.showHelpAfterError(`(entrepot ${group.name()} --help lists its commands)`);
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
