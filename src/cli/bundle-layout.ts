import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { Readable } from 'node:stream';
import { LayoutFolder } from '../../sync/bundle/layout-folder.ts';
import type { LayoutReport } from '../api/layout-api.ts';
import { loadConfig } from '../config/load.ts';
import { withAdmin } from './admin-client.ts';
import {
  AdminError,
  EXIT_CODE,
  print,
  type CommandOptions,
  type StoreContext,
} from './command-context.ts';
import { count, formatLabelled, roundSize } from './format.ts';
import { ProgressLine } from './progress-line.ts';
import { describing, sendTar, type TarSource } from './tar-upload.ts';
import { TEXTS } from './texts.ts';

export interface LayoutOptions extends CommandOptions {
  readonly as: string;
  readonly ref?: string;
}

/** Takes in one image that another tool wrote to a folder or a file, under the name that is given. */
export async function importLayout(
  path: string,
  options: LayoutOptions,
  context: StoreContext,
): Promise<number> {
  const { config } = loadConfig({ file: options.config, ...context });
  const source = await findSource(path, context);
  const { as: image, ref } = options;
  const query = new URLSearchParams({ image, ...(ref !== undefined && { ref }) });
  const line = ProgressLine.of(options, context);
  const report = (await withAdmin(
    config,
    context,
    async (ask) =>
      sendTar(ask, `/api/v1/bundles/layouts?${query.toString()}`, { source, line }).finally(() =>
        line.end(),
      ),
    'make',
  )) as LayoutReport;
  print(options, context, report, (columns) => formatReport(report, columns));
  return EXIT_CODE.ok;
}

async function findSource(path: string, { cwd, stdin }: StoreContext): Promise<TarSource> {
  if (path === '-') return { name: '-', open: () => stdin?.() ?? Readable.from([]) };
  const at = resolve(cwd, path);
  const found = await stat(at).catch((cause: NodeJS.ErrnoException) => {
    throw new AdminError(TEXTS.unreadableFile({ path: at, reason: cause.code ?? cause.message }));
  });
  if (!found.isDirectory()) return { name: at, size: found.size, open: () => createReadStream(at) };
  const folder = await describing(at, async () => LayoutFolder.open(at));
  return { name: at, size: folder.size, open: () => folder.tar() };
}

function formatReport(report: LayoutReport, columns: number | undefined): string {
  const { image, digest, form, before, platforms, leftOut, referrers, blobs, bytes } = report;
  const missing = leftOut.map((each) => each.platform ?? each.digest).join(', ');
  const came = `${count(blobs, 'blob')} of ${roundSize(bytes)} new`;
  return [
    ['image', image],
    ['digest', digest],
    ['before', before === digest ? '' : (before ?? '')],
    ['platforms', platforms.join(', ')],
    ['left out', missing],
    ['referrers', referrers === 0 ? '' : String(referrers)],
    ['came', came],
    ['note', form === 'docker-archive' ? TEXTS.ownDigests : ''],
  ]
    .filter(([, text]) => text !== '')
    .map(([label = '', text = '']) => formatLabelled(label.padEnd(11), text, columns))
    .join('');
}
