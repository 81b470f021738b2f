import type { Answer } from '../mirror/answer.ts';
import type { Blobs, BlobStat } from '../mirror/blobs.ts';
import type { ByteRange, Content } from '../oci/content.ts';
import { parseDigest, type Digest } from '../oci/digest.ts';
import { RegistryError } from '../oci/errors.ts';
import { formatTarget } from '../oci/reference.ts';
import {
  isNotModified,
  setCacheHeaders,
  setContentHeaders,
  setUnverified,
} from './answer-headers.ts';
import type { BufferPool } from './buffer-pool.ts';
import type { ContentRequest } from './content-request.ts';
import type { V2Context } from './request-record.ts';
import { GroupReader, groupRanges, Multipart, parseRange } from './range.ts';
import { send } from './send.ts';
import { TEXTS } from './texts.ts';

/** GET and HEAD of `/v2/<name>/blobs/<digest>`. */
export class BlobHandler {
  readonly #blobs: Blobs;
  readonly #buffers: BufferPool;

  constructor(blobs: Blobs, buffers: BufferPool) {
    this.#blobs = blobs;
    this.#buffers = buffers;
  }

  async handle(ctx: V2Context, request: ContentRequest): Promise<void> {
    const { target, demand } = request;
    const digest = parseDigest(request.reference);
    const isHead = ctx.method === 'HEAD';
    const answer: Answer<Content | BlobStat> = isHead
      ? await this.#blobs.stat(target, digest)
      : await this.#blobs.get(target, digest, { ...demand, ranges: askedRanges(ctx) });
    try {
      await this.#answer(ctx, answer, { ...request, digest });
    } catch (fault) {
      const isHeldUnreadable = !ctx.res.headersSent && isFileFault(fault);
      if (!isHeldUnreadable) throw fault;
      const anew = await this.#blobs.getAnew(target, digest, demand, fault);
      await this.#answer(ctx, anew, { ...request, digest });
    }
  }

  async #answer(
    ctx: V2Context,
    answer: Answer<Content | BlobStat>,
    request: ContentRequest & { digest: Digest },
  ): Promise<void> {
    const { target, digest } = request;
    const isHead = ctx.method === 'HEAD';
    setCacheHeaders(ctx, answer, { stored: !isHead && answer.value !== undefined });
    if (!answer.value) {
      throw new RegistryError('BLOB_UNKNOWN', {
        message: TEXTS.noBlob({ image: formatTarget(target), digest }),
        detail: { upstream: target.upstream, digest },
      });
    }
    const { isVerified } = answer.value;
    setContentHeaders(ctx, { digest, isVerified }, { isImmutable: true });
    ctx.set('Accept-Ranges', 'bytes');
    ctx.set('Content-Type', 'application/octet-stream');
    if (isNotModified(ctx, { digest, isVerified })) {
      ctx.status = 304;
    } else if (!isHead && 'open' in answer.value) {
      try {
        await this.#respond(ctx, answer.value);
      } finally {
        // As it turned out while the body was sent.
        ctx.state.record.source = answer.source;
        ctx.state.record.reason = answer.reason;
      }
    } else {
      ctx.status = 200;
      if (answer.value.size !== undefined) ctx.length = answer.value.size;
    }
  }

  async #respond(ctx: V2Context, content: Content): Promise<void> {
    const { size } = content;
    const ranges = size === undefined ? undefined : requestedRanges(ctx, content, size);
    using fetched = ranges && ranges.length > 1 ? content.want?.(ranges) : undefined;
    // What is held costs nobody anything.
    const groups =
      content.isVerified || fetched
        ? ranges?.map((range) => [range])
        : ranges && groupRanges(ranges);
    if (size === undefined || !ranges || !groups) {
      ctx.status = 200;
      if (size !== undefined) ctx.length = size;
      return await this.#stream(ctx, content, { groups: [undefined] });
    }
    ctx.status = 206;
    if (!content.isVerified) setUnverified(ctx);
    const [only, ...others] = ranges;
    if (only && others.length === 0) {
      ctx.set('Content-Range', `bytes ${only.start}-${only.end - 1}/${size}`);
      ctx.length = only.end - only.start;
      return await this.#stream(ctx, content, { groups });
    }
    const multipart = new Multipart(ranges, size);
    ctx.set('Content-Type', multipart.contentType);
    ctx.length = multipart.length;
    return await this.#stream(ctx, content, { groups, multipart });
  }

  /** The body goes past Koa's own piping: straight from the reader, at the client's pace. */
  async #stream(
    ctx: V2Context,
    content: Content,
    // Without ranges it is the whole.
    { groups, multipart }: { groups: readonly (ByteRange[] | undefined)[]; multipart?: Multipart },
  ): Promise<void> {
    const { record } = ctx.state;
    const response = ctx.res;
    const options = {
      size: content.size ?? Infinity,
      buffers: this.#buffers,
      onSent: (bytes: number) => {
        record.bytes += bytes;
      },
    };
    for (const ranges of groups) {
      const covering = ranges && coveringRange(ranges);
      await using reader = disposable(await content.open(covering));
      // From here on a fault can only cut the answer short, so the body must be at hand.
      if (!response.headersSent) {
        ctx.respond = false;
        ctx.flushHeaders();
        record.answeredAt = performance.now();
      }
      if (!covering || !multipart) {
        await send(response, reader.value, options);
        continue;
      }
      const group = new GroupReader(reader.value, covering.start);
      for (const range of ranges) {
        response.write(multipart.head(range));
        await send(response, group.next(range), options);
      }
    }
    if (multipart) response.write(multipart.end);
    response.end();
  }
}

function coveringRange(ranges: readonly ByteRange[]): ByteRange {
  return { start: ranges[0]?.start ?? 0, end: ranges.at(-1)?.end ?? 0 };
}

/**
 * `If-Range` with another validator asks for the whole (RFC 9110 section 13.1.5), and what is not
 * verified has none.
 */
function requestedRanges(ctx: V2Context, content: Content, size: number): ByteRange[] | undefined {
  const { digest, isVerified } = content;
  const condition = ctx.get('If-Range');
  if (condition !== '' && !(isVerified && condition === `"${digest}"`)) return undefined;
  return parseRange(ctx.get('Range'), size);
}

/** As far as the request tells; `undefined` where it is about all of the blob. */
function askedRanges(ctx: V2Context) {
  const header = ctx.get('Range');
  if (header === '' || ctx.get('If-Range') !== '') return undefined;
  let known: { size: number; ranges: readonly ByteRange[] | undefined } | undefined;
  return {
    isOpen: /\d-\s*$/.test(header),
    // Asked for again whenever something has come.
    of: (size: number) => {
      if (known?.size !== size) known = { size, ranges: rangesInside(header, size) };
      return known.ranges;
    },
  };
}

/** As `parseRange`; none where it refuses them: the answer will say so. */
function rangesInside(header: string, size: number): readonly ByteRange[] | undefined {
  try {
    return parseRange(header, size);
  } catch {
    return [];
  }
}

/** Of a system call on a file: the store cannot give what it holds. */
function isFileFault(error: unknown): boolean {
  return error instanceof Error && 'syscall' in error && 'path' in error;
}

function disposable<Value extends { close(): Promise<void> }>(
  value: Value,
): AsyncDisposable & { value: Value } {
  return { value, [Symbol.asyncDispose]: async () => value.close() };
}
