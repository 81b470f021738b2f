import { loadConfig } from '../config/load.ts';
import { withAdmin } from './admin-client.ts';
import { formatAge } from './age.ts';
import type { CommandOptions } from './command-options.ts';
import { describeOrigin } from './describe-pin.ts';
import { EXIT_CODE } from './exit-code.ts';
import { printJson } from './print-json.ts';
import type { StoreContext } from './store-context.ts';
import type { Pin } from '../api/store-api.ts';
import { formatTable } from './table.ts';

/** Prints what is pinned, by whom and why. */
export async function listPins(options: CommandOptions, context: StoreContext): Promise<number> {
  const { config } = loadConfig({ file: options.config, ...context });
  const document = await withAdmin(config, context, async (ask) => ask('/api/v1/pins'));
  const { pins } = document as { pins: readonly Pin[] };
  if (options.json) printJson(document, context);
  else if (pins.length === 0) context.stdout.write('nothing is pinned\n');
  else context.stdout.write(formatPins(pins, context.now()));
  return EXIT_CODE.ok;
}

function formatPins(pins: readonly Pin[], now: number): string {
  const rows = pins.map((pin) => [
    pin.image,
    describeOrigin(pin),
    formatAge(pin.since, now),
    pin.reason ?? '',
  ]);
  return formatTable([['IMAGE', 'PINNED', 'SINCE', 'REASON'], ...rows]);
}
