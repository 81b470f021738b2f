import { readFileSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import type { InUse, NewPin, PassedOver, Pin } from '../api/store-api.ts';
import { readImageList, type ImageList } from '../oci/image-list.ts';
import { askOnce } from './admin-client.ts';
import {
  count,
  describeOrigin,
  describePinReason,
  formatAge,
  formatTable,
  onOneLine,
} from './format.ts';
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

/** What does not go together of an image, a list of images in use, a reason and a source. */
export function checkPin([image]: readonly string[], options: PinOptions): string | undefined {
  const { inUse, source, reason } = options;
  if (inUse !== undefined) {
    return image === undefined && reason === undefined ? undefined : TEXTS.imageOrList;
  }
  if (source !== undefined) return TEXTS.sourceAlone;
  return image === undefined ? TEXTS.noImage : undefined;
}

/** Keeps an image whatever its age; or, with a file, the images that something has in use. */
export async function pin(
  image: string | undefined,
  options: PinOptions,
  context: StoreContext,
): Promise<number> {
  const { inUse: file, source = DEFAULT_SOURCE, reason } = options;
  if (file !== undefined) return pinInUse({ file, source }, options, context);
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
  const { entries, isWhole } = parseList(await readList(resolve(context.cwd, file), context));
  const document = await askOnce<InUse<NewPin>>(options, context, {
    path: `/api/v1/in-use/${encodeURIComponent(source)}`,
    method: 'PUT',
    body: { images: entries, ...(!isWhole && { add: true }) },
  });
  print(options, context, { ...document, isWhole }, () =>
    describeInUse(document, { source, isWhole }),
  );
  const isAllNamed = document.passedOver.every(({ kind }) => kind !== 'invalid');
  return isAllNamed ? EXIT_CODE.ok : EXIT_CODE.failed;
}

/** A file that was written within this time may have a writer that is not done. */
const STILL_MS = 1_000;
const MAX_LOOKS = 10;

/** A file is read when it has stood still for a second, and waited for ten seconds at most. */
async function readList(path: string, { now, pause }: StoreContext): Promise<Buffer> {
  try {
    for (let looks = 0; looks < MAX_LOOKS; looks += 1) {
      const before = statSync(path);
      const isRecent = before.isFile() && Math.abs(now() - before.mtimeMs) < STILL_MS;
      if (isRecent) await pause(STILL_MS);
      const bytes = readFileSync(path);
      const after = statSync(path);
      // Of a pipe its end is the end.
      if (!before.isFile()) return bytes;
      if (after.mtimeMs === before.mtimeMs && after.size === bytes.length) return bytes;
    }
  } catch (error) {
    const { syscall, message } = error as NodeJS.ErrnoException;
    if (syscall === undefined) throw error;
    throw new UsageError(TEXTS.unreadableList({ reason: message }));
  }
  throw new AdminError(TEXTS.listChanges({ path }));
}

function parseList(bytes: Buffer): ImageList {
  try {
    return readImageList(bytes);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new AdminError(TEXTS.listNotJson({ reason: error.message }));
  }
}

/** A pin may come before its image; the hint is for a glob that is likely mistyped. */
function describePinned({ image, isHeld }: NewPin): string {
  if (isHeld) return TEXTS.pinned({ image });
  const isShort = image.replaceAll('**', '').includes('*');
  return `${TEXTS.pinnedAhead({ image })}${isShort ? ` ${TEXTS.globHint}` : ''}`;
}

function describeInUse(
  { pins, passedOver }: InUse<NewPin>,
  { source, isWhole }: { source: string; isWhole: boolean },
): string {
  const missing = pins.filter(({ isHeld }) => !isHeld).length;
  const lack =
    missing === 0 ? '' : `, of which ${missing} ${missing === 1 ? 'is' : 'are'} not held`;
  const others = passedOver.filter(({ kind }) => kind === 'elsewhere').length;
  return [
    `${TEXTS.inUse({ images: count(pins.length, 'image'), source })}${lack}`,
    ...(isWhole ? [] : [TEXTS.listCut]),
    ...describePassedOver(passedOver.filter(({ kind }) => kind !== 'elsewhere')),
    ...(others === 0 ? [] : [TEXTS.elsewhere({ images: count(others, 'image') })]),
    '',
  ].join('\n');
}

/** Of the lines that were passed over; `--json` has all. */
const MAX_TOLD = 20;

function describePassedOver(lines: readonly PassedOver[]): string[] {
  if (lines.length === 0) return [];
  const more = lines.length - MAX_TOLD;
  return [
    TEXTS.passedOver({ entries: `${lines.length} ${lines.length === 1 ? 'entry' : 'entries'}` }),
    ...lines
      .slice(0, MAX_TOLD)
      .map(({ line, text, reason }) => onOneLine(`  line ${line}: ${text}: ${reason}`)),
    ...(more > 0 ? [`  ${TEXTS.andMore({ more })}`] : []),
  ];
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
    const by = pin.origin === 'hand' ? TEXTS.byOtherPin : describeOrigin(pin);
    const reason = describePinReason(pin);
    const why = reason === '' ? '' : ` (${reason})`;
    return TEXTS.keptAs({ by: `${by}${why}`, image: pin.image });
  });
  return new AdminError(TEXTS.stillKept({ message: error.message, others: others.join(', ') }), {
    cause: error,
  });
}

/** Prints what is pinned, by whom and why. */
export async function listPins(options: CommandOptions, context: StoreContext): Promise<number> {
  const document = await askOnce<{ pins: readonly Pin[] }>(options, context, {
    path: '/api/v1/pins',
  });
  const { pins } = document;
  print(options, context, document, (columns) =>
    pins.length === 0
      ? `${TEXTS.nothingPinned}\n`
      : formatTable(rowsOf(pins, context.now()), columns),
  );
  return EXIT_CODE.ok;
}

function rowsOf(pins: readonly Pin[], now: number): string[][] {
  const rows = pins.map((pin) => [
    pin.image,
    describeOrigin(pin),
    formatAge(pin.since, now),
    describePinReason(pin),
  ]);
  return [['IMAGE', 'PINNED', 'SINCE', 'REASON'], ...rows];
}
