import { isDigest, parseDigest, type Digest } from './digest.ts';
import { RegistryError } from './errors.ts';

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
  // The length goes first: it bounds the work of the expression.
  if (text.length > MAX_REPOSITORY_LENGTH) {
    throw new RegistryError('NAME_INVALID', {
      detail: `longer than ${MAX_REPOSITORY_LENGTH} characters`,
    });
  }
  if (!REPOSITORY.test(text)) throw new RegistryError('NAME_INVALID', { detail: `"${text}"` });
  return text as Repository;
}

export function isRepository(text: string): text is Repository {
  return text.length <= MAX_REPOSITORY_LENGTH && REPOSITORY.test(text);
}

/** Throws `TAG_INVALID`. */
export function parseTag(text: string): Tag {
  if (!TAG.test(text)) {
    throw new RegistryError('TAG_INVALID', { detail: `"${text.slice(0, 140)}"` });
  }
  return text as Tag;
}

export function isTag(text: unknown): text is Tag {
  return typeof text === 'string' && TAG.test(text);
}

/** Anything with a colon in the reference position is a digest. */
export function parseReference(text: string): Reference {
  return text.includes(':') ? parseDigest(text) : parseTag(text);
}

export function isDigestReference(reference: Reference): reference is Digest {
  return reference.includes(':') && isDigest(reference);
}

export function formatTarget(target: Target): string {
  return `${target.upstream}/${target.repository}`;
}

export function isSameTarget(a: Target, b: Target): boolean {
  return a.repository === b.repository && a.upstream === b.upstream;
}

/** The tag under which registries without the referrers API keep a subject's referrers. */
export function fallbackTag(subject: Digest): Tag {
  const colon = subject.indexOf(':');
  return parseTag(
    `${subject.slice(0, colon).slice(0, 32)}-${subject.slice(colon + 1).slice(0, 64)}`,
  );
}

/** The subject of a fallback tag; `undefined` for other tags, and where it was cut to fit. */
export function fallbackSubject(reference: Reference): Digest | undefined {
  const digest = /^sha256-[0-9a-f]{64}$/.test(reference) ? reference.replace('-', ':') : undefined;
  return isDigest(digest) ? digest : undefined;
}
