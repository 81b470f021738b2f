import { isDeepStrictEqual } from 'node:util';
import type { Config } from '../config/config.ts';
import type { Scanning, ScanningParts } from './scanning.ts';

type ScannerConfig = NonNullable<Config['admission']>['scanner'];

/**
 * The scanner of the configuration as it is now: loaded when it is first wanted, and left as it is by a reload that
 * does not change its part of the configuration.
 */
export class OpenedScanning {
  readonly #parts: ScanningParts;
  readonly #closing = new Set<Promise<void>>();
  #config: ScannerConfig;
  #opened: Promise<Scanning> | undefined;

  constructor(parts: ScanningParts) {
    this.#parts = parts;
  }

  configure(config: ScannerConfig): void {
    if (isDeepStrictEqual(config, this.#config)) return;
    this.#config = config;
    this.#end();
  }

  async open(): Promise<Scanning> {
    const config = this.#config;
    this.#opened ??= import('./scanning.ts').then(
      ({ Scanning }) => new Scanning(config, this.#parts),
    );
    return this.#opened;
  }

  /** What runs ends at once. */
  async close(): Promise<void> {
    this.#end();
    await Promise.all(this.#closing);
  }

  #end(): void {
    const opened = this.#opened;
    this.#opened = undefined;
    if (!opened) return;
    const closed = opened.then(async (scanning) => scanning.close());
    this.#closing.add(closed);
    void closed.finally(() => this.#closing.delete(closed));
  }
}
