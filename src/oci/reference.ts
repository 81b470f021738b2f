import { parseDigest, type Digest } from './digest.ts';
import { RegistryError } from './errors.ts';
import { TEXTS } from './texts.ts';

/** A repository name without its registry: `library/nginx`. */
export type Repository = string & { readonly __brand: 'Repository' };
export type Tag = string & { readonly __brand: 'Tag' };
export type Reference = Tag | Digest;

/**
 * One repository of one upstream. The upstream is part of every key, so equal paths on two
 * registries never meet.
 */
export interface Target {
  readonly upstream: string;
  readonly repository: Repository;
}

const REPOSITORY =
  /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;
const TAG = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/;

/** Clients limit `host/name` to 255 characters (protocol limit of every known client). */
const MAX_REPOSITORY_LENGTH = 255;

/**
 * Throws `NAME_INVALID`.
 * @see https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pulling-manifests
 */
export function parseRepository(text: string): Repository {
  if (isRepository(text)) return text;
  const isLong = text.length > MAX_REPOSITORY_LENGTH;
  const detail = isLong ? TEXTS.tooLong({ most: MAX_REPOSITORY_LENGTH }) : TEXTS.quoted({ text });
  throw new RegistryError('NAME_INVALID', { detail });
}

export function isRepository(text: string): text is Repository {
  // The length comes first, so that the expression never runs on a long text.
  return text.length <= MAX_REPOSITORY_LENGTH && REPOSITORY.test(text);
}

/** Throws `TAG_INVALID`. */
export function parseTag(text: string): Tag {
  if (isTag(text)) return text;
  throw new RegistryError('TAG_INVALID', { detail: TEXTS.quoted({ text: text.slice(0, 140) }) });
}

export function isTag(text: unknown): text is Tag {
  return typeof text === 'string' && TAG.test(text);
}

/** Anything with a colon in the reference position is a digest. */
export function parseReference(text: string): Reference {
  return text.includes(':') ? parseDigest(text) : parseTag(text);
}

export function isDigestReference(reference: Reference): reference is Digest {
  return reference.includes(':');
}

export function formatTarget(target: Target): string {
  // In one request it is asked for many times in a row.
  if (formatted.target === target) return formatted.text;
  const text = `${target.upstream}/${target.repository}`;
  formatted = { target, text };
  return text;
}

let formatted: { readonly target: Target | undefined; readonly text: string } = {
  target: undefined,
  text: '',
};

/** The key of a tag, digest or other thing of the repository, for maps in memory. */
export function itemKey(target: Target, item: string): string {
  if (keyed.target === target && keyed.item === item) return keyed.key;
  const key = `${formatTarget(target)} ${item}`;
  keyed = { target, item, key };
  return key;
}

let keyed: { readonly target: Target | undefined; readonly item: string; readonly key: string } = {
  target: undefined,
  item: '',
  key: '',
};

/** The inverse of `formatTarget`, without a check. An upstream's name has no slash. */
export function splitTarget(text: string): Target {
  const slash = text.indexOf('/');
  return { upstream: text.slice(0, slash), repository: text.slice(slash + 1) as Repository };
}

/** Whether a text is what `formatTarget` makes. */
export function isTargetName(text: string): boolean {
  const { upstream, repository } = splitTarget(text);
  return text.includes('/') && /^[^\s/]+$/.test(upstream) && isRepository(repository);
}

export function isSameTarget(a: Target, b: Target): boolean {
  return a.repository === b.repository && a.upstream === b.upstream;
}

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
