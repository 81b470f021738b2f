import { parseDigest, type Digest } from './digest.ts';
import { parseTag, type Tag } from './reference.ts';

/** `[registry/]repository[:tag][@digest]`, as operators and clients write an image. */
export interface ImageName {
  /** Registry and repository as written; `Addressing` finds the upstream. */
  readonly name: string;
  readonly tag?: Tag;
  /** Decides when there is a tag too. */
  readonly digest?: Digest;
}

/** The tag of an image that is written without tag and digest. */
export const DEFAULT_TAG = parseTag('latest');

/** Throws `TAG_INVALID` or `DIGEST_INVALID`. */
export function parseImageName(text: string): ImageName {
  const at = text.indexOf('@');
  const named = at === -1 ? text : text.slice(0, at);
  // A colon before the last slash belongs to the registry's port.
  const colon = named.indexOf(':', named.lastIndexOf('/') + 1);
  return {
    name: colon === -1 ? named : named.slice(0, colon),
    ...(colon !== -1 && { tag: parseTag(named.slice(colon + 1)) }),
    ...(at !== -1 && { digest: parseDigest(text.slice(at + 1)) }),
  };
}

export function formatImageName({ name, tag, digest }: ImageName): string {
  const tagged = tag === undefined ? name : `${name}:${tag}`;
  return digest === undefined ? tagged : `${tagged}@${digest}`;
}
