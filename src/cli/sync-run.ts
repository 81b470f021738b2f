import type { SyncProgress, SyncReport } from '../api/sync-api.ts';
import { formatDuration } from '../config/quantity.ts';
import { loadConfig } from '../config/load.ts';
import { withAdmin } from './admin-client.ts';
import { showRun } from './follow-run.ts';
import { count, formatLabelled, roundSize } from './format.ts';
import { EXIT_CODE, print, type CommandOptions, type StoreContext } from './command-context.ts';
import { describeProgress, formatProblems, formatReleased } from './sync-format.ts';
import { withLock } from './sync-lock.ts';
import { TEXTS } from './texts.ts';

interface SyncRunOptions extends CommandOptions {
  readonly locked?: string;
  readonly image?: readonly string[];
}

/** Fetches what is missing, or joins the run that does, and reports; 1 when not all went well. */
export async function syncRun(options: SyncRunOptions, context: StoreContext): Promise<number> {
  const { config } = loadConfig({ file: options.config, ...context });
  const parts = { path: '/api/v1/sync/run', noun: 'run', describe: describeProgress, shareOf };
  const report = await withLock(options.locked, context.cwd, async (lock) =>
    withAdmin(
      config,
      context,
      async (ask) =>
        showRun<SyncProgress, SyncReport>(
          ask,
          { ...parts, body: { lock, images: options.image } },
          { options, context },
        ),
      'make',
    ),
  );
  print(options, context, report, (columns) => formatReport(report, columns));
  return report.isOk && report.aborted === undefined ? EXIT_CODE.ok : EXIT_CODE.failed;
}

/** `undefined` while it is not known how much there is. */
function shareOf({ phase, bytes }: SyncProgress): number | undefined {
  return phase === 'planning' || bytes.total === 0 ? undefined : bytes.done / bytes.total;
}

function formatReport(report: SyncReport, columns: number | undefined): string {
  const { startedAt, endedAt, images, bytes, aborted, failures, released } = report;
  const hasAny =
    images.fetched + images.kept + images.failed + failures.length + released.length > 0;
  if (!hasAny && aborted === undefined) return `${TEXTS.nothingSelected}\n`;
  const seconds = Math.max(1, Math.round((endedAt - startedAt) / 1000));
  const done = `${count(images.fetched, 'image')} fetched, ${images.kept} kept, ${images.failed} failed`;
  const time = formatDuration(seconds * 1000);
  return [
    formatLabelled('', `${done}: ${roundSize(bytes)} in ${time}`, columns),
    aborted === undefined ? '' : formatLabelled('', `ended early: ${aborted}`, columns),
    formatReleased(released, columns),
    formatProblems(TEXTS.failed, failures, columns),
  ].join('');
}
