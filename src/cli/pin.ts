import { loadConfig } from '../config/load.ts';
import { withAdmin } from './admin-client.ts';
import type { CommandOptions } from './command-options.ts';
import { count } from './count.ts';
import { EXIT_CODE } from './exit-code.ts';
import { readImageList } from './image-list.ts';
import { printJson } from './print-json.ts';
import type { StoreContext } from './store-context.ts';
import type { NewPin } from '../api/store-api.ts';
import { UsageError } from './usage-error.ts';

const DEFAULT_SOURCE = 'default';

export interface PinOptions extends CommandOptions {
  readonly reason?: string;
  readonly inUse?: string;
  readonly source?: string;
}

/** Keeps an image whatever its age; or, with a file, the images that something has in use. */
export async function pin(
  image: string | undefined,
  options: PinOptions,
  context: StoreContext,
): Promise<number> {
  const { inUse: file, source = DEFAULT_SOURCE, reason } = options;
  if (file !== undefined) {
    if (image !== undefined || reason !== undefined) {
      throw new UsageError('write either an image with its reason, or --in-use with a file');
    }
    return pinInUse({ file, source }, options, context);
  }
  if (image === undefined) throw new UsageError('write an image, or --in-use with a file of them');
  if (options.source !== undefined) throw new UsageError('--source goes with --in-use');
  const { config } = loadConfig({ file: options.config, ...context });
  const body = { image, ...(reason !== undefined && { reason }) };
  const document = await withAdmin(config, context, async (ask) =>
    ask('/api/v1/pins', { method: 'POST', body }),
  );
  if (options.json) printJson(document, context);
  else context.stdout.write(`pinned ${describePinned(document as NewPin)}\n`);
  return EXIT_CODE.ok;
}

async function pinInUse(
  { file, source }: { file: string; source: string },
  options: CommandOptions,
  context: StoreContext,
): Promise<number> {
  const images = readImageList(file, context.cwd);
  const { config } = loadConfig({ file: options.config, ...context });
  const document = await withAdmin(config, context, async (ask) =>
    ask(`/api/v1/in-use/${encodeURIComponent(source)}`, { method: 'PUT', body: { images } }),
  );
  const { pins } = document as { pins: readonly NewPin[] };
  if (options.json) printJson(document, context);
  else context.stdout.write(`${describeInUse(pins, source)}\n`);
  return EXIT_CODE.ok;
}

/** A pin may come before its image; a slip of the hand must not look the same. */
function describePinned({ image, isHeld }: NewPin): string {
  if (isHeld) return image;
  const isShort = image.replaceAll('**', '').includes('*');
  const hint = isShort ? ' ("*" stops at a slash, "**" does not)' : '';
  return `${image}: nothing of it is held yet${hint}`;
}

function describeInUse(pins: readonly NewPin[], source: string): string {
  const missing = pins.filter(({ isHeld }) => !isHeld).length;
  const lack =
    missing === 0 ? '' : `, of which ${missing} ${missing === 1 ? 'is' : 'are'} not held`;
  return `${count(pins.length, 'image')} pinned as in use by ${source}${lack}`;
}
