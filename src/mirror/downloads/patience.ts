import { UpstreamError } from '../../oci/upstream-error.ts';
import { TEXTS } from '../texts.ts';
import type { Download } from './download.ts';

/** The time that somebody has for a download. */
export class Patience implements Disposable {
  readonly #ms: number | undefined;
  readonly #over = Promise.withResolvers<void>();
  readonly #timer: NodeJS.Timeout | undefined;

  constructor(ms: number | undefined) {
    this.#ms = ms;
    if (ms !== undefined) this.#timer = setTimeout(() => this.#over.resolve(), ms);
  }

  /** Settles as the promise does, or rejects with what the download is late with. */
  async wait<Value>(
    download: Pick<Download, 'target' | 'isWaiting'>,
    promise: Promise<Value>,
  ): Promise<Value> {
    const late = this.#over.promise.then(() => {
      const { target, isWaiting } = download;
      const ms = this.#ms ?? 0;
      const reason = isWaiting ? TEXTS.noTurnWithin({ ms }) : TEXTS.noAnswerWithin({ ms });
      throw new UpstreamError(target.upstream, 'timeout', reason, { isUnasked: isWaiting });
    });
    return Promise.race([promise, late]);
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }
}
