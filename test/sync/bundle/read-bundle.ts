import { createReadStream } from 'node:fs';
import { readPart, type PartHead } from '../../../sync/bundle/part-reader.ts';

/** A part as its reader proves it, with the paths of what it carries. */
export async function readBundlePart(path: string): Promise<PartHead & { paths: string[] }> {
  const paths: string[] = [];
  const head = await readPart(createReadStream(path), {
    keys: 'any',
    admit: () => undefined,
    take: async (slice) => void paths.push(slice.path),
  });
  return { ...head, paths };
}
