import { loadConfig } from '../config/load.ts';
import { withAdmin } from './admin-client.ts';
import type { CommandOptions } from './command-options.ts';
import { EXIT_CODE } from './exit-code.ts';
import { printJson } from './print-json.ts';
import type { StoreContext } from './store-context.ts';

/** Takes a pin by hand away, written as it was pinned. That there is none is a failure. */
export async function unpin(
  image: string,
  options: CommandOptions,
  context: StoreContext,
): Promise<number> {
  const { config } = loadConfig({ file: options.config, ...context });
  const query = new URLSearchParams({ image });
  await withAdmin(config, context, async (ask) =>
    ask(`/api/v1/pins?${query.toString()}`, { method: 'DELETE' }),
  );
  if (options.json) printJson({ unpinned: image }, context);
  else context.stdout.write(`unpinned ${image}\n`);
  return EXIT_CODE.ok;
}
