import type { Digest } from '../../oci/digest.ts';
import type { ScanRecords } from './scan-records.ts';
import type { Batch, Tables } from './tables.ts';

/** Beside the digests, and before them in byte order. */
const SCANNER = 'scanner';

export class LevelScanRecords implements ScanRecords {
  readonly #tables: Tables;
  readonly #change: (work: () => Promise<void>) => Promise<void>;

  /** `change` runs one piece of work at a time. */
  constructor(tables: Tables, change: (work: () => Promise<void>) => Promise<void>) {
    this.#tables = tables;
    this.#change = change;
  }

  async find(digest: Digest): Promise<unknown> {
    return this.#tables.scans.get(digest);
  }

  async record(digest: Digest, scan: object): Promise<void> {
    await this.#change(async () => {
      if (await this.#tables.members.has(digest)) await this.#put(digest, scan);
    });
  }

  async digests(): Promise<Digest[]> {
    return (await this.#tables.scans.keys({ gt: SCANNER }).all()) as Digest[];
  }

  async findScanner(): Promise<unknown> {
    return this.#tables.scans.get(SCANNER);
  }

  async recordScanner(scanner: object): Promise<void> {
    await this.#change(async () => this.#put(SCANNER, scanner));
  }

  /** Not synced: a loss costs a scan. */
  async #put(key: string, value: object): Promise<void> {
    const put = (batch: Batch) => batch.put(key, value, { sublevel: this.#tables.scans });
    await this.#tables.write(put, { sync: false });
  }
}
