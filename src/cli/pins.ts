import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { NewPin, Pin } from '../api/store-api.ts';
import { parseImageList } from '../oci/image-name.ts';
import { askOnce } from './admin-client.ts';
import { count, describeOrigin, formatAge, formatTable } from './format.ts';
import {
  AdminError,
  EXIT_CODE,
  UsageError,
  print,
  type CommandOptions,
  type StoreContext,
} from './command-context.ts';
import { TEXTS } from './texts.ts';

const DEFAULT_SOURCE = 'default';

interface PinOptions extends CommandOptions {
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
    if (image !== undefined || reason !== undefined) throw new UsageError(TEXTS.imageOrList);
    return pinInUse({ file, source }, options, context);
  }
  if (image === undefined) throw new UsageError(TEXTS.noImage);
  if (options.source !== undefined) throw new UsageError(TEXTS.sourceAlone);
  const document = await askOnce<NewPin>(options, context, {
    path: '/api/v1/pins',
    method: 'POST',
    body: { image, ...(reason !== undefined && { reason }) },
  });
  print(options, context, document, () => `${describePinned(document)}\n`);
  return EXIT_CODE.ok;
}

async function pinInUse(
  { file, source }: { file: string; source: string },
  options: CommandOptions,
  context: StoreContext,
): Promise<number> {
  const images = parseImageList(readList(resolve(context.cwd, file)));
  const document = await askOnce<{ pins: readonly NewPin[] }>(options, context, {
    path: `/api/v1/in-use/${encodeURIComponent(source)}`,
    method: 'PUT',
    body: { images },
  });
  print(options, context, document, () => `${describeInUse(document.pins, source)}\n`);
  return EXIT_CODE.ok;
}

function readList(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const { syscall, message } = error as NodeJS.ErrnoException;
    if (syscall === undefined) throw error;
    throw new UsageError(TEXTS.unreadableList({ reason: message }));
  }
}

/** A pin may come before its image; the hint is for a glob that is likely mistyped. */
function describePinned({ image, isHeld }: NewPin): string {
  if (isHeld) return TEXTS.pinned({ image });
  const isShort = image.replaceAll('**', '').includes('*');
  return `${TEXTS.pinnedAhead({ image })}${isShort ? ` ${TEXTS.globHint}` : ''}`;
}

function describeInUse(pins: readonly NewPin[], source: string): string {
  const missing = pins.filter(({ isHeld }) => !isHeld).length;
  const lack =
    missing === 0 ? '' : `, of which ${missing} ${missing === 1 ? 'is' : 'are'} not held`;
  return `${TEXTS.inUse({ images: count(pins.length, 'image'), source })}${lack}`;
}

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
  print(options, context, { unpinned: image }, () => `${TEXTS.unpinned({ image })}\n`);
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

/** Prints what is pinned, by whom and why. */
export async function listPins(options: CommandOptions, context: StoreContext): Promise<number> {
  const document = await askOnce<{ pins: readonly Pin[] }>(options, context, {
    path: '/api/v1/pins',
  });
  const { pins } = document;
  print(options, context, document, () =>
    pins.length === 0 ? `${TEXTS.nothingPinned}\n` : formatPins(pins, context.now()),
  );
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
