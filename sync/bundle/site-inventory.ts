import type { InventoryApi } from '../../src/api/bundle-api.ts';
import { RegistryError } from '../../src/oci/errors.ts';
import type { Store } from '../../src/store/store.ts';
import { encodeInventory } from './inventory-file.ts';
import { SigningKey } from './signing-key.ts';
import { Survey } from './survey.ts';
import { TEXTS } from './texts.ts';

interface Parts {
  readonly store: Pick<Store, 'id' | 'key' | 'catalog' | 'blobs'>;
  /** By series of bundles, the number of the last one that is in force. */
  readonly applied: () => ReadonlyMap<string, number>;
}

/** Tells those who send bundles what this site holds. */
export class SiteInventory implements InventoryApi {
  readonly #parts: Parts;
  readonly #stop = new AbortController();
  #making: Promise<Buffer> | undefined;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** Whoever asks while one is being made gets that one. Rejects after `stop`. */
  async make(): Promise<Buffer> {
    this.#making ??= this.#make().finally(() => (this.#making = undefined));
    return this.#making;
  }

  /** Ends one that is being made. */
  stop(): void {
    this.#stop.abort(
      new RegistryError('UNSUPPORTED', { status: 503, message: TEXTS.inventoryStopped }),
    );
  }

  /** Resolves, after `stop`, when none is being made any more. */
  async closed(): Promise<void> {
    await this.#making?.catch(() => undefined);
  }

  async #make(): Promise<Buffer> {
    const { store, applied } = this.#parts;
    const { signal } = this.#stop;
    const key = await store.key(makeKey);
    if (store.id === undefined || key === undefined) {
      throw new RegistryError('UNSUPPORTED', { status: 503, message: TEXTS.inventoryUnsigned });
    }
    const { catalog, blobs } = store;
    const held = await Survey.of({ catalog, blobs, signal });
    // What came in meanwhile may count, and be missing: then it comes once more.
    const inventory = { site: store.id, applied: applied(), ...held };
    return encodeInventory(inventory, SigningKey.read(key));
  }
}

/** Of Ed25519, and of P-256 where FIPS rules leave none of that. */
function makeKey(): string {
  try {
    return SigningKey.generate('ed25519').format();
  } catch {
    return SigningKey.generate('p256').format();
  }
}
