import { isDigest, type Digest } from './digest.ts';
import { parseTag, type Reference, type Tag } from './reference.ts';

const SUFFIXES = ['.sig', '.att', '.sbom'];
const OF_A_DIGEST = /^(sha256-[0-9a-f]{64})(\.(?:sig|att|sbom))?$/;
const ATTACHED = /^sha(?:256-[0-9a-f]{64}|512-[0-9a-f]{64,})(?:\.[a-z]+)?$/;

/**
 * The tags under which cosign keeps the signature, the attestations and the SBOM of a subject. None
 * for sha512: its digest is longer than a tag may be.
 * @see https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md#storage
 */
export function cosignTags(subject: Digest): Tag[] {
  if (!subject.startsWith('sha256:')) return [];
  return SUFFIXES.map((suffix) => parseTag(`${subject.replace(':', '-')}${suffix}`));
}

/**
 * The tag under which registries without the referrers API list a subject's referrers.
 * @see https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#referrers-tag-schema
 */
export function fallbackTag(subject: Digest): Tag {
  const [algorithm = '', encoded = ''] = subject.split(':');
  return parseTag(`${algorithm.slice(0, 32)}-${encoded.slice(0, 64)}`);
}

/**
 * The subject of a fallback tag; `undefined` for other tags, and where the digest was cut to fit.
 */
export function fallbackSubject(reference: Reference): Digest | undefined {
  return OF_A_DIGEST.exec(reference)?.[2] === undefined ? attachedSubject(reference) : undefined;
}

/** The subject of a fallback tag or of one of cosign's; `undefined` for other tags. */
export function attachedSubject(reference: Reference): Digest | undefined {
  const digest = OF_A_DIGEST.exec(reference)?.[1]?.replace('-', ':');
  return isDigest(digest) ? digest : undefined;
}

/** Whether a tag is named after a digest: it belongs to an image and is none to pull by name. */
export function isAttachedTag(tag: string): boolean {
  return ATTACHED.test(tag);
}
