import type { ImageSummary } from '../api/store-api.ts';
import { askOnce } from './admin-client.ts';
import { count, describeLack, formatAge, formatTable, roundSize, shortDigest } from './format.ts';
import { EXIT_CODE, print, type CommandOptions, type StoreContext } from './command-context.ts';
import { TEXTS } from './texts.ts';

interface LsOptions extends CommandOptions {
  readonly sort: string;
  readonly limit: number;
}

/** Prints the held images, or those whose name matches a glob. */
export async function ls(
  match: string | undefined,
  { sort, limit, ...options }: LsOptions,
  context: StoreContext,
): Promise<number> {
  const query = new URLSearchParams({ sort, limit: String(limit), ...(match && { match }) });
  const path = `/api/v1/images?${query.toString()}`;
  const document = await askOnce<{ images: readonly ImageSummary[] }>(options, context, { path });
  const { images } = document;
  const nothing = match === undefined ? TEXTS.nothingHeld : TEXTS.nothingHeldOf({ match });
  print(options, context, document, (columns) =>
    images.length === 0 ? `${nothing}\n` : formatTable(rowsOf(images, context.now()), columns),
  );
  if (images.length === limit) {
    const verb = limit === 1 ? 'is' : 'are';
    const more = TEXTS.moreImages({ images: count(limit, 'image'), verb });
    context.stderr.write(`${more}\n`);
  }
  return EXIT_CODE.ok;
}

function rowsOf(images: readonly ImageSummary[], now: number): string[][] {
  const rows = images.map((image) => [
    image.image,
    image.tags.join(', '),
    shortDigest(image.digest),
    roundSize(image.bytes),
    roundSize(image.ownBytes),
    String(image.pulls),
    formatAge(image.lastPulledAt, now),
    describeState(image),
  ]);
  return [['IMAGE', 'TAGS', 'DIGEST', 'SIZE', 'OWN', 'PULLS', 'PULLED', 'STATE'], ...rows];
}

function describeState(image: ImageSummary): string {
  const { state, pins } = image;
  const held = state === 'complete' ? state : `${state}, ${describeLack(image)}`;
  return pins.length === 0 ? held : `${held}, pinned`;
}
