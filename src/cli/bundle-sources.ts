import { createReadStream } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { PARITY_PART, countParts } from '../../sync/bundle/content.ts';
import { HeadPool } from '../../sync/bundle/head-pool.ts';
import { rebuildPart } from '../../sync/bundle/parity.ts';
import { peekPart, type PartHead } from '../../sync/bundle/part-reader.ts';
import type { BundlesReport } from '../api/bundle-api.ts';
import { AdminError } from './command-context.ts';
import { describing, type TarSource } from './tar-upload.ts';
import { TEXTS } from './texts.ts';

/** Of what is read of a file and sent at a time. */
const CHUNK_BYTES = 1024 * 1024;

/** A part of a bundle that is to be sent to the server. */
export interface BundleSource extends TarSource {
  /** As it says itself; unknown of standard input. */
  readonly head?: PartHead;
}

/** One of a file. */
export interface KnownSource extends BundleSource {
  readonly head: PartHead;
}

/**
 * The parts in these files and folders, those of one bundle together and in their order, older bundles
 * first. Throws an `AdminError` for what cannot be read as one. One manifest of each bundle stays in memory.
 */
export async function findSources(paths: readonly string[]): Promise<KnownSource[]> {
  const files = (await Promise.all(paths.map(filesAt))).flat();
  const sources: KnownSource[] = [];
  const heads = new HeadPool();
  for (const path of new Set(files)) sources.push(await readSource(path, heads));
  return inOrder(sources);
}

/** Reads the head of a file. Throws an `AdminError` with its name for what cannot be read, or is no part. */
export async function readSource(path: string, heads: HeadPool): Promise<KnownSource> {
  const open = (): AsyncIterable<Uint8Array> =>
    createReadStream(path, { highWaterMark: CHUNK_BYTES });
  return describing(path, async () => {
    const head = heads.share(await peekPart(open(), 'any'));
    return { name: path, head, size: (await stat(path)).size, open };
  });
}

/** Those of one bundle together and in their order, older bundles first. */
export function inOrder(sources: readonly KnownSource[]): KnownSource[] {
  return sources.toSorted((a, b) => compare(a.head, b.head));
}

function compare(a: PartHead, b: PartHead): number {
  if (a.id === b.id) return a.part - b.part;
  return a.manifest.number - b.manifest.number || (a.id < b.id ? -1 : 1);
}

/** Of a folder the files whose names say that they are parts, and that are not being written. */
export async function filesAt(path: string): Promise<string[]> {
  const found = await stat(path).catch((cause: NodeJS.ErrnoException) => {
    throw new AdminError(TEXTS.unreadableFile({ path, reason: cause.code ?? cause.message }));
  });
  if (!found.isDirectory()) return [path];
  const names = (await readdir(path)).filter((name) => /^[^.].*\.tar$/.test(name));
  return names.toSorted().map((name) => join(path, name));
}

/** What is to be sent: without what is here already, and with the one part that can be made from the others. */
export function sourcesToSend(
  sources: readonly BundleSource[],
  { awaited }: Pick<BundlesReport, 'awaited'>,
): BundleSource[] {
  return [...Map.groupBy(sources, ({ head }) => head?.id)].flatMap(([id, same]) => {
    const received = awaited.find((each) => each.id === id)?.received ?? [];
    const isOver = ({ head }: BundleSource): boolean =>
      head !== undefined && (head.part === PARITY_PART || received.includes(head.part));
    return [...same.filter((each) => !isOver(each)), ...lostPart(same, received)];
  });
}

/** The part that is neither given nor here, where the parity part and all others are given. */
function lostPart(
  sources: readonly BundleSource[],
  received: readonly number[],
): readonly BundleSource[] {
  const parity = sources.find(({ head }) => head?.part === PARITY_PART);
  const manifest = parity?.head?.manifest;
  if (!parity || !manifest) return [];
  const files = new Map(
    sources.flatMap(({ head, name }) => (head?.part ? [[head.part, name]] : [])),
  );
  const parts = Array.from({ length: countParts(manifest) }, (_, place) => place + 1);
  const [part, ...others] = parts.filter((each) => !files.has(each));
  if (part === undefined || others.length > 0 || received.includes(part)) return [];
  const open = (): AsyncIterable<Uint8Array> =>
    rebuildPart({ manifest, part, files, parity: parity.name });
  return [{ name: TEXTS.rebuiltPart({ part }), open }];
}
