import { statSync } from 'node:fs';
import { askMirror } from '../clients/answer.ts';
import {
  checkClient,
  describeClient,
  isPlaceable,
  openNode,
  removeClient,
  writeClient,
  type CheckedFile,
} from '../clients/clients.ts';
import type { ClientKind } from '../clients/client-kinds.ts';
import { MirrorPlace } from '../clients/mirror-place.ts';
import type { Placement } from '../clients/placing.ts';
import { NEW_MODE, type Recipe } from '../clients/recipe.ts';
import { Refusal } from '../clients/refusal.ts';
import { ConfigError } from '../config/problems.ts';
import { loadConfig } from '../config/load.ts';
import {
  AdminError,
  EXIT_CODE,
  print,
  UsageError,
  type CommandContext,
  type CommandOptions,
} from './command-context.ts';
import { TEXTS } from './texts.ts';

export interface ClientsOptions extends CommandOptions {
  readonly address?: URL;
  readonly ca?: string;
  readonly fallback: boolean;
  readonly root?: string;
  readonly write?: boolean;
  readonly remove?: boolean;
  readonly check?: boolean;
}

/** What goes together. */
export function checkClients(
  [kind]: readonly string[],
  { root, write, remove, check }: Partial<ClientsOptions>,
): string | undefined {
  const asked = [write, remove, check].filter(Boolean).length;
  if (asked > 1) return TEXTS.oneOfThese;
  if (asked === 0) return root === undefined ? undefined : TEXTS.rootAlone;
  return isPlaceable(kind as ClientKind) ? undefined : TEXTS.notOnNode({ kind: String(kind) });
}

/** Prints what a kind of client needs to pull through this mirror; or brings it into the files of a node. */
export async function clients(
  kind: ClientKind,
  options: ClientsOptions,
  context: CommandContext,
): Promise<number> {
  try {
    if (options.remove) return removeFiles(kind, options, context);
    const mirror = placeOf(options, context);
    if (options.write) return writeFiles(kind, mirror, { options, context });
    if (options.check) return await checkFiles(kind, mirror, { options, context });
    return printRecipe(describeClient(kind, mirror), { options, context });
  } catch (error) {
    const isOfFile = error instanceof Refusal || (error instanceof Error && 'syscall' in error);
    throw isOfFile ? new AdminError(error.message, { cause: error }) : error;
  }
}

interface Call {
  readonly options: ClientsOptions;
  readonly context: CommandContext;
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

function printRecipe(recipe: Recipe, { options, context }: Call): number {
  const mode = NEW_MODE.toString(8).padStart(4, '0');
  const files = recipe.files.map(({ path, content }) => ({ path, content, mode }));
  print(options, context, { ...recipe, files }, () => {
    const shown = files.map(({ path, content }) => `# ${path}\n${content}\n`);
    return shown.join('') + formatAdvice(recipe);
  });
  return EXIT_CODE.ok;
}

function formatAdvice({ steps, notes }: Pick<Recipe, 'steps' | 'notes'>): string {
  const known = notes.length > 0 ? `\nTo know:\n${list(notes)}` : '';
  return `Then:\n${list(steps)}${known}`;
}

function list(lines: readonly string[]): string {
  return lines.map((line) => `- ${line}\n`).join('');
}

function writeFiles(kind: ClientKind, mirror: MirrorPlace, { options, context }: Call): number {
  const node = nodeAt(options);
  const placement = writeClient(kind, mirror, node);
  const { steps, notes } = describeClient(kind, mirror, node);
  const hasChanged = placement.files.some(({ change }) => change !== 'unchanged');
  print(options, context, { ...placement, steps, notes }, () => {
    const advice = hasChanged ? `\n${formatAdvice({ steps, notes })}` : '';
    return formatPlacement(placement) + advice;
  });
  return placement.refused.length > 0 ? EXIT_CODE.failed : EXIT_CODE.ok;
}

function removeFiles(kind: ClientKind, options: ClientsOptions, context: CommandContext): number {
  const placement = removeClient(kind, nodeAt(options));
  print(options, context, placement, () => {
    const isEmpty = placement.files.length + placement.refused.length === 0;
    return isEmpty ? `${TEXTS.noneOfOurs}\n` : formatPlacement(placement);
  });
  return placement.refused.length > 0 ? EXIT_CODE.failed : EXIT_CODE.ok;
}

/** What was done; or what was refused, with what to bring in by hand. */
function formatPlacement({ files, refused }: Placement): string {
  if (refused.length === 0) {
    return files.map(({ path, change }) => `${change.padEnd(9)}  ${path}\n`).join('');
  }
  const told = refused.map(({ path, reason, content }) => {
    const ours = content === undefined ? '' : `${content.replace(/^(?=.)/gm, '    ')}\n`;
    return `refused    ${path}: ${reason}\n${ours}`;
  });
  return `${told.join('')}${TEXTS.nothingChanged}\n`;
}

/** 0 only when all is in force and the mirror answers. */
async function checkFiles(
  kind: ClientKind,
  mirror: MirrorPlace,
  { options, context }: Call,
): Promise<number> {
  const files = checkClient(kind, mirror, nodeAt(options));
  const answer = await askMirror(mirror);
  const isInForce = files.every((file) => file.isInForce) && answer.isSound;
  print(options, context, { ok: isInForce, files, mirror: answer }, () => {
    const told = files.map((file) => formatChecked(file));
    return `${told.join('')}${answer.isSound ? 'ok      ' : 'failed  '}  ${answer.told}\n`;
  });
  return isInForce ? EXIT_CODE.ok : EXIT_CODE.failed;
}

function formatChecked({ path, isInForce, reason }: CheckedFile): string {
  return isInForce ? `in force  ${path}\n` : `not so    ${path}: ${reason}\n`;
}

/** The file system of the node. Throws `UsageError` where `--root` names no folder. */
function nodeAt({ root = '/' }: ClientsOptions): ReturnType<typeof openNode> {
  if (statSync(root, { throwIfNoEntry: false })?.isDirectory()) return openNode(root);
  throw new UsageError(TEXTS.noRoot({ root }));
}
