import { isAscii } from 'node:buffer';
import type { Answer } from '../mirror/answer.ts';
import type { HeldManifest, ManifestStat } from '../mirror/held-manifests.ts';
import type { Mirror } from '../mirror/mirror.ts';
import type { Reader } from '../oci/content.ts';
import { RegistryError } from '../oci/errors.ts';
import { isAcceptable } from '../oci/media-types.ts';
import { formatTarget, isDigestReference, isTag, parseReference } from '../oci/reference.ts';
import { isNotModified, setCacheHeaders, setManifestHeaders, setVary } from './answer-headers.ts';
import type { BufferPool } from './buffer-pool.ts';
import type { ContentRequest } from './content-request.ts';
import type { V2Context } from './request-record.ts';
import { send } from './send.ts';
import { TEXTS } from './texts.ts';

/** Of what is longer than a tag may be. */
const MAX_SHOWN_LENGTH = 140;

/** Up to here they go out in one piece with their headers. */
const SMALL_BYTES = 64 * 1024;
/** Of large ones that the store did not take, each in memory until its client has it. */
const MAX_UNKEPT_BYTES = 64 * 1024 * 1024;
/** By then a client has such a one, or is cut short: 4 MiB at a MiB in eight seconds. */
const UNKEPT_MS = 30_000;
const UNKEPT_RETRY_AFTER_SECONDS = 5;

type Manifests = Pick<Mirror, 'getManifest' | 'statManifest'>;
type Sendable = Pick<HeldManifest, 'body' | 'size'>;

/** GET and HEAD of `/v2/<name>/manifests/<reference>`. */
export class ManifestHandler {
  readonly #mirror: Manifests;
  readonly #buffers: BufferPool;
  #unkeptBytes = 0;

  constructor(mirror: Manifests, buffers: BufferPool) {
    this.#mirror = mirror;
    this.#buffers = buffers;
  }

  async handle(ctx: V2Context, request: ContentRequest): Promise<void> {
    // Between the look at a large one and its opening it may be evicted: then it is fetched anew.
    if ((await this.#answer(ctx, request)) === 'gone') await this.#answer(ctx, request);
  }

  async #answer(ctx: V2Context, request: ContentRequest): Promise<'gone' | void> {
    const { target } = request;
    const demand = wantsAnew(ctx) ? { ...request.demand, isAnew: true } : request.demand;
    requirePossible(request);
    const reference = parseReference(request.reference);
    const isHead = ctx.method === 'HEAD';
    const answer: Answer<ManifestStat | HeldManifest> = isHead
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
    setVary(ctx);
    requireAcceptable(ctx, manifest, request);
    // What a HEAD of the upstream says of it is its word alone.
    const content = { ...manifest, isVerified: 'body' in manifest };
    setManifestHeaders(ctx, content, { isImmutable: isDigestReference(reference) });
    if (isNotModified(ctx, content)) {
      ctx.status = 304;
      return;
    }
    ctx.status = 200;
    if ('body' in manifest && Buffer.isBuffer(manifest.body) && manifest.size <= SMALL_BYTES) {
      ctx.body = sendable(manifest.body);
      ctx.state.record.bytes = isHead ? 0 : manifest.size;
      return;
    }
    ctx.length = manifest.size;
    if ('body' in manifest && !isHead) return this.#stream(ctx, manifest);
  }

  /** A client that stops holds one chunk of it. */
  async #stream(ctx: V2Context, { body, size }: Sendable): Promise<'gone' | void> {
    const reader = typeof body === 'function' ? await body() : this.#unkept(ctx, body);
    if (!reader) return 'gone';
    const { record } = ctx.state;
    try {
      ctx.respond = false;
      ctx.flushHeaders();
      record.answeredAt = performance.now();
      const onSent = (bytes: number): void => void (record.bytes += bytes);
      await send(ctx.res, reader, { size, buffers: this.#buffers, onSent });
      ctx.res.end();
    } finally {
      await reader.close();
    }
  }

  #unkept(ctx: V2Context, bytes: Buffer): Reader {
    if (this.#unkeptBytes + bytes.length > MAX_UNKEPT_BYTES) {
      const headers = { 'Retry-After': String(UNKEPT_RETRY_AFTER_SECONDS) };
      throw new RegistryError('UNAVAILABLE', { status: 503, message: TEXTS.noPlace, headers });
    }
    this.#unkeptBytes += bytes.length;
    const timer = setTimeout(() => ctx.res.destroy(), UNKEPT_MS);
    let rest = bytes;
    return {
      read: async (scratch) => {
        const chunk = rest.subarray(0, scratch.length);
        rest = rest.subarray(chunk.length);
        return chunk;
      },
      close: async () => {
        clearTimeout(timer);
        this.#unkeptBytes -= bytes.length;
      },
    };
  }
}

/** Text goes out in one write with the headers; bytes are put together by the kernel. */
export function sendable(bytes: Buffer): string | Buffer {
  return isAscii(bytes) ? bytes.toString('latin1') : bytes;
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

/**
 * RFC 9111, section 5.2.1.4: a copy is not used before the upstream has confirmed it. Of a digest there is
 * nothing to confirm.
 */
function wantsAnew({ req }: V2Context): boolean {
  const directives = req.headers['cache-control'];
  return directives !== undefined && /(?:^|,)\s*no-cache\s*(?:,|$)/i.test(directives);
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
