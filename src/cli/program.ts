import { Command, CommanderError } from 'commander';
import packageJson from '../../package.json' with { type: 'json' };
import { ConfigError } from '../config/config-error.ts';
import { AdminError } from './admin-error.ts';
import type { CommandContext } from './command-context.ts';
import { FILE_OPTION, JSON_OPTION } from './command-options.ts';
import { checkConfig, printConfigSchema, type CheckOptions } from './config.ts';
import { doctor, type DoctorOptions } from './doctor.ts';
import { EXIT_CODE } from './exit-code.ts';
import { InterruptedError } from './interrupted-error.ts';
import { serve, type ServeOptions } from './serve.ts';
import { printStatus, type StatusOptions } from './status.ts';
import { addStoreCommands } from './store-commands.ts';
import { createStoreContext, type StoreParts } from './store-context.ts';
import { onOneLine } from './table.ts';
import { UsageError } from './usage-error.ts';

/** Runs one command. Resolves with the exit code; what went wrong is on stderr by then. */
export async function runCommand(
  args: readonly string[],
  context: CommandContext,
  parts: Partial<StoreParts> = {},
): Promise<number> {
  let exitCode: number = EXIT_CODE.ok;
  const program = createProgram(context, (code) => {
    exitCode = code;
  });
  addStoreCommands(program, createStoreContext(context, parts), (code) => {
    exitCode = code;
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

function createProgram(context: CommandContext, finish: (exitCode: number) => void): Command {
  const program = new Command('entrepot')
    .description(packageJson.description)
    .version(packageJson.version)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => context.stdout.write(text),
      writeErr: (text) => context.stderr.write(text),
    });
  program
    .command('serve')
    .description('serve pulls until SIGTERM, SIGINT or SIGHUP')
    .option(...FILE_OPTION)
    .option(...JSON_OPTION)
    .action(async (options: ServeOptions) => finish(await serve(options, context)));
  program
    .command('status')
    .description('say how the running server and its upstreams do')
    .option(...FILE_OPTION)
    .option(...JSON_OPTION)
    .action(async (options: StatusOptions) => finish(await printStatus(options, context)));
  program
    .command('doctor')
    .description('examine every upstream, and say what to do about what is wrong')
    .argument('[image...]', 'to look for, such as docker.io/library/alpine:latest')
    .option(...FILE_OPTION)
    .option(...JSON_OPTION)
    .action(async (images: string[], options: DoctorOptions) =>
      finish(await doctor(images, options, context)),
    );
  const config = program
    .command('config')
    .description('check the configuration, describe its keys');
  config
    .command('check')
    .description('say what is wrong, or print what is in force')
    .option(...FILE_OPTION)
    .option(...JSON_OPTION)
    .action((options: CheckOptions) => finish(checkConfig(options, context)));
  config
    .command('schema')
    .description('print the JSON Schema of the file, for editors')
    .option(...JSON_OPTION)
    .action(() => finish(printConfigSchema(context)));
  return program;
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
  const count = problems.length === 1 ? '1 problem' : `${problems.length} problems`;
  stderr.write(`entrepot: ${count} in ${file ?? 'the configuration'}\n`);
  for (const problem of problems) stderr.write(`  ${problem}\n`);
  return EXIT_CODE.config;
}
