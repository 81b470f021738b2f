import type { ManifestStat } from '../mirror/held-manifests.ts';
import type { Mirror } from '../mirror/mirror.ts';
import { RegistryError } from '../oci/errors.ts';
import { isAcceptable } from '../oci/media-types.ts';
import { formatTarget, isDigestReference, isTag, parseReference } from '../oci/reference.ts';
import { isNotModified, setCacheHeaders, setContentHeaders } from './answer-headers.ts';
import type { ContentRequest } from './content-request.ts';
import type { V2Context } from './request-record.ts';
import { TEXTS } from './texts.ts';

/** Of what is longer than a tag may be. */
const MAX_SHOWN_LENGTH = 140;

/** GET and HEAD of `/v2/<name>/manifests/<reference>`. */
export class ManifestHandler {
  readonly #mirror: Mirror;

  constructor(mirror: Mirror) {
    this.#mirror = mirror;
  }

  async handle(ctx: V2Context, request: ContentRequest): Promise<void> {
    const { target, demand } = request;
    requirePossible(request);
    const reference = parseReference(request.reference);
    const isHead = ctx.method === 'HEAD';
    const answer = isHead
      ? await this.#mirror.statManifest(target, reference, demand)
      : await this.#mirror.getManifest(target, reference, demand);
    setCacheHeaders(ctx, answer, { stored: !isHead && answer.value !== undefined });
    const manifest = answer.value;
    if (!manifest) {
      const asked = { upstream: target.upstream, reference: request.reference };
      const about = { ...target, ...asked };
      const { warning: reason } = answer;
      throw new RegistryError('MANIFEST_UNKNOWN', {
        message:
          reason === undefined ? TEXTS.noManifest(about) : TEXTS.hadNone({ ...about, reason }),
        detail: asked,
      });
    }
    ctx.set('Vary', 'Accept');
    requireAcceptable(ctx, manifest, request);
    // What a HEAD of the upstream says of it is its word alone.
    const content = { digest: manifest.digest, isVerified: 'bytes' in manifest };
    const isImmutable = isDigestReference(reference);
    setContentHeaders(ctx, content, { isImmutable });
    ctx.set('Content-Type', manifest.mediaType);
    if (isNotModified(ctx, content)) {
      ctx.status = 304;
      return;
    }
    ctx.status = 200;
    if ('bytes' in manifest) {
      ctx.body = manifest.bytes;
      ctx.state.record.bytes = isHead ? 0 : manifest.size;
    } else ctx.length = manifest.size;
  }
}

/** What can be no tag is none of any registry: registries say 404, and clients look further. */
function requirePossible({ target, reference }: ContentRequest): void {
  if (reference.includes(':') || isTag(reference)) return;
  const shown = reference.slice(0, MAX_SHOWN_LENGTH);
  throw new RegistryError('MANIFEST_UNKNOWN', {
    message: TEXTS.impossibleTag({ ...target, reference: shown }),
    detail: { upstream: target.upstream, reference: shown },
  });
}

/** GHCR's answer, which clients understand; content is never converted. */
function requireAcceptable(ctx: V2Context, manifest: ManifestStat, request: ContentRequest): void {
  if (isAcceptable(manifest.mediaType, ctx.get('Accept'))) return;
  throw new RegistryError('MANIFEST_UNKNOWN', {
    message: TEXTS.notAcceptable({
      image: formatTarget(request.target),
      mediaType: manifest.mediaType,
    }),
    detail: { mediaType: manifest.mediaType },
  });
}
