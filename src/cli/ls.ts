import { loadConfig } from '../config/load.ts';
import { withAdmin } from './admin-client.ts';
import { formatAge } from './age.ts';
import type { CommandOptions } from './command-options.ts';
import { count } from './count.ts';
import { EXIT_CODE } from './exit-code.ts';
import { printJson } from './print-json.ts';
import { shortDigest } from './short-digest.ts';
import { roundSize } from './size.ts';
import type { StoreContext } from './store-context.ts';
import type { ImageSummary } from '../api/store-api.ts';
import { formatTable } from './table.ts';

export interface LsOptions extends CommandOptions {
  readonly sort: string;
  readonly limit: number;
}

/** Prints the held images, or those whose name matches a glob. */
export async function ls(
  match: string | undefined,
  { sort, limit, ...options }: LsOptions,
  context: StoreContext,
): Promise<number> {
  const { config } = loadConfig({ file: options.config, ...context });
  const query = new URLSearchParams({ sort, limit: String(limit), ...(match && { match }) });
  const document = await withAdmin(config, context, async (ask) =>
    ask(`/api/v1/images?${query.toString()}`),
  );
  const { images } = document as { images: readonly ImageSummary[] };
  if (options.json) printJson(document, context);
  else if (images.length > 0) context.stdout.write(formatImages(images, context.now()));
  if (images.length === 0 && !options.json) {
    context.stdout.write(`nothing${match === undefined ? '' : ` of ${match}`} is held\n`);
  }
  if (images.length === limit) {
    context.stderr.write(
      `no more than ${count(limit, 'image')} ${limit === 1 ? 'is' : 'are'} shown: --limit shows more\n`,
    );
  }
  return EXIT_CODE.ok;
}

function formatImages(images: readonly ImageSummary[], now: number): string {
  const rows = images.map((image) => [
    image.image,
    image.tags.join(', '),
    shortDigest(image.digest),
    roundSize(image.bytes),
    roundSize(image.ownBytes),
    formatAge(image.lastPulledAt, now),
    describeState(image),
  ]);
  return formatTable([['IMAGE', 'TAGS', 'DIGEST', 'SIZE', 'OWN', 'PULLED', 'STATE'], ...rows]);
}

function describeState({ state, missingBytes, pins }: ImageSummary): string {
  const held = state === 'complete' ? state : `partial, ${roundSize(missingBytes)} missing`;
  return pins.length === 0 ? held : `${held}, pinned`;
}
