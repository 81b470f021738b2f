import { Agent, request } from 'node:http';
import { text } from 'node:stream/consumers';

/** Times of requests, one after the other on one kept connection, in milliseconds. */
export class Latency {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 });
  readonly #times: number[] = [];

  async ask(url: string, method: 'GET' | 'HEAD'): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<number | undefined>();
    const start = performance.now();
    const asking = request(url, { method, agent: this.#agent }, (response) => {
      text(response).then(() => resolve(response.statusCode), reject);
    });
    asking.on('error', reject).end();
    const status = await promise;
    this.#times.push(performance.now() - start);
    if (status !== 200) throw new Error(`${method} ${url}: ${status}`);
  }

  get count(): number {
    return this.#times.length;
  }

  /** The time that this share of the requests stayed within. */
  quantile(share: number): number {
    const sorted = this.#times.toSorted((a, b) => a - b);
    return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] ?? NaN;
  }

  close(): void {
    this.#agent.destroy();
  }
}
