import type { WarmProgress, WarmReport } from '../api/warm-api.ts';
import { formatDuration } from '../config/quantity.ts';
import { loadConfig } from '../config/load.ts';
import { withAdmin } from './admin-client.ts';
import { EXIT_CODE, print, type CommandOptions, type StoreContext } from './command-context.ts';
import { showRun } from './follow-run.ts';
import { count, formatLabelled, formatTable, roundSize } from './format.ts';
import { describeProgress } from './sync-format.ts';

interface WarmOptions extends CommandOptions {
  readonly platforms?: readonly string[];
  readonly deadline?: string;
}

/** Fetches whole images, and says what became of each; 1 when not all are ready. */
export async function warm(
  images: readonly string[],
  options: WarmOptions,
  context: StoreContext,
): Promise<number> {
  const { config } = loadConfig({ file: options.config, ...context });
  const { platforms, deadline } = options;
  const body = { images, ...(platforms && { platforms }), ...(deadline && { deadline }) };
  const parts = {
    path: '/api/v1/warm',
    body,
    noun: 'warm',
    describe: (progress: WarmProgress) => describeProgress({ ...progress, phase: 'fetching' }),
    shareOf: ({ bytes }: WarmProgress) =>
      bytes.total === 0 ? undefined : bytes.done / bytes.total,
  };
  const report = await withAdmin(config, context, async (ask) =>
    showRun<WarmProgress, WarmReport>(ask, parts, { options, context }),
  );
  print(options, context, report, (columns) => formatReport(report, columns));
  return report.isOk ? EXIT_CODE.ok : EXIT_CODE.failed;
}

function formatReport(
  { startedAt, endedAt, images }: WarmReport,
  columns: number | undefined,
): string {
  const ready = images.filter(({ state }) => state === 'ready').length;
  const seconds = Math.max(1, Math.round((endedAt - startedAt) / 1000));
  const line = `${ready} of ${count(images.length, 'image')} ready after ${formatDuration(seconds * 1000)}`;
  const rows = images.map(({ image, state, bytes, missingBytes, reason = '' }) => [
    image,
    state,
    roundSize(bytes),
    missingBytes === 0 ? '' : roundSize(missingBytes),
    reason,
  ]);
  const table = formatTable([['IMAGE', 'STATE', 'HELD', 'MISSING', 'WHY'], ...rows], columns);
  return `${formatLabelled('', line, columns)}\n${table}`;
}
