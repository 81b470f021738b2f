import { attachedSubject } from '../../src/oci/cosign.ts';
import type { Digest } from '../../src/oci/digest.ts';
import { isTag, isTargetName, type Tag } from '../../src/oci/reference.ts';
import type { SiteImage } from './inventory.ts';

/** Stands for an image without a tag: no tag has it. */
const UNTAGGED = '@';
/** Stands before the place of a manifest, for a tag that is named after its digest. */
const AFTER = '#';

/** A line for each name with its tags, of images that are sorted; `manifests` are sorted as well. */
export function formatNames(images: readonly SiteImage[], manifests: readonly Digest[]): string {
  const places = new Map(manifests.map((digest, place) => [digest, place]));
  const lines: string[][] = [];
  for (const { name, tag } of images) {
    const text = tag === undefined ? UNTAGGED : formatTag(tag, places);
    if (lines.at(-1)?.[0] === name) lines.at(-1)?.push(text);
    else lines.push([name, text]);
  }
  return lines.map((line) => line.join(' ')).join('\n');
}

/** The tags of signatures are as long as their subject's digest, which stands among the manifests. */
function formatTag(tag: Tag, places: ReadonlyMap<Digest, number>): string {
  const subject = attachedSubject(tag);
  const place = subject && places.get(subject);
  return place === undefined ? tag : `${AFTER}${place}${tag.slice(subject!.length)}`;
}

/** At most so many of each line. Throws for a line that is none. */
export function* parseNames(
  text: string,
  manifests: readonly Digest[],
  most: number,
): Generator<Omit<SiteImage, 'digest'>> {
  for (const line of text === '' ? [] : text.split('\n', most)) {
    const [name = '', ...tags] = line.split(' ', most + 1);
    if (!isTargetName(name) || tags.length === 0) throw new Error('a name in it is damaged');
    for (const each of tags) {
      const tag = each.startsWith(AFTER) ? parseAttached(each, manifests) : each;
      if (tag === UNTAGGED) yield { name };
      else if (isTag(tag)) yield { name, tag };
      else throw new Error(`a tag of ${name} in it is damaged`);
    }
  }
}

function parseAttached(text: string, manifests: readonly Digest[]): string | undefined {
  const [, place, suffix] = /^#(\d{1,7})(.*)$/.exec(text) ?? [];
  return manifests[Number(place)]?.replace(':', '-').concat(suffix ?? '');
}
