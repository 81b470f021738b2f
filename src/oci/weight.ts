import type { Descriptor } from './descriptor.ts';

/** A short string, an object of few fields, and their place in a list, as Node keeps them. */
const STRING_BYTES = 60;
const DESCRIPTOR_BYTES = 200;

/** Bytes of memory that an entry of a list takes, about: a name, or a descriptor with all its texts. */
export function weightOf(entry: string | Descriptor): number {
  if (typeof entry === 'string') return STRING_BYTES + entry.length;
  const { digest, mediaType, artifactType = '', annotations = {} } = entry;
  let weight = DESCRIPTOR_BYTES + weightOf(digest) + weightOf(mediaType) + artifactType.length;
  for (const key in annotations) weight += weightOf(key) + weightOf(annotations[key] ?? '');
  return weight;
}
