import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { BundleError } from './bundle-error.ts';
import type { BundleManifest } from './bundle-manifest.ts';
import { countParts } from './content.ts';
import { HeadPool } from './head-pool.ts';
import { parityLayout } from './part-layout.ts';
import { peekPart, readPart, type PartHead } from './part-reader.ts';
import { TEXTS } from './texts.ts';
import type { TrustedKey } from './trusted-key.ts';

/** What files are found to be. */
export interface Inspection {
  /** Whether each file is a part that is right, and each bundle is whole. */
  readonly isOk: boolean;
  readonly bundles: readonly InspectedBundle[];
  /** Files that are no parts that can be read. */
  readonly problems: readonly { readonly path: string; readonly reason: string }[];
}

export interface InspectedBundle {
  /** The digest of its signed manifest. */
  readonly id: string;
  readonly manifest: BundleManifest;
  readonly key: InspectedKey;
  /** Files that were found, in their order; a part can be there twice. */
  readonly parts: readonly InspectedPart[];
  /** Numbers of parts that no file is. */
  readonly missing: readonly number[];
}

export interface InspectedKey {
  /** The key that it says it is signed by. */
  readonly id: string;
  /** Whether it is signed by the one that was given. */
  readonly isVerified?: boolean;
}

export interface InspectedPart {
  /** `PARITY_PART` for the parity part. */
  readonly part: number;
  readonly path: string;
  readonly size: number;
  /** Absent where it is right. */
  readonly problem?: string;
}

interface InspectOptions {
  /** What it must be signed by. */
  readonly key?: TrustedKey | undefined;
  /** Told how many bytes are read. */
  readonly onRead?: (bytes: number) => void;
}

interface FoundPart extends InspectedPart {
  readonly head: PartHead;
}

type Problem = Inspection['problems'][number];

/** Reads and verifies parts of bundles, one after the other; holds one manifest of each bundle. */
export async function inspectParts(
  paths: readonly string[],
  options: InspectOptions,
): Promise<Inspection> {
  const found: FoundPart[] = [];
  const problems: Problem[] = [];
  const heads = new HeadPool();
  for (const path of paths) {
    const result = await inspectPart(path, options);
    if ('head' in result) found.push({ ...result, head: heads.share(result.head) });
    else problems.push(result);
  }
  const groups = [...Map.groupBy(found, ({ head }) => head.id).values()];
  const bundles = groups.map((parts) => joinParts(parts, options));
  const isOk = bundles.every(
    ({ parts, missing }) => missing.length === 0 && parts.every(({ problem }) => !problem),
  );
  return { isOk: isOk && problems.length === 0, bundles, problems };
}

/** How long the file of each part must be; that of the parity part is the first. */
export function expectedSizes(manifest: BundleManifest): readonly number[] {
  const { total, sizes } = parityLayout(manifest);
  return [total, ...sizes];
}

function joinParts(parts: readonly FoundPart[], { key }: InspectOptions): InspectedBundle {
  // One part that the key signed proves the manifest of all.
  const signed = parts.find(({ head }) => head.key);
  const { head } = signed ?? parts[0]!;
  const here = new Set(parts.map(({ part }) => part));
  const all = Array.from({ length: countParts(head.manifest) }, (_, position) => position + 1);
  return {
    id: head.id,
    manifest: head.manifest,
    key: { id: head.keyId, ...(key && { isVerified: signed !== undefined }) },
    parts: parts
      .toSorted((a, b) => a.part - b.part)
      .map(({ part, path, size, problem }) => ({ part, path, size, ...(problem && { problem }) })),
    missing: all.filter((part) => !here.has(part)),
  };
}

async function inspectPart(
  path: string,
  { key, onRead }: InspectOptions,
): Promise<FoundPart | Problem> {
  let head: PartHead | undefined;
  let reason: string | undefined;
  try {
    await readPart(counted(path, onRead), {
      keys: key ? [key] : 'any',
      admit: (read) => {
        head = read;
      },
    });
  } catch (error) {
    reason = reasonOf(error);
    // It is by somebody else, or changed: what it says of itself is told all the same.
    head ??= await peekPart(createReadStream(path), 'any').catch(() => undefined);
  }
  if (!head) return { path, reason: reason ?? '' };
  return {
    head,
    part: head.part,
    path,
    size: (await stat(path)).size,
    ...(reason !== undefined && { problem: reason }),
  };
}

async function* counted(
  path: string,
  onRead: InspectOptions['onRead'],
): AsyncGenerator<Buffer, void> {
  for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
    onRead?.(chunk.length);
    yield chunk;
  }
}

/** What is wrong with a file, or with the disk that it is on. */
function reasonOf(error: unknown): string {
  const { code, syscall, message } = error as NodeJS.ErrnoException;
  if (error instanceof BundleError) return message;
  if (syscall === undefined) throw error;
  return TEXTS.unreadable({ reason: code ?? message });
}
