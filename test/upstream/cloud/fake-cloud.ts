import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type RequestListener } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import type { ExecutionContext } from 'ava';
import { Gate } from '../../helpers/gate.ts';
import type { KeyPair } from '../../helpers/certificate.ts';

export interface CloudRequest {
  readonly method: string;
  /** With its query. */
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** A string is sent as it is. */
export interface CloudAnswer {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: unknown;
}

/** A cloud's endpoint on loopback: it writes down what it is asked and answers as it is told. */
export class FakeCloud {
  readonly requests: CloudRequest[] = [];
  /** A test may put another one in its place. */
  answer: (request: CloudRequest) => CloudAnswer;
  readonly #url: string;
  #gate: Gate | undefined;
  readonly #close: () => Promise<void>;

  static async start(
    t: ExecutionContext,
    answer: FakeCloud['answer'],
    tls?: KeyPair,
  ): Promise<FakeCloud> {
    const listener: RequestListener = (incoming, response) => {
      void (async () => {
        const { method = '', url = '', headers } = incoming;
        const request = { method, path: url, headers, body: await text(incoming) };
        cloud.requests.push(request);
        await cloud.#gate?.pass();
        const { status = 200, headers: own = {}, body } = cloud.answer(request);
        const isText = typeof body === 'string';
        const type = isText ? 'text/html' : 'application/json';
        response.writeHead(status, { 'content-type': type, ...own });
        response.end(isText ? body : JSON.stringify(body));
      })();
    };
    const server = tls ? createTlsServer({ ...tls }, listener) : createServer(listener);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const close = async (): Promise<void> => {
      if (!server.listening) return;
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    };
    const cloud = new FakeCloud(`${tls ? 'https' : 'http'}://127.0.0.1:${port}`, answer, close);
    t.teardown(close);
    return cloud;
  }

  /** Use `start`. */
  constructor(url: string, answer: FakeCloud['answer'], close: () => Promise<void>) {
    this.#url = url;
    this.answer = answer;
    this.#close = close;
  }

  get url(): string {
    return this.#url;
  }

  get host(): string {
    return new URL(this.#url).host;
  }

  /** Every request from now on waits at the gate, already written down. */
  hold(): Gate {
    this.#gate = new Gate();
    return this.#gate;
  }

  /** Nobody listens any more. */
  async refuse(): Promise<void> {
    await this.#close();
  }
}
