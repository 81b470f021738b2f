import { setTimeout as sleep } from 'node:timers/promises';
import { BaseFetcher } from 'tuf-js';
import { DownloadHTTPError } from 'tuf-js/dist/error.js';
import { pausesOf, type Timing } from '../../net/timing.ts';
import type { Transport } from '../../net/transport.ts';
import { UpstreamError } from '../../oci/upstream-error.ts';
import { TEXTS } from './texts.ts';

interface TufFetcherParts {
  readonly transport: Pick<Transport, 'send'>;
  readonly timing: Timing;
  /** When it aborts, all ends. */
  readonly signal: AbortSignal;
}

/** The longest that the library takes, of targets; it holds each file to a limit of its own. */
const MAX_BYTES = 5_000_000;
const ATTEMPTS = 3;

/**
 * The files of a TUF repository, each of 5 MB at most and asked for three times at most, in the time that an
 * upstream has for a small answer. Redirects are not followed.
 */
export class TufFetcher extends BaseFetcher {
  readonly #parts: TufFetcherParts;

  constructor(parts: TufFetcherParts) {
    super();
    this.#parts = parts;
  }

  override async fetch(url: string): Promise<ReadableStream<Uint8Array<ArrayBuffer>>> {
    const pauses = pausesOf(this.#parts.timing);
    for (let attempt = 1; ; attempt += 1) {
      try {
        const bytes = await this.#fetch(new URL(url));
        return new Blob([new Uint8Array(bytes)]).stream();
      } catch (error) {
        if (attempt === ATTEMPTS || !mayPass(error)) throw error;
      }
      await sleep(pauses.after(attempt), undefined, { signal: this.#parts.signal });
    }
  }

  async #fetch(url: URL): Promise<Buffer> {
    const { transport, signal } = this.#parts;
    const answer = await transport.send({ method: 'GET', url, headers: {}, signal });
    const { status } = answer;
    const { host, pathname } = url;
    if (status !== 200) {
      answer.destroy();
      throw new DownloadHTTPError(TEXTS.tufStatus({ host, path: pathname, status }), status);
    }
    const bytes = await answer.read(MAX_BYTES);
    if (!bytes) throw new Error(TEXTS.tufTooLong({ host, path: pathname, most: MAX_BYTES }));
    return bytes;
  }
}

/** What is in the way, or broke, may be otherwise soon. */
function mayPass(error: unknown): boolean {
  if (error instanceof DownloadHTTPError) return error.statusCode >= 500;
  return error instanceof UpstreamError;
}
