import { REPOSITORY } from '../scene.ts';
import { TAGS } from '../family.ts';

/** The lines of the pages behind the first, for a registry that puts this many tags on one. */
export function furtherPages(size: number, opaque = false): string[] {
  const names = opaque ? TAGS.toReversed() : TAGS;
  const starts = Array.from({ length: Math.ceil(TAGS.length / size) - 1 }, (_, page) => {
    const name = names[(page + 1) * size - 1] ?? '';
    return opaque ? Buffer.from(`after ${name}`).toString('base64url') : name;
  });
  return starts.map((last) => `/v2/${REPOSITORY}/tags/list?n=${size}&last=${last}`);
}
