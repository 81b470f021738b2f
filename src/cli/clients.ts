import { describeClient, type ClientKind } from '../clients/clients.ts';
import { MirrorPlace } from '../clients/mirror-place.ts';
import { NEW_MODE, type Recipe } from '../clients/recipe.ts';
import { ConfigError } from '../config/problems.ts';
import { loadConfig } from '../config/load.ts';
import {
  EXIT_CODE,
  print,
  UsageError,
  type CommandContext,
  type CommandOptions,
} from './command-context.ts';

export interface ClientsOptions extends CommandOptions {
  readonly address?: URL;
  readonly ca?: string;
  readonly fallback: boolean;
}

/** Prints what a kind of client needs to pull through this mirror. */
export function clients(
  kind: ClientKind,
  options: ClientsOptions,
  context: CommandContext,
): number {
  const recipe = describeClient(kind, placeOf(options, context));
  const files = recipe.files.map(({ path, content }) => ({ path, content, mode: modeText() }));
  print(options, context, { kind, ...recipe, files }, () => formatRecipe(recipe));
  return EXIT_CODE.ok;
}

function placeOf(options: ClientsOptions, context: CommandContext): MirrorPlace {
  const { config } = loadConfig({ file: options.config, ...context });
  const { address, ca, fallback } = options;
  try {
    return new MirrorPlace(config, { address, ca, fallback, directory: context.cwd });
  } catch (error) {
    // Of the command line, and not of the configuration, which is valid.
    if (error instanceof ConfigError) throw new UsageError(error.message, { cause: error });
    throw error;
  }
}

function modeText(): string {
  return NEW_MODE.toString(8).padStart(4, '0');
}

/** Each file below its path, then what to do, then what to know. */
function formatRecipe({ files, steps, notes }: Recipe): string {
  return [
    ...files.map(({ path, content }) => `# ${path}\n${content}\n`),
    `Then:\n${list(steps)}`,
    notes.length > 0 ? `\nTo know:\n${list(notes)}` : '',
  ].join('');
}

function list(lines: readonly string[]): string {
  return lines.map((line) => `- ${line}\n`).join('');
}
