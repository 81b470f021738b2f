import { LRUCache } from 'lru-cache';
import { DecodingError, decode, type Coding } from '../net/content-coding.ts';
import { IntegrityError, type Digest } from '../oci/digest.ts';
import { parseLength } from '../oci/content.ts';
import type { RegistryResponse } from './registry-client.ts';
import { TEXTS } from './texts.ts';
import type { BlobBody, Reading } from './upstream.ts';

/** The whole blob that was asked for. */
export interface AskedBlob {
  readonly digest: Digest;
  /** The size that its descriptor says. */
  readonly size: number | undefined;
  /** The size of what the storage keeps, from its answer to a range; asked where nothing else tells. */
  readonly findKept?: () => Promise<number | undefined>;
}

/** More than the storage hosts of any registry; a host that is forgotten costs one more guess. */
const MAX_HOSTS = 1_000;
/**
 * Of what a blob of unknown size may grow to while it is decoded: a hundred times what came is more
 * than archives shrink by, and a short one may be mostly zeros.
 */
const MAX_GROWTH = 100;
const FREE_BYTES = 16 * 1024 * 1024;

/**
 * Whether blobs whose answer names a compression are compressed: many stores repeat the header of an
 * upload over bytes that are the blob's own. A length that is the descriptor's tells. Without a length one
 * byte is asked for by range, whose answer says how many there are. What is guessed even so the digest
 * decides, and its word is remembered by host.
 *
 * Storage that sends no length and knows no ranges has one client without room cut short by a wrong guess,
 * once a host: a layer that is gzip and a layer that was gzipped begin alike, the two hashes that would
 * tell them apart are known at the last byte, and without room nothing can be held back till then.
 */
export class Encodings {
  /** Whether the header is true. */
  readonly #hosts = new LRUCache<string, boolean>({ max: MAX_HOSTS });

  /** A 200. */
  async body(response: RegistryResponse, asked: AskedBlob): Promise<BlobBody> {
    const { codings, headers } = response;
    const length = parseLength(headers['content-length']);
    if (codings.length === 0) return bodyOf(response, { size: length });
    const { host } = response.url;
    const isUntold = length === undefined && asked.size !== undefined && !this.#hosts.has(host);
    const kept = isUntold ? await asked.findKept?.() : undefined;
    const reading = this.#read(host, { length, size: asked.size, kept });
    const { isDecoded, isGuess } = reading;
    const chunks = isDecoded ? decoded(response, codings, asked) : response.chunks;
    const size = asked.size ?? (isDecoded || isGuess ? undefined : length);
    return { ...bodyOf(response, { chunks, size }), reading };
  }

  /** Whether a 206 is a range of the blob: one of an encoding is none. */
  isRange({ codings, url }: RegistryResponse, whole: number | undefined, size?: number): boolean {
    if (codings.length === 0) return true;
    if (whole !== undefined && size !== undefined) return whole === size;
    return this.#hosts.get(url.host) === false;
  }

  #read(
    host: string,
    { length, size, kept }: Record<'length' | 'size' | 'kept', number | undefined>,
  ): Reading {
    const known = this.#hosts.get(host);
    const isSure = length !== undefined && size !== undefined;
    const isGuess = !isSure && known === undefined;
    // What a proxy encodes on the way has no length; what a store keeps has.
    const isLikely = kept === undefined ? length === undefined : kept !== size;
    const isDecoded = isSure ? length !== size : (known ?? isLikely);
    const settle = (isRight: boolean): void => {
      if (isRight) this.#hosts.set(host, isDecoded);
      else if (isGuess) this.#hosts.set(host, !isDecoded);
      else if (!isSure) this.#hosts.delete(host);
    };
    return { isDecoded, isGuess, settle };
  }
}

/** Bytes as they came, unless others are given. */
export function bodyOf(
  response: RegistryResponse,
  {
    start = 0,
    size,
    chunks = response.chunks,
  }: { start?: number; size?: number | undefined; chunks?: AsyncIterable<Buffer> } = {},
): BlobBody {
  const discard = (): void => response.discard();
  const isRange = response.status === 206;
  return { start, chunks, discard, isRange, ...(size !== undefined && { size }) };
}

/** What is longer than its size is for the reader to see. */
async function* decoded(
  response: RegistryResponse,
  codings: readonly Coding[],
  { digest, size }: AskedBlob,
): AsyncGenerator<Buffer> {
  let [came, grown] = [0, 0];
  async function* counted(): AsyncGenerator<Buffer> {
    for await (const chunk of response.chunks) {
      came += chunk.length;
      yield chunk;
    }
  }
  const encoded = TEXTS.encodedAs({ encoding: codings.join(', ') });
  try {
    for await (const chunk of decode(counted(), codings)) {
      grown += chunk.length;
      if (size === undefined && grown > FREE_BYTES + MAX_GROWTH * came) {
        throw new IntegrityError(digest, { expected: encoded, actual: TEXTS.growsWithoutEnd });
      }
      yield chunk;
    }
  } catch (error) {
    if (!(error instanceof DecodingError)) throw error;
    throw new IntegrityError(digest, { expected: encoded, actual: TEXTS.notEncoded });
  } finally {
    response.discard();
  }
}
