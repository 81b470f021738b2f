import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import { setImmediate } from 'node:timers/promises';
import type { TLSSocket } from 'node:tls';

export type Origin = 'registry' | 'token' | 'storage';

interface Parts {
  readonly origin: Origin;
  readonly incoming: IncomingMessage;
  readonly response: ServerResponse;
  readonly authorization: string;
}

/** One request as the fake registry saw it, and what became of its answer. */
export class RecordedRequest {
  readonly origin: Origin;
  readonly method: string;
  /** As sent, without the query. */
  readonly path: string;
  /** As sent, after the question mark. */
  readonly search: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingHttpHeaders;
  /** `none`, `basic:<user>`, `bearer:<user>`, `bearer:anonymous`, `bearer:unknown` (also expired and revoked), or the scheme. */
  readonly authorization: string;
  /** The subject of the client certificate that came with the connection. */
  readonly clientCertificate: string | undefined;
  /** The fields of a POST to the token endpoint. */
  form = new URLSearchParams();
  /** The status sent, `undefined` while the request hangs. */
  status: number | undefined;
  /** Body bytes handed to the socket. */
  bytesSent = 0;
  /** `complete`: the whole answer was handed to the kernel. `aborted`: either side broke it off. */
  readonly finished: Promise<'complete' | 'aborted'>;
  /** Resolves with the answer's end or its connection's, just before `finished`. */
  readonly closed: Promise<void>;

  constructor({ origin, incoming, response, authorization }: Parts) {
    const [path = '', search = ''] = (incoming.url ?? '').split(/\?(.*)/s);
    this.origin = origin;
    this.method = incoming.method ?? '';
    this.path = path;
    this.search = search;
    this.query = new URLSearchParams(search);
    this.headers = incoming.headers;
    this.authorization = authorization;
    this.clientCertificate = subjectOf(incoming);
    this.closed = new Promise((resolve) => response.once('close', resolve));
    this.finished = this.#outcome(response);
  }

  get range(): string | undefined {
    return this.headers.range;
  }

  get accept(): string | undefined {
    return this.headers.accept;
  }

  get acceptEncoding(): string | undefined {
    return this.headers['accept-encoding'];
  }

  get userAgent(): string | undefined {
    return this.headers['user-agent'];
  }

  /** One line for `conversation()`. A signed query is left out, it differs from run to run. */
  toString(): string {
    const parts = [this.method];
    if (this.origin === 'token') {
      parts.push('token', ...this.query.getAll('scope'), ...this.form.getAll('scope'));
    } else if (this.origin === 'storage') {
      parts.push('storage', this.path);
    } else {
      parts.push(this.search === '' ? this.path : `${this.path}?${this.search}`);
    }
    if (this.range !== undefined) parts.push(this.range);
    return parts.join(' ');
  }

  async #outcome(response: ServerResponse): Promise<'complete' | 'aborted'> {
    await this.closed;
    // Whoever waited on behalf of this request leaves its gate first.
    await setImmediate();
    return response.writableFinished ? 'complete' : 'aborted';
  }
}

/** Percent-decoded, or as it is when that fails. */
export function decodePath(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function subjectOf(request: IncomingMessage): string | undefined {
  if (!('getPeerCertificate' in request.socket)) return undefined;
  const subject = (request.socket as TLSSocket).getPeerCertificate().subject as
    { CN?: string | string[] } | undefined;
  return subject?.CN?.toString();
}
