import type { Pin } from '../api/store-api.ts';
import { askOnce } from './admin-client.ts';
import { print, type CommandOptions, type StoreContext } from './command-context.ts';
import { describeOrigin } from './format.ts';
import { AdminError, EXIT_CODE } from './outcome.ts';
import { TEXTS } from './texts.ts';

/** Takes a pin by hand away, written as it was pinned. That there is none is a failure. */
export async function unpin(
  image: string,
  options: CommandOptions,
  context: StoreContext,
): Promise<number> {
  const path = `/api/v1/pins?${new URLSearchParams({ image }).toString()}`;
  try {
    await askOnce(options, context, { path, method: 'DELETE' });
  } catch (error) {
    throw error instanceof AdminError ? namingOthers(error) : error;
  }
  print(options, context, {
    document: { unpinned: image },
    text: () => `${TEXTS.unpinned({ image })}\n`,
  });
  return EXIT_CODE.ok;
}

/** The image stays, whoever takes a pin by hand back. */
function namingOthers(error: AdminError): AdminError {
  const { pins = [] } = (error.detail ?? {}) as { pins?: readonly Pin[] };
  if (pins.length === 0) return error;
  const others = pins.map((pin) => {
    const by = pin.origin === 'hand' ? 'by another pin by hand' : describeOrigin(pin);
    const why = pin.reason === undefined ? '' : ` (${pin.reason})`;
    return `${by}${why} as ${pin.image}`;
  });
  return new AdminError(`${error.message}, but ${others.join(', ')}`, { cause: error });
}
