import { createReadStream } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { Readable } from 'node:stream';
import { BundleError } from '../../sync/bundle/bundle-error.ts';
import { PARITY_PART, countParts } from '../../sync/bundle/content.ts';
import { rebuildPart } from '../../sync/bundle/parity.ts';
import { peekPart, type PartHead } from '../../sync/bundle/part-reader.ts';
import type { BundlesReport, BundleState } from '../api/bundle-api.ts';
import { loadConfig } from '../config/load.ts';
import { withAdmin, type Ask } from './admin-client.ts';
import { describeImport } from './bundle-format.ts';
import {
  AdminError,
  EXIT_CODE,
  print,
  UsageError,
  type CommandOptions,
  type StoreContext,
} from './command-context.ts';
import { roundSize } from './format.ts';
import { ProgressLine } from './progress-line.ts';
import { saveInventory } from './save-inventory.ts';
import { TEXTS } from './texts.ts';

export interface ImportOptions extends CommandOptions {
  readonly receipt?: string;
  readonly allowOlder?: boolean;
}

/** A part that is to be sent. */
interface Source {
  readonly name: string;
  /** As it says itself; unknown of standard input. */
  readonly head?: PartHead;
  /** Bytes, where that is known. */
  readonly size?: number;
  readonly open: () => AsyncIterable<Uint8Array>;
}

/** Takes in parts of bundles; 0 when all of each bundle is in force, 1 while parts are awaited. */
export async function importBundle(
  paths: readonly string[],
  options: ImportOptions,
  context: StoreContext,
): Promise<number> {
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
      const tar = counted(source.open(), (bytes) => {
        const share = source.size ? bytes / source.size : undefined;
        const of = source.size ? ` of ${roundSize(source.size)}` : '';
        line.show(`${title}${roundSize(bytes)}${of}`, share);
      });
      const path = `/api/v1/bundles/parts?allowOlder=${options.allowOlder === true}`;
      const state = await describing(source.name, async () => ask(path, { method: 'POST', tar }));
      const { id } = state as BundleState;
      states.set(id, state as BundleState);
    }
  } finally {
    line.end();
  }
  return [...states.values()];
}

async function* counted(
  source: AsyncIterable<Uint8Array>,
  came: (bytes: number) => void,
): AsyncGenerator<Uint8Array> {
  let bytes = 0;
  for await (const chunk of source) {
    yield chunk;
    bytes += chunk.length;
    came(bytes);
  }
}

/** What is wrong with a part is told with its name. */
async function describing<Value>(name: string, work: () => Promise<Value>): Promise<Value> {
  try {
    return await work();
  } catch (error) {
    const isTold = error instanceof BundleError || error instanceof AdminError;
    if (!isTold) throw error;
    const fault =
      error instanceof AdminError ? { status: error.status, cause: error } : { cause: error };
    throw new AdminError(TEXTS.ofFile({ name, reason: error.message }), fault);
  }
}
