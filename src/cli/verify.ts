import type { Config } from '../config/config.ts';
import { formatDuration } from '../config/duration.ts';
import { formatListenAddress } from '../config/listen-address.ts';
import { loadConfig } from '../config/load.ts';
import { isServed, withAdmin, type Ask } from './admin-client.ts';
import { AdminError } from './admin-error.ts';
import type { CommandOptions } from './command-options.ts';
import { count } from './count.ts';
import { EXIT_CODE } from './exit-code.ts';
import { explained } from './private-admin.ts';
import { printJson } from './print-json.ts';
import { ProgressLine } from './progress-line.ts';
import { roundSize } from './size.ts';
import type { StoreContext } from './store-context.ts';
import type { Damage, VerifyProgress, VerifyReport, VerifyState } from '../api/store-api.ts';
import { formatTable } from './table.ts';

const PATH = '/api/v1/verify';
const POLL_MS = 500;

export interface VerifyOptions extends CommandOptions {
  readonly rebuild?: boolean;
}

/**
 * Reads every held blob, and has what is damaged fetched again; 1 when some of it could not be.
 * With `rebuild`, makes the catalog anew from the files instead.
 */
export async function verify(options: VerifyOptions, context: StoreContext): Promise<number> {
  const { config } = loadConfig({ file: options.config, ...context });
  if (options.rebuild) return rebuild(config, options, context);
  const report = await withAdmin(config, context, async (ask) =>
    runVerify(ask, options.json ? silenced(context) : context),
  );
  if (options.json) printJson(report, context);
  else context.stdout.write(formatReport(report));
  return report.damaged.every(({ healed }) => healed) ? EXIT_CODE.ok : EXIT_CODE.failed;
}

/** Starts it, or joins the one that runs, and follows it to its end. */
async function runVerify(ask: Ask, { stderr, now, pause }: StoreContext): Promise<VerifyReport> {
  let state = (await ask(PATH, { method: 'POST' })) as VerifyState;
  const startedAt = state.running?.startedAt;
  const progress = new ProgressLine(stderr, now);
  try {
    while (state.running && state.running.startedAt === startedAt) {
      progress.show(describeProgress(state.running));
      await pause(POLL_MS);
      state = (await ask(PATH)) as VerifyState;
    }
  } finally {
    progress.end();
  }
  const { last } = state;
  if (last && (startedAt === undefined || last.startedAt === startedAt)) return last;
  throw new AdminError('the verification ended without a report; the log of the server says why');
}

async function rebuild(
  config: Config,
  options: CommandOptions,
  context: StoreContext,
): Promise<number> {
  if (await isServed(config.admin)) {
    const address = formatListenAddress(config.admin);
    throw new AdminError(`a server runs at ${address}: stop the server first, then rebuild`);
  }
  const scene = { ...config, uid: context.uid };
  const report = await explained(async () => context.rebuildCatalog(config), scene);
  const { images, manifests, tags, blobs } = report;
  const counts = [
    count(images, 'image'),
    count(manifests, 'manifest'),
    count(tags, 'tag'),
    count(blobs, 'blob'),
  ];
  if (options.json) printJson(report, context);
  else context.stdout.write(`the catalog is made anew from the files: ${counts.join(', ')}\n`);
  return EXIT_CODE.ok;
}

function silenced(context: StoreContext): StoreContext {
  return { ...context, stderr: { write: () => true } };
}

function describeProgress({ blobs, totalBlobs, bytes, totalBytes, damaged }: VerifyProgress) {
  const size = `${roundSize(bytes)} of ${roundSize(totalBytes)}`;
  return `verifying: ${blobs} of ${count(totalBlobs, 'blob')}, ${size}, ${damaged} damaged`;
}

function formatReport({ startedAt, endedAt, blobs, bytes, damaged }: VerifyReport): string {
  const healed = damaged.filter((damage) => damage.healed).length;
  const seconds = Math.max(1, Math.round((endedAt - startedAt) / 1000));
  const found = damaged.length === 0 ? 'all as they should be' : `${damaged.length} damaged`;
  const line = `${count(blobs, 'blob')}, ${roundSize(bytes)} in ${formatDuration(seconds * 1000)}: ${found}`;
  if (damaged.length === 0) return `${line}\n`;
  const table = formatTable([['DIGEST', 'FAULT', 'IMAGES', 'STATE'], ...damaged.map(describe)]);
  return `${line}, ${healed} of them fetched again\n\n${table}`;
}

function describe({ digest, fault, images, healed, reason }: Damage): string[] {
  const lost = reason === undefined ? 'not fetched again' : `not fetched again: ${reason}`;
  return [digest, fault, images.join(', '), healed ? 'fetched again' : lost];
}
