import { resolve } from 'node:path';
import { Readable } from 'node:stream';
import type { BundlesReport, BundleState } from '../api/bundle-api.ts';
import { loadConfig } from '../config/load.ts';
import { withAdmin, type Ask } from './admin-client.ts';
import { describeImport } from './bundle-format.ts';
import { importLayout } from './bundle-layout.ts';
import { findSources, sourcesToSend, type BundleSource } from './bundle-sources.ts';
import { watchFolder } from './bundle-watch.ts';
import {
  AdminError,
  EXIT_CODE,
  print,
  type CommandOptions,
  type StoreContext,
} from './command-context.ts';
import { ProgressLine } from './progress-line.ts';
import { saveInventory } from './save-inventory.ts';
import { sendTar } from './tar-upload.ts';
import { TEXTS } from './texts.ts';

export interface ImportOptions extends CommandOptions {
  readonly receipt?: string;
  readonly allowOlder?: boolean;
  /** A folder that is looked into until a signal comes. */
  readonly watch?: string;
  /** The image that a layout of another tool is to be. */
  readonly as?: string;
  readonly ref?: string;
}

/** What does not go together on the command line; `undefined` when all does. */
export function checkImport(
  paths: readonly string[],
  { as, ref, receipt, allowOlder, watch }: ImportOptions,
): string | undefined {
  if (as === undefined && ref !== undefined) return TEXTS.refAlone;
  if (watch !== undefined) {
    return paths.length === 0 && as === undefined ? undefined : TEXTS.watchAlone;
  }
  if (paths.length === 0) return TEXTS.noBundle;
  if (as === undefined) {
    return paths.includes('-') && paths.length > 1 ? TEXTS.bundleStdinAlone : undefined;
  }
  if (receipt !== undefined || allowOlder === true) return TEXTS.layoutAlone;
  return paths.length > 1 ? TEXTS.layoutsAlone : undefined;
}

/**
 * Takes in a layout of another tool, or parts of bundles: 0 when all of each bundle is in force, 1 while
 * parts are awaited, and where admission refuses an image of it. Of a folder that is watched it goes on until a signal.
 */
export async function importBundle(
  paths: readonly string[],
  options: ImportOptions,
  context: StoreContext,
): Promise<number> {
  const { as, watch } = options;
  const [path = ''] = paths;
  if (as !== undefined) return importLayout(path, { ...options, as }, context);
  const { config } = loadConfig({ file: options.config, ...context });
  const writeReceipt = async (ask: Ask): Promise<void> => {
    if (options.receipt === undefined) return;
    await saveInventory(ask, resolve(context.cwd, options.receipt));
  };
  if (watch !== undefined) {
    const send = async (ask: Ask, source: BundleSource): Promise<BundleState> =>
      sendPart(ask, source, options);
    const folder = resolve(context.cwd, watch);
    return watchFolder(folder, { config, context, send, writeReceipt });
  }
  const found = paths.includes('-')
    ? [{ name: '-', open: () => context.stdin?.() ?? Readable.from([]) }]
    : await findSources(paths.map((each) => resolve(context.cwd, each)));
  if (found.length === 0) throw new AdminError(TEXTS.noBundleIn({ path: paths.join(', ') }));
  const bring = async (ask: Ask): Promise<BundleState[]> => {
    const report = (await ask('/api/v1/bundles')) as BundlesReport;
    const states = await sendAll(ask, sourcesToSend(found, report), { options, context });
    if (states.every((state) => state.report)) await writeReceipt(ask);
    return states;
  };
  const bundles = await withAdmin(config, context, bring, 'make');
  print(options, context, { bundles }, (columns) => describeImport(bundles, columns));
  const isTaken = bundles.every(({ report }) => report?.refused.length === 0);
  return isTaken ? EXIT_CODE.ok : EXIT_CODE.failed;
}

/** One after the other. Resolves with how each bundle stands after its last part. */
async function sendAll(
  ask: Ask,
  sources: readonly BundleSource[],
  { options, context }: { options: ImportOptions; context: StoreContext },
): Promise<BundleState[]> {
  const states = new Map<string, BundleState>();
  const line = ProgressLine.of(options, context);
  try {
    for (const [place, source] of sources.entries()) {
      const title = sources.length === 1 ? '' : `${place + 1} of ${sources.length} parts, `;
      const state = await sendPart(ask, source, options, { line, title });
      states.set(state.id, state);
    }
  } finally {
    line.end();
  }
  return [...states.values()];
}

async function sendPart(
  ask: Ask,
  source: BundleSource,
  { allowOlder = false }: ImportOptions,
  progress: { line?: ProgressLine; title?: string } = {},
): Promise<BundleState> {
  const path = `/api/v1/bundles/parts?allowOlder=${allowOlder}`;
  return (await sendTar(ask, path, { source, ...progress })) as BundleState;
}
