import { Client, type Dispatcher } from 'undici';
import type { BenchProcess } from './bench-process.ts';

/** What the images of the bench are; old registries say 404 to who does not name it. */
const HEADERS = { accept: 'application/vnd.oci.image.manifest.v1+json' };
const KEPT_MS = 10 * 60_000;
/** A server that has not answered all of them by then is broken. */
const LIMIT_MS = 60_000;

/** Clients of one server with a connection each, which stay connected when they have nothing to ask. */
export class KeptConnections {
  readonly #clients: readonly Client[];

  constructor(server: BenchProcess, count: number) {
    const options = { keepAliveTimeout: KEPT_MS, keepAliveMaxTimeout: KEPT_MS };
    this.#clients = Array.from({ length: count }, () => new Client(server.url, options));
  }

  /** Each asks for its own path, all at once. Throws unless all are answered by 200 within a minute. */
  async ask(method: Dispatcher.HttpMethod, pathOf: (client: number) => string): Promise<void> {
    const signal = AbortSignal.timeout(LIMIT_MS);
    const asking = this.#clients.map(async (client, number) => {
      const { statusCode, body } = await client.request({
        method,
        path: pathOf(number),
        headers: HEADERS,
        signal,
      });
      await body.dump();
      if (statusCode !== 200) throw new Error(`${method} ${pathOf(number)}: ${statusCode}`);
    });
    await Promise.all(asking);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#clients.map(async (client) => client.destroy()));
  }
}
