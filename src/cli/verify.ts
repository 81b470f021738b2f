import type { Damage, VerifyProgress, VerifyReport } from '../api/store-api.ts';
import type { Config } from '../config/config.ts';
import { formatDuration } from '../config/quantity.ts';
import { formatListenAddress } from '../config/listen.ts';
import { loadConfig } from '../config/load.ts';
import { isServed, withAdmin } from './admin-client.ts';
import { showRun } from './follow-run.ts';
import { count, formatLabelled, formatTable, roundSize } from './format.ts';
import {
  AdminError,
  EXIT_CODE,
  print,
  type CommandOptions,
  type StoreContext,
} from './command-context.ts';
import { tellingWhy } from './start-failure.ts';
import { TEXTS } from './texts.ts';

const PATH = '/api/v1/verify';

interface VerifyOptions extends CommandOptions {
  readonly rebuild?: boolean;
}

/**
 * Reads every held blob, and has what is damaged fetched again; 1 when some of it could not be.
 * With `rebuild`, makes the catalog anew from the files instead.
 */
export async function verify(options: VerifyOptions, context: StoreContext): Promise<number> {
  const { config } = loadConfig({ file: options.config, ...context });
  if (options.rebuild) return rebuild(config, options, context);
  const parts = { path: PATH, noun: 'verification', describe: describeProgress };
  const report = await withAdmin(config, context, async (ask) =>
    showRun<VerifyProgress, VerifyReport>(ask, parts, { options, context }),
  );
  print(options, context, report, (columns) => formatReport(report, columns));
  return report.damaged.every(({ healed }) => healed) ? EXIT_CODE.ok : EXIT_CODE.failed;
}

async function rebuild(
  config: Config,
  options: CommandOptions,
  context: StoreContext,
): Promise<number> {
  if (await isServed(config, context)) {
    const address = formatListenAddress(config.admin);
    throw new AdminError(TEXTS.serverRuns({ address }));
  }
  const attempt = { ...config, uid: context.uid };
  const report = await tellingWhy(async () => context.rebuildCatalog(config), attempt);
  const { images, manifests, tags, blobs } = report;
  const counts = [
    count(images, 'image'),
    count(manifests, 'manifest'),
    count(tags, 'tag'),
    count(blobs, 'blob'),
  ];
  print(options, context, report, () => `${TEXTS.rebuilt({ counts: counts.join(', ') })}\n`);
  return EXIT_CODE.ok;
}

function describeProgress({
  blobs,
  totalBlobs,
  bytes,
  totalBytes,
  damaged,
}: VerifyProgress): string {
  const size = `${roundSize(bytes)} of ${roundSize(totalBytes)}`;
  return `verifying: ${blobs} of ${count(totalBlobs, 'blob')}, ${size}, ${damaged} damaged`;
}

function formatReport(
  { startedAt, endedAt, blobs, bytes, damaged }: VerifyReport,
  columns: number | undefined,
): string {
  const healed = damaged.filter((damage) => damage.healed).length;
  const seconds = Math.max(1, Math.round((endedAt - startedAt) / 1000));
  const found = damaged.length === 0 ? TEXTS.allWell : `${damaged.length} damaged`;
  const line = `${count(blobs, 'blob')}, ${roundSize(bytes)} in ${formatDuration(seconds * 1000)}: ${found}`;
  if (damaged.length === 0) return formatLabelled('', line, columns);
  const heading = ['DIGEST', 'FAULT', 'IMAGES', 'STATE'];
  const table = formatTable([heading, ...damaged.map(describeDamage)], columns);
  const summary = formatLabelled('', `${line}, ${healed} of them fetched again`, columns);
  return `${summary}\n${table}`;
}

function describeDamage({ digest, fault, images, healed, reason }: Damage): string[] {
  const lost = reason === undefined ? 'not fetched again' : `not fetched again: ${reason}`;
  return [digest, fault, images.join(', '), healed ? 'fetched again' : lost];
}
