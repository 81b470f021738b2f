import type { ParameterizedContext } from 'koa';
import type { Digest } from '../oci/digest.ts';

/** What every answer with content says of it. The digest is the strong validator. */
export function setContentHeaders(
  ctx: ParameterizedContext,
  content: { readonly digest: Digest },
  options: { isImmutable: boolean },
): void {
  ctx.set('Docker-Content-Digest', content.digest);
  ctx.set('ETag', `"${content.digest}"`);
  ctx.set('Cache-Control', options.isImmutable ? 'max-age=31536000, immutable' : 'no-cache');
}

/** @see https://www.rfc-editor.org/rfc/rfc9110#section-13.1.2 */
export function isNotModified(ctx: ParameterizedContext, digest: Digest): boolean {
  const header = ctx.get('If-None-Match');
  if (header === '') return false;
  if (header.trim() === '*') return true;
  return header.split(',').some((tag) => tag.trim().replace(/^W\//, '') === `"${digest}"`);
}
