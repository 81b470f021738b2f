import type { CollectionReport } from '../api/store-api.ts';
import { isAttachedTag } from '../oci/cosign.ts';
import { askOnce } from './admin-client.ts';
import { count, formatAge, formatLabelled, formatTable, roundSize, shortDigest } from './format.ts';
import { EXIT_CODE, print, type CommandOptions, type StoreContext } from './command-context.ts';
import { TEXTS } from './texts.ts';

const PATH = '/api/v1/gc';

interface GcOptions extends CommandOptions {
  readonly dryRun?: boolean;
  readonly bytes?: number;
}

/** Makes room by as much, else down to the low watermark; or only says what would go. */
export async function gc(options: GcOptions, context: StoreContext): Promise<number> {
  const { dryRun: isPlan = false, bytes } = options;
  const query = bytes === undefined ? '' : `?bytes=${bytes}`;
  const document = await askOnce<CollectionReport>(
    options,
    context,
    isPlan ? { path: `${PATH}${query}` } : { path: PATH, method: 'POST', body: { bytes } },
  );
  print(options, context, document, (columns) =>
    formatReport(document, { now: context.now(), isPlan, columns }),
  );
  return EXIT_CODE.ok;
}

function formatReport(
  report: CollectionReport,
  { now, isPlan, columns }: { now: number; isPlan: boolean; columns: number | undefined },
): string {
  const { images, kept } = report;
  const gone = images.map(({ image, tags, digest, bytes, lastPulledAt, why }) => [
    image,
    formatTags(tags),
    shortDigest(digest),
    roundSize(bytes),
    formatAge(lastPulledAt, now),
    why,
  ]);
  const stays = kept.map(({ image, tags, digest, why }) => [
    image,
    formatTags(tags),
    shortDigest(digest),
    why,
  ]);
  return [
    formatLabelled('', summarize(report, isPlan), columns),
    gone.length === 0
      ? ''
      : `\n${formatTable([['IMAGE', 'TAGS', 'DIGEST', 'SIZE', 'PULLED', 'WHY'], ...gone], columns)}`,
    stays.length === 0
      ? ''
      : `\n${TEXTS.kept}\n${formatTable([['IMAGE', 'TAGS', 'DIGEST', 'WHY'], ...stays], columns)}`,
  ].join('');
}

/** Without those of signatures, which are longer than a table can bear. */
function formatTags(tags: readonly string[]): string {
  return tags.filter((tag) => !isAttachedTag(tag)).join(', ');
}

function summarize({ wantedBytes, released }: CollectionReport, isPlan: boolean): string {
  const { images, blobs, bytes } = released;
  const what = `${count(images, 'image')}, ${count(blobs, 'blob')}, ${roundSize(bytes)}`;
  const short = bytes < wantedBytes ? `, less than the ${roundSize(wantedBytes)} wanted` : '';
  if (wantedBytes === 0 && bytes === 0) return TEXTS.nothingToGo;
  return `${isPlan ? 'would go' : 'gone'}: ${what}${short}`;
}
