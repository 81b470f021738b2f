import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { TLSSocket } from 'node:tls';

export type Origin = 'registry' | 'token' | 'storage';

/** One request as the fake registry saw it, and what became of its answer. */
export class RecordedRequest {
  readonly origin: Origin;
  readonly method: string;
  /** As sent, without the query. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingHttpHeaders;
  /** `none`, `basic:<user>`, `bearer:<user>`, `bearer:anonymous`, `bearer:unknown` (also expired and revoked), or the scheme. */
  readonly authorization: string;
  /** The subject of the client certificate that came with the connection. */
  readonly clientCertificate: string | undefined;
  /** The status sent, `undefined` while the request hangs. */
  status: number | undefined;
  /** Body bytes handed to the socket. */
  bytesSent = 0;
  /** `complete`: the whole answer was handed to the kernel. `aborted`: either side broke it off. */
  readonly finished: Promise<'complete' | 'aborted'>;
  readonly #finish: (outcome: 'complete' | 'aborted') => void;

  constructor(origin: Origin, request: IncomingMessage, authorization: string) {
    const [path = '', search = ''] = (request.url ?? '').split(/\?(.*)/s);
    this.origin = origin;
    this.method = request.method ?? '';
    this.path = path;
    this.query = new URLSearchParams(search);
    this.headers = request.headers;
    this.authorization = authorization;
    this.clientCertificate = subjectOf(request);
    const { promise, resolve } = Promise.withResolvers<'complete' | 'aborted'>();
    this.finished = promise;
    this.#finish = resolve;
  }

  get range(): string | undefined {
    return this.headers.range;
  }

  get accept(): string | undefined {
    return this.headers.accept;
  }

  get acceptEncoding(): string | undefined {
    return this.headers['accept-encoding'] as string | undefined;
  }

  get userAgent(): string | undefined {
    return this.headers['user-agent'];
  }

  /** For the server alone. */
  finish(outcome: 'complete' | 'aborted'): void {
    this.#finish(outcome);
  }

  /** One line for `conversation()`. A signed query is left out, it differs from run to run. */
  toString(): string {
    const parts = [this.method];
    if (this.origin === 'token') {
      parts.push('token', ...this.query.getAll('scope'));
    } else if (this.origin === 'storage') {
      parts.push('storage', this.path);
    } else {
      const query = decodeURIComponent(this.query.toString());
      parts.push(query === '' ? this.path : `${this.path}?${query}`);
    }
    if (this.range !== undefined) parts.push(this.range);
    return parts.join(' ');
  }
}

function subjectOf(request: IncomingMessage): string | undefined {
  if (!('getPeerCertificate' in request.socket)) return undefined;
  const subject = (request.socket as TLSSocket).getPeerCertificate().subject as
    { CN?: string | string[] } | undefined;
  return subject?.CN?.toString();
}
