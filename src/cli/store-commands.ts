import { InvalidArgumentError, Option, type Command } from 'commander';
import { parseByteSize } from '../config/byte-size.ts';
import { ConfigError } from '../config/config-error.ts';
import { FILE_OPTION, JSON_OPTION, type CommandOptions } from './command-options.ts';
import { explain } from './explain.ts';
import { gc, type GcOptions } from './gc.ts';
import { ls, type LsOptions } from './ls.ts';
import { pin, type PinOptions } from './pin.ts';
import { listPins } from './pins.ts';
import type { StoreContext } from './store-context.ts';
import { addSyncCommands } from './sync-commands.ts';
import { unpin } from './unpin.ts';
import { verify, type VerifyOptions } from './verify.ts';

const MAX_LIMIT = 100_000;

/** What is held, and what goes. */
export function addStoreCommands(
  program: Command,
  context: StoreContext,
  finish: (exitCode: number) => void,
): void {
  const add = (name: string, description: string): Command =>
    program
      .command(name)
      .description(description)
      .option(...FILE_OPTION)
      .option(...JSON_OPTION);
  add('ls', 'list the held images')
    .argument('[glob]', 'over the name, or over name:tag, such as "docker.io/library/*:1.*"')
    .addOption(
      new Option('--sort <order>', 'by name, by size, or the oldest pull first')
        .choices(['name', 'size', 'oldest'])
        .default('name'),
    )
    .option('--limit <count>', 'so many at most', parseLimit, 1000)
    .action(async (glob: string | undefined, options: LsOptions) =>
      finish(await ls(glob, options, context)),
    );
  add('explain', 'say what is held of an image, what is missing, and what keeps it')
    .argument('<image>')
    .action(async (image: string, options: CommandOptions) =>
      finish(await explain(image, options, context)),
    );
  add('gc', 'make room: what was pulled longest ago goes first')
    .option('--dry-run', 'only say what would go')
    .option('--bytes <size>', 'so much, such as 10GiB; else down to the low watermark', parseBytes)
    .action(async (options: GcOptions) => finish(await gc(options, context)));
  add('verify', 'read all that is held, and fetch again what is damaged')
    .option('--rebuild', 'make the catalog anew from the files; the server must not run')
    .action(async (options: VerifyOptions) => finish(await verify(options, context)));
  addPinCommands(add, context, finish);
  addSyncCommands(program, context, finish);
}

function addPinCommands(
  add: (name: string, description: string) => Command,
  context: StoreContext,
  finish: (exitCode: number) => void,
): void {
  add('pin', 'keep an image, however old it gets')
    .argument(
      '[image]',
      'a name, name:tag, name@digest, or a glob of one of these with its registry: "*" stops at a slash, "**" does not',
    )
    .option('--reason <text>', 'why, for those who read the list of pins')
    .option(
      '--in-use <file>',
      'keep the images that this file lists, one a line, and no older list',
    )
    .option(
      '--source <name>',
      'who has them in use; each has a list of its own (default: "default")',
    )
    .action(async (image: string | undefined, options: PinOptions) =>
      finish(await pin(image, options, context)),
    );
  add('pins', 'list what is pinned, by whom and why').action(async (options: CommandOptions) =>
    finish(await listPins(options, context)),
  );
  add('unpin', 'take back a pin by hand')
    .argument('<image>', 'as it was pinned')
    .action(async (image: string, options: CommandOptions) =>
      finish(await unpin(image, options, context)),
    );
}

function parseLimit(text: string): number {
  const limit = Number(text);
  if (/^\d+$/.test(text) && limit >= 1 && limit <= MAX_LIMIT) return limit;
  throw new InvalidArgumentError(`Write a whole number from 1 to ${MAX_LIMIT}.`);
}

function parseBytes(text: string): number {
  try {
    const bytes = parseByteSize(text);
    if (bytes >= 1) return bytes;
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
  }
  throw new InvalidArgumentError('Write a size such as "10GiB" or "500MB".');
}
