import { InvalidArgumentError, type Command } from 'commander';
import { FILE_OPTION, JSON_OPTION } from './command-options.ts';
import type { StoreContext } from './store-context.ts';
import { syncDaemon, type SyncDaemonOptions } from './sync-daemon.ts';
import { syncPlan, type SyncPlanOptions } from './sync-plan.ts';
import { syncRun, type SyncRunOptions } from './sync-run.ts';
import { syncStatus, type SyncStatusOptions } from './sync-status.ts';

const LOCKED_OPTION = [
  '--locked <file>',
  'take the digests of this lock instead of what the tags mean now',
] as const;
const ALL_OPTION = ['--all', 'show more than 50 images'] as const;

/** What the site must hold. */
export function addSyncCommands(
  program: Command,
  context: StoreContext,
  finish: (exitCode: number) => void,
): void {
  const sync = program.command('sync').description('hold what the site must hold');
  const add = (name: string, description: string): Command =>
    sync
      .command(name)
      .description(description)
      .option(...FILE_OPTION)
      .option(...JSON_OPTION);
  add('plan', 'say what a run would fetch, keep and release: 0 nothing, 2 something, 1 problems')
    .option('--lock <file>', 'write the digests down, to be looked through and replayed')
    .option(...LOCKED_OPTION)
    .option(...ALL_OPTION)
    .action(async (options: SyncPlanOptions) => finish(await syncPlan(options, context)));
  add('run', 'fetch what is missing, and report')
    .option(...LOCKED_OPTION)
    .action(async (options: SyncRunOptions) => finish(await syncRun(options, context)));
  add('status', 'say what would break without the upstreams: 0 only when all is ready')
    .option(...ALL_OPTION)
    .action(async (options: SyncStatusOptions) => finish(await syncStatus(options, context)));
  add('daemon', 'have a server elsewhere run by the schedule, until SIGTERM or SIGINT')
    .requiredOption('--server <url>', 'its admin API, such as http://127.0.0.1:5001', parseServer)
    .action(async (options: SyncDaemonOptions) => finish(await syncDaemon(options, context)));
}

function parseServer(text: string): URL {
  const url = URL.parse(text);
  const isPlain = url && ['http:', 'https:'].includes(url.protocol) && !url.search && !url.hash;
  if (isPlain && url.username === '' && url.password === '') return url;
  throw new InvalidArgumentError('Write a URL such as "http://127.0.0.1:5001".');
}
