import { CommanderError, type OutputConfiguration } from 'commander';
import packageJson from '../../package.json' with { type: 'json' };
import { BundleError } from '../../sync/bundle/bundle-error.ts';
import { ConfigError } from '../config/problems.ts';
import { hasColours, styled } from './colours.ts';
import type { LineProblem } from './command-line.ts';
import { createProgram, VERSION_CODE } from './command-lines.ts';
import { TEXTS } from './texts.ts';
import { count, onOneLine } from './format.ts';
import {
  AdminError,
  EXIT_CODE,
  InterruptedError,
  UsageError,
  columnsOf,
  print,
  type CommandContext,
  type CommandOptions,
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
  const isJson = args.includes('--json');
  const program = createProgram(outputOf(context), (load) => async (...given) => {
    if (program.problems.length > 0) return;
    const action = await load();
    // The last one that commander gives is the command itself.
    exitCode = await action(...([...given.slice(0, -1), storeContext] as never[]));
  });
  try {
    await program.parseAsync(args, { from: 'user' });
    return reportLine(program.problems, { isJson, ...context }) ?? exitCode;
  } catch (error) {
    if (error instanceof CommanderError && error.code === VERSION_CODE) {
      printVersion({ json: isJson }, context);
    }
    return reportError(error, { isJson, ...context });
  }
}

function outputOf({ stdout, stderr, env }: CommandContext): OutputConfiguration {
  return {
    writeOut: (text) => stdout.write(text),
    writeErr: (text) => stderr.write(text),
    getOutHelpWidth: () => columnsOf(stdout) ?? USUAL_COLUMNS,
    getErrHelpWidth: () => columnsOf(stderr) ?? USUAL_COLUMNS,
    getOutHasColors: () => hasColours(stdout, env),
    getErrHasColors: () => hasColours(stderr, env),
  };
}

/** Of help where the output is no terminal. */
const USUAL_COLUMNS = 80;

function printVersion(options: CommandOptions, context: CommandContext): void {
  const { version } = packageJson;
  const { node = 'unknown' } = context;
  print(options, context, { version, node }, () => `entrepot ${version}, Node ${node}\n`);
}

type ErrorContext = CommandContext & { readonly isJson: boolean };

/** All that is wrong with the command line at once; `undefined` when nothing is. */
function reportLine(
  problems: readonly LineProblem[],
  { isJson, stderr, env }: ErrorContext,
): number | undefined {
  const [first] = problems;
  if (!first) return undefined;
  const { path } = first.command;
  const title = TEXTS.lineProblems({ problems: count(problems.length, 'problem') });
  const texts = problems.map(({ text }) => onOneLine(text));
  if (isJson) stderr.write(`${JSON.stringify({ error: title, problems: texts })}\n`);
  else
    stderr.write(`${formatProblems(title, texts, { stderr, env })}${TEXTS.lineHelp({ path })}\n`);
  return EXIT_CODE.usage;
}

/** Each below the title. */
function formatProblems(
  title: string,
  problems: readonly string[],
  context: Pick<CommandContext, 'stderr' | 'env'>,
): string {
  return [markOf(context) + title, ...problems.map((problem) => `  ${problem}`), ''].join('\n');
}

/** What an error begins with. */
function markOf({ stderr, env }: Pick<CommandContext, 'stderr' | 'env'>): string {
  return hasColours(stderr, env) ? `${styled('red', 'entrepot:')} ` : 'entrepot: ';
}

function reportError(error: unknown, { isJson, ...context }: ErrorContext): number {
  const mark = markOf(context);
  const tell = (reason: string, exitCode: number): number => {
    const line = isJson ? JSON.stringify({ error: reason }) : `${mark}${onOneLine(reason)}`;
    context.stderr.write(`${line}\n`);
    return exitCode;
  };
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT_CODE.ok : EXIT_CODE.usage;
  if (error instanceof ConfigError) return reportConfigError(error, { isJson, ...context });
  if (error instanceof UsageError) return tell(error.message, EXIT_CODE.usage);
  if (error instanceof BundleError) return tell(error.message, EXIT_CODE.failed);
  if (error instanceof InterruptedError) return tell(error.message, EXIT_CODE.interrupted);
  if (error instanceof AdminError) {
    return tell(error.message, error.status === 400 ? EXIT_CODE.usage : EXIT_CODE.failed);
  }
  context.stderr.write(`entrepot: ${error instanceof Error ? error.stack : String(error)}\n`);
  return EXIT_CODE.failed;
}

function reportConfigError({ problems, file }: ConfigError, context: ErrorContext): number {
  const title = `${count(problems.length, 'problem')} in ${file ?? 'the configuration'}`;
  const told = context.isJson
    ? `${JSON.stringify({ error: title, problems })}\n`
    : formatProblems(title, problems, context);
  context.stderr.write(told);
  return EXIT_CODE.config;
}
