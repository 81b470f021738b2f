import { isTag, isTargetName } from '../../src/oci/reference.ts';
import type { SiteImage } from './inventory.ts';

/** Stands for an image without a tag: no tag has it. */
const UNTAGGED = '@';

/** By name, then those without a tag, then by tag and digest. */
export function compareImages(a: SiteImage, b: SiteImage): number {
  return (
    compareTexts(a.name, b.name) ||
    compareTexts(a.tag ?? '', b.tag ?? '') ||
    compareTexts(a.digest, b.digest)
  );
}

function compareTexts(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

/** A line for each name with its tags, of images that are sorted. */
export function formatNames(images: readonly SiteImage[]): string {
  const lines: string[][] = [];
  for (const { name, tag = UNTAGGED } of images) {
    if (lines.at(-1)?.[0] === name) lines.at(-1)?.push(tag);
    else lines.push([name, tag]);
  }
  return lines.map((line) => line.join(' ')).join('\n');
}

/** At most so many of each line; throws for a line that is none. */
export function* parseNames(text: string, most: number): Generator<Omit<SiteImage, 'digest'>> {
  for (const line of text === '' ? [] : text.split('\n', most)) {
    const [name = '', ...tags] = line.split(' ', most + 1);
    if (!isTargetName(name) || tags.length === 0) throw new Error('a name in it is damaged');
    for (const tag of tags) {
      if (tag === UNTAGGED) yield { name };
      else if (isTag(tag)) yield { name, tag };
      else throw new Error(`a tag of ${name} in it is damaged`);
    }
  }
}
