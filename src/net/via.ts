import { AsyncLocalStorage } from 'node:async_hooks';
import { randomBytes } from 'node:crypto';

const chain = new AsyncLocalStorage<string>();

/**
 * How many mirrors and proxies the request came through that this work is done for. A chain grows
 * with each mirror: work that waits only for work of a chain as long as its own never waits for
 * itself.
 */
export function chainLength(): number {
  return chain.getStore()?.split(',').length ?? 0;
}

/**
 * The mirrors that a request has come through, in the words of RFC 9110 section 7.6.3. A mirror
 * that finds itself among them would wait for itself.
 */
export class Via {
  readonly #pseudonym = `entrepot-${randomBytes(6).toString('hex')}`;

  /** Whether a received `Via` names this mirror. */
  includesMe(received: string): boolean {
    return received.split(',').some((hop) => hop.trim().split(/\s+/)[1] === this.#pseudonym);
  }

  /** Runs what a request causes, so that its own requests tell where they come from. */
  follow<Value>(received: string, work: () => Value): Value {
    return chain.run(received, work);
  }

  /** The header of a request to an upstream. */
  get header(): string {
    const received = chain.getStore();
    const own = `1.1 ${this.#pseudonym}`;
    return received === undefined ? own : `${received}, ${own}`;
  }
}
