import type { Pin } from '../api/store-api.ts';
import { askOnce } from './admin-client.ts';
import { print, type CommandOptions, type StoreContext } from './command-context.ts';
import { describeOrigin, formatAge, formatTable } from './format.ts';
import { EXIT_CODE } from './outcome.ts';
import { TEXTS } from './texts.ts';

/** Prints what is pinned, by whom and why. */
export async function listPins(options: CommandOptions, context: StoreContext): Promise<number> {
  const document = await askOnce<{ pins: readonly Pin[] }>(options, context, {
    path: '/api/v1/pins',
  });
  const { pins } = document;
  print(options, context, {
    document,
    text: () => (pins.length === 0 ? `${TEXTS.nothingPinned}\n` : formatPins(pins, context.now())),
  });
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
