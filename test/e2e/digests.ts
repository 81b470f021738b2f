import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

export function digestOf(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

/** Of parts that are written as `manifests/…` and `blobs/…`, or of paths that end with them. */
export function digestsOf(parts: readonly string[]): string[] {
  return parts.map((part) => part.slice(part.indexOf('sha256:')));
}

/** What the files of a store have for content, in order. */
export async function heldIn(store: string): Promise<string[]> {
  const entries = await readdir(join(store, 'blobs'), { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  const digests = files.map(async ({ parentPath, name }) =>
    digestOf(await readFile(join(parentPath, name))),
  );
  return (await Promise.all(digests)).toSorted();
}

/** Of the files that skopeo wrote, whatever they are called. */
export async function digestsIn(directory: string): Promise<string[]> {
  const names = await readdir(directory);
  return Promise.all(names.map(async (name) => digestOf(await readFile(join(directory, name)))));
}
