import type { RemovalReport } from '../api/store-api.ts';
import { isAttachedTag } from '../oci/cosign.ts';
import { askOnce } from './admin-client.ts';
import { EXIT_CODE, print, type CommandOptions, type StoreContext } from './command-context.ts';
import { count, formatLabelled, roundSize, shortDigest } from './format.ts';
import { TEXTS } from './texts.ts';

const PATH = '/api/v1/rm';

interface RmOptions extends CommandOptions {
  readonly dryRun?: boolean;
}

/** Takes one image out of the store; or only says what would go. */
export async function rm(
  image: string,
  options: RmOptions,
  context: StoreContext,
): Promise<number> {
  const { dryRun: isPlan = false } = options;
  const query = new URLSearchParams({ image }).toString();
  const report = await askOnce<RemovalReport>(
    options,
    context,
    isPlan ? { path: `${PATH}?${query}` } : { path: PATH, method: 'POST', body: { image } },
  );
  print(options, context, report, (columns) =>
    formatLabelled('', describe(report, isPlan), columns),
  );
  return EXIT_CODE.ok;
}

function describe({ image, tags, stays, released }: RemovalReport, isPlan: boolean): string {
  const verb = isPlan ? 'would go' : 'gone';
  if (stays) {
    const others = [...stays.tags, ...stays.partOf.map(shortDigest)].join(', ');
    return `${verb}: ${TEXTS.tagAlone({ image, others })}`;
  }
  // Those of signatures are longer than a line can bear.
  const own = image.includes('@') ? tags.filter((tag) => !isAttachedTag(tag)) : [];
  const beside = own.map((tag) => `, ${tag}`).join('');
  const size = `${count(released.blobs, 'blob')}, ${roundSize(released.bytes)}`;
  return `${verb}: ${image}${beside}, ${size}`;
}
