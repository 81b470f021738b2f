import type { Answer, CacheResult } from '../mirror/answer.ts';
import type { Digest } from '../oci/digest.ts';
import type { Visit } from './request-record.ts';
import { TEXTS } from './texts.ts';

/** RFC 9211 values by how the cache came by its answer. */
const CACHE_STATUS: Record<CacheResult, string> = {
  hit: 'entrepot; hit',
  stale: 'entrepot; hit; detail=stale',
  revalidated: 'entrepot; hit; detail=revalidated',
  negative: 'entrepot; hit; detail=negative',
  miss: 'entrepot; fwd=miss',
  joined: 'entrepot; fwd=miss; collapsed',
  bypass: 'entrepot; fwd=bypass',
};

/** The spec's limit of all warnings in a response. */
const MAX_WARNING_BYTES = 4096;

/**
 * The answer, or error, is for who asked alone: no cache on the way gives it to anybody else. What is then set
 * as `Cache-Control` says so, too.
 */
export function keepApart(ctx: Visit): void {
  ctx.state.isPrivate = true;
  ctx.set('Vary', 'Authorization');
}

/** Where the answer came from, how old it is, why it may be outdated; also for the record. */
export function setCacheHeaders(
  ctx: Visit,
  answer: Answer<unknown>,
  options: { stored: boolean },
): void {
  const { record } = ctx.state;
  record.source = answer.source;
  record.reason = answer.value === undefined ? 'absent' : answer.reason;
  const stored = options.stored && answer.source === 'miss' ? '; stored' : '';
  ctx.set('Cache-Status', CACHE_STATUS[answer.source] + stored);
  if (answer.ageMs !== undefined) {
    ctx.set('Age', formatAge(answer.ageMs));
  }
  if (answer.source === 'stale' || answer.warning !== undefined) {
    ctx.set('Warning', formatWarning(answer));
  }
}

/**
 * Headers of every answer with content. Its digest is the strong validator once its bytes are known
 * to be the digest's; before, no cache may keep what may be wrong, or put it together with the right.
 */
export function setContentHeaders(
  ctx: Visit,
  content: { readonly digest: Digest; readonly isVerified: boolean },
  options: { isImmutable: boolean },
): void {
  ctx.set('Docker-Content-Digest', content.digest);
  if (!content.isVerified) return ctx.set('Cache-Control', 'no-store');
  ctx.set('ETag', `"${content.digest}"`);
  const age = options.isImmutable ? 'max-age=31536000, immutable' : 'no-cache';
  ctx.set('Cache-Control', ctx.state.isPrivate ? `private, ${age}` : age);
}

/** A part of a blob of which the digest cannot be told yet. */
export function setUnverified(
  ctx: Visit & { readonly response: { get(field: string): string } },
): void {
  ctx.set('Cache-Status', `${ctx.response.get('Cache-Status')}; detail=unverified`);
}

/** In whole seconds, as the header has it. */
export function formatAge(ageMs: number): string {
  return String(Math.max(0, Math.floor(ageMs / 1000)));
}

/** Of `/v2/`. */
export function setPingHeaders(ctx: Pick<Visit, 'set'>): void {
  ctx.set('Docker-Distribution-Api-Version', 'registry/2.0');
  ctx.set('Content-Type', 'application/json');
}

/** What of the request an answer with a manifest depends on. */
export function setVary(ctx: Visit): void {
  ctx.set('Vary', ctx.state.isPrivate ? 'Authorization, Accept' : 'Accept');
}

/** Headers of every answer with a manifest, but those of its way here. */
export function setManifestHeaders(
  ctx: Visit,
  manifest: { readonly digest: Digest; readonly mediaType: string; readonly isVerified: boolean },
  options: { isImmutable: boolean },
): void {
  setContentHeaders(ctx, manifest, options);
  ctx.set('Content-Type', manifest.mediaType);
}

/**
 * Never of what is not verified, which has no validator to compare with.
 * @see https://www.rfc-editor.org/rfc/rfc9110#section-13.1.2
 */
export function isNotModified(
  { req }: Pick<Visit, 'req'>,
  { digest, isVerified }: { readonly digest: Digest; readonly isVerified: boolean },
): boolean {
  if (!isVerified) return false;
  const header = req.headers['if-none-match'] ?? '';
  if (header === '') return false;
  if (header === `"${digest}"` || header.trim() === '*') return true;
  return header.split(',').some((tag) => tag.trim().replace(/^W\//, '') === `"${digest}"`);
}

/**
 * @see https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#warnings
 */
function formatWarning(answer: Answer<unknown>): string {
  const text = TEXTS.ownCopy({ reason: answer.warning ?? TEXTS.notConfirmed })
    .replaceAll(/[^\x20-\x7e]/g, ' ')
    .slice(0, MAX_WARNING_BYTES / 4)
    .replaceAll(/["\\]/g, '\\$&');
  return `299 - "${text}"`;
}
