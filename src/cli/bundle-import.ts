import { createReadStream } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { Readable } from 'node:stream';
import { PARITY_PART, countParts } from '../../sync/bundle/content.ts';
import { rebuildPart } from '../../sync/bundle/parity.ts';
import { peekPart, type PartHead } from '../../sync/bundle/part-reader.ts';
import type { BundlesReport, BundleState } from '../api/bundle-api.ts';
import { loadConfig } from '../config/load.ts';
import { withAdmin, type Ask } from './admin-client.ts';
import { describeImport } from './bundle-format.ts';
import { importLayout } from './bundle-layout.ts';
import {
  AdminError,
  EXIT_CODE,
  print,
  UsageError,
  type CommandOptions,
  type StoreContext,
} from './command-context.ts';
import { ProgressLine } from './progress-line.ts';
import { saveInventory } from './save-inventory.ts';
import { describing, sendTar, type TarSource } from './tar-upload.ts';
import { TEXTS } from './texts.ts';

export interface ImportOptions extends CommandOptions {
  readonly receipt?: string;
  readonly allowOlder?: boolean;
  /** The image that a layout of another tool is to be. */
  readonly as?: string;
  readonly ref?: string;
}

/** What does not go together on the command line; `undefined` when all does. */
export function checkImport(
  paths: readonly string[],
  { as, ref, receipt, allowOlder }: ImportOptions,
): string | undefined {
  if (as === undefined) return ref === undefined ? undefined : TEXTS.refAlone;
  if (receipt !== undefined || allowOlder === true) return TEXTS.layoutAlone;
  return paths.length > 1 ? TEXTS.layoutsAlone : undefined;
}

/** A part that is to be sent. */
interface Source extends TarSource {
  /** As it says itself; unknown of standard input. */
  readonly head?: PartHead;
}

/** Takes in a layout of another tool, or parts of bundles: 0 when all of each bundle is in force, 1 while parts are awaited. */
export async function importBundle(
  paths: readonly string[],
  options: ImportOptions,
  context: StoreContext,
): Promise<number> {
  const { as } = options;
  const [path = ''] = paths;
  if (as !== undefined) return importLayout(path, { ...options, as }, context);
  const { config } = loadConfig({ file: options.config, ...context });
  const found = await findSources(paths, context);
  const bundles = await withAdmin(
    config,
    context,
    async (ask) => {
      const states = await sendAll(ask, await withRebuilt(ask, found), { options, context });
      const isDone = states.every(({ report }) => report !== undefined);
      if (isDone && options.receipt !== undefined) {
        await saveInventory(ask, resolve(context.cwd, options.receipt));
      }
      return states;
    },
    'make',
  );
  print(options, context, { bundles }, (columns) => describeImport(bundles, columns));
  return bundles.every(({ report }) => report) ? EXIT_CODE.ok : EXIT_CODE.failed;
}

/** Parts of one bundle stand together, in their order. */
async function findSources(paths: readonly string[], context: StoreContext): Promise<Source[]> {
  if (paths.includes('-')) {
    if (paths.length > 1) throw new UsageError(TEXTS.bundleStdinAlone);
    return [{ name: '-', open: () => context.stdin?.() ?? Readable.from([]) }];
  }
  const files = (
    await Promise.all(paths.map(async (path) => filesAt(resolve(context.cwd, path))))
  ).flat();
  const sources: (Source & { head: PartHead })[] = [];
  for (const path of new Set(files)) {
    const open = () => createReadStream(path);
    const head = await describing(path, async () => peekPart(open(), 'any'));
    sources.push({ name: path, head, size: (await stat(path)).size, open });
  }
  return sources.toSorted((a, b) => compare(a.head, b.head));
}

function compare(a: PartHead, b: PartHead): number {
  if (a.id === b.id) return a.part - b.part;
  return a.manifest.number - b.manifest.number || (a.id < b.id ? -1 : 1);
}

/** Of a folder the files whose names say that they are parts. */
async function filesAt(path: string): Promise<string[]> {
  const found = await stat(path).catch((cause: NodeJS.ErrnoException) => {
    throw new AdminError(TEXTS.unreadableFile({ path, reason: cause.code ?? cause.message }));
  });
  if (!found.isDirectory()) return [path];
  const names = (await readdir(path)).filter((name) => /^[^.].*\.tar$/.test(name));
  if (names.length === 0) throw new AdminError(TEXTS.noBundleIn({ path }));
  return names.toSorted().map((name) => join(path, name));
}

/** With the one part of a bundle that is neither given nor here already, where it can be made. */
async function withRebuilt(ask: Ask, sources: readonly Source[]): Promise<Source[]> {
  const { awaited } = (await ask('/api/v1/bundles')) as BundlesReport;
  const all: Source[] = [];
  for (const [id, same] of Map.groupBy(sources, ({ head }) => head?.id)) {
    const known = awaited.find((each) => each.id === id)?.received ?? [];
    all.push(...same.filter(({ head }) => !head || !isOver(head, known)));
    const lost = lostPart(same, known);
    if (lost) all.push(lost);
  }
  return all;
}

/** A part that is here needs not come again; the parity part is not for the store. */
function isOver({ part }: PartHead, received: readonly number[]): boolean {
  return part === PARITY_PART || received.includes(part);
}

function lostPart(sources: readonly Source[], received: readonly number[]): Source | undefined {
  const parity = sources.find(({ head }) => head?.part === PARITY_PART);
  const manifest = parity?.head?.manifest;
  if (!parity || !manifest) return undefined;
  const files = new Map(
    sources.flatMap(({ head, name }) => (head?.part ? [[head.part, name]] : [])),
  );
  const parts = Array.from({ length: countParts(manifest) }, (_, place) => place + 1);
  const missing = parts.filter((part) => !files.has(part));
  const [part] = missing;
  const isNeeded = missing.some((each) => !received.includes(each));
  if (part === undefined || missing.length > 1 || !isNeeded) return undefined;
  return {
    name: TEXTS.rebuiltPart({ part }),
    open: () => rebuildPart({ manifest, part, files, parity: parity.name }),
  };
}

/** One after the other. Resolves with how each bundle stands after its last part. */
async function sendAll(
  ask: Ask,
  sources: readonly Source[],
  { options, context }: { options: ImportOptions; context: StoreContext },
): Promise<BundleState[]> {
  const states = new Map<string, BundleState>();
  const line = ProgressLine.of(options, context);
  try {
    for (const [place, source] of sources.entries()) {
      const title = sources.length === 1 ? '' : `${place + 1} of ${sources.length} parts, `;
      const path = `/api/v1/bundles/parts?allowOlder=${options.allowOlder === true}`;
      const state = (await sendTar(ask, path, { source, line, title })) as BundleState;
      states.set(state.id, state);
    }
  } finally {
    line.end();
  }
  return [...states.values()];
}
