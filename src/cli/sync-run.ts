import { formatDuration } from '../config/duration.ts';
import { loadConfig } from '../config/load.ts';
import { withAdmin, type Ask } from './admin-client.ts';
import { AdminError } from './admin-error.ts';
import type { CommandOptions } from './command-options.ts';
import { count } from './count.ts';
import { EXIT_CODE } from './exit-code.ts';
import { printJson } from './print-json.ts';
import { ProgressLine } from './progress-line.ts';
import { roundSize } from './size.ts';
import type { StoreContext } from './store-context.ts';
import type { SyncLock, SyncReport, SyncRunState } from '../api/sync-api.ts';
import { followRun } from './sync-follow.ts';
import { withLock } from './sync-lock.ts';
import { formatProblems, formatReleased } from './sync-parts.ts';
import { describeProgress, shareOf } from './sync-progress.ts';
import { onOneLine } from './table.ts';

const PATH = '/api/v1/sync/run';
const POLL_MS = 500;

export interface SyncRunOptions extends CommandOptions {
  readonly locked?: string;
}

/** Fetches what is missing, or joins the run that does, and reports; 1 when not all went well. */
export async function syncRun(options: SyncRunOptions, context: StoreContext): Promise<number> {
  const { config } = loadConfig({ file: options.config, ...context });
  const quiet = options.json ? { ...context, stderr: { write: () => true } } : context;
  const report = await withLock(options.locked, context.cwd, async (lock) =>
    withAdmin(config, context, async (ask) => run(ask, lock, quiet)),
  );
  if (options.json) printJson(report, context);
  else context.stdout.write(formatReport(report));
  return report.isOk && report.aborted === undefined ? EXIT_CODE.ok : EXIT_CODE.failed;
}

async function run(
  ask: Ask,
  lock: SyncLock | undefined,
  { stderr, now, pause }: StoreContext,
): Promise<SyncReport> {
  const progress = new ProgressLine(stderr, now);
  try {
    const report = await followRun({
      start: async () => (await ask(PATH, { method: 'POST', body: { lock } })) as SyncRunState,
      look: async () => (await ask(PATH)) as SyncRunState,
      wait: async (running) => {
        progress.show(describeProgress(running), shareOf(running));
        await pause(POLL_MS);
      },
    });
    if (report) return report;
  } finally {
    progress.end();
  }
  throw new AdminError('the run ended without a report; the log of the server says why');
}

function formatReport(report: SyncReport): string {
  const { startedAt, endedAt, images, bytes, aborted, failures, released } = report;
  const seconds = Math.max(1, Math.round((endedAt - startedAt) / 1000));
  const done = `${count(images.fetched, 'image')} fetched, ${images.kept} kept, ${images.failed} failed`;
  return [
    `${done}: ${roundSize(bytes)} in ${formatDuration(seconds * 1000)}\n`,
    aborted === undefined ? '' : `ended early: ${onOneLine(aborted)}\n`,
    formatReleased(released),
    formatProblems('failed:', failures),
  ].join('');
}
