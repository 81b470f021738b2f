import { resolve } from 'node:path';
import { Readable } from 'node:stream';
import { BundleError } from '../../sync/bundle/bundle-error.ts';
import { findLayoutFiles } from '../../sync/bundle/layout-export.ts';
import { LayoutWriter } from '../../sync/bundle/layout-writer.ts';
import type { DraftReport } from '../api/bundle-api.ts';
import { loadConfig } from '../config/load.ts';
import type { Digest } from '../oci/digest.ts';
import { formatImageName, isTag } from '../oci/reference.ts';
import { withAdmin } from './admin-client.ts';
import { withDraft, type ReadyDraft } from './bundle-draft.ts';
import {
  AdminError,
  EXIT_CODE,
  print,
  type CommandOptions,
  type StoreContext,
} from './command-context.ts';
import { count, formatLabelled, formatTable, roundSize } from './format.ts';
import { ProgressLine } from './progress-line.ts';
import { TEXTS } from './texts.ts';
import { untilStopped } from './until-stopped.ts';

interface ExportOptions extends CommandOptions {
  readonly ociLayout: string;
  readonly platforms?: readonly string[];
}

interface ExportReport extends Pick<DraftReport, 'problems' | 'unasked'> {
  /** Absent, as all below, where something could not be fetched. */
  readonly image?: string;
  readonly digest?: string;
  readonly folder?: string;
  /** By which tools find it in the folder. */
  readonly ref?: string;
  readonly leftOut?: readonly { readonly digest: string; readonly platform?: string }[];
  /** What was not there before. */
  readonly blobs?: number;
  readonly bytes?: number;
}

/**
 * Writes one image to the folder of an OCI layout, its digests unchanged, for tools that know nothing of
 * bundles; what is attached to it stays here. 1 where something could not be fetched.
 */
export async function exportImage(
  image: string,
  options: ExportOptions,
  context: StoreContext,
): Promise<number> {
  const { config } = loadConfig({ file: options.config, ...context });
  const { platforms, ociLayout } = options;
  const folder = resolve(context.cwd, ociLayout);
  const wish = { images: [image], isPlain: true, ...(platforms && { platforms }) };
  const shown = { options, context };
  const report = await untilStopped(config, context, async (signal) =>
    withAdmin(config, context, async (ask) =>
      withDraft(ask, wish, { ...shown, signal }, async (draft) => write(draft, folder, shown)),
    ),
  );
  print(options, context, report, (columns) => formatReport(report, columns));
  return report.problems.length === 0 ? EXIT_CODE.ok : EXIT_CODE.failed;
}

/** Throws `AdminError` where the folder is none of a layout, or takes no writes. */
async function write(
  { report, openBlob }: ReadyDraft,
  folder: string,
  { options, context }: { options: ExportOptions; context: StoreContext },
): Promise<ExportReport> {
  const { draft, problems, unasked } = report;
  const [root] = draft?.images ?? [];
  if (!draft || !root) return { problems, unasked };
  const sizes = new Map(draft.blobs.map(({ digest, size }) => [digest, size]));
  const open = async (digest: Digest): Promise<AsyncIterable<Uint8Array>> => {
    const size = sizes.get(digest) ?? 0;
    return size === 0 ? Readable.from([]) : openBlob(digest, { start: 0, end: size });
  };
  const { name, tag, mediaType, size } = root;
  const digest = root.digest as Digest;
  const line = ProgressLine.of(options, context);
  try {
    const writer = await LayoutWriter.open(folder);
    const files = await findLayoutFiles({ digest, mediaType }, { sizes, open });
    const all = roundSize(files.bytes);
    let [blobs, bytes] = [0, 0];
    for (const each of files.digests) {
      if (await writer.has(each)) continue;
      await writer.write(each, await open(each));
      blobs += 1;
      bytes += sizes.get(each) ?? 0;
      line.show(TEXTS.bundleWriting({ done: roundSize(bytes), all }), bytes / files.bytes);
    }
    const image = formatImageName({ name, ...(isTag(tag) ? { tag } : { digest }) });
    const ref = await writer.list({ mediaType, digest, size, name: image, tag });
    const { leftOut } = files;
    return { image, digest, folder, ref, leftOut, blobs, bytes, problems, unasked };
  } catch (error) {
    throw explain(error, folder);
  } finally {
    line.end();
  }
}

function explain(error: unknown, path: string): unknown {
  const { syscall, message } = error as NodeJS.ErrnoException;
  if (error instanceof BundleError) return new AdminError(message, { cause: error });
  if (syscall === undefined || error instanceof AdminError) return error;
  return new AdminError(TEXTS.exportUnwritable({ path, reason: message }), { cause: error });
}

function formatReport(report: ExportReport, columns: number | undefined): string {
  const { image, digest, folder, ref, leftOut = [], blobs = 0, bytes = 0 } = report;
  const unasked = report.unasked.map((each) => TEXTS.bundleUnasked({ image: each }));
  if (image === undefined) {
    const rows = report.problems.map((each) => [each.image, each.reason]);
    const table = formatTable([['IMAGE', 'REASON'], ...rows], columns);
    return `${formatLabelled('', TEXTS.exportNothing, columns)}${table}`;
  }
  return [
    ['image', image],
    ['digest', digest],
    ['folder', `${folder}:${ref}`],
    ['left out', leftOut.map((each) => each.platform ?? each.digest).join(', ')],
    ['written', `${count(blobs, 'blob')} of ${roundSize(bytes)}`],
    ...unasked.map((text) => ['note', text]),
  ]
    .filter(([, text]) => text !== '')
    .map(([label = '', text = '']) => formatLabelled(label.padEnd(10), text, columns))
    .join('');
}
