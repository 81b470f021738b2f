import { askOnce } from './admin-client.ts';
import { print, type CommandOptions } from './command-context.ts';
import { EXIT_CODE } from './outcome.ts';
import type { StoreContext } from './store-context.ts';

/** Takes a pin by hand away, written as it was pinned. That there is none is a failure. */
export async function unpin(
  image: string,
  options: CommandOptions,
  context: StoreContext,
): Promise<number> {
  const path = `/api/v1/pins?${new URLSearchParams({ image }).toString()}`;
  await askOnce(options, context, { path, method: 'DELETE' });
  print(options, context, { document: { unpinned: image }, text: () => `unpinned ${image}\n` });
  return EXIT_CODE.ok;
}
