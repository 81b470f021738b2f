import { findStores, readStores, type StoreType } from '../../config/notation-stores.ts';
import { Certificate } from './certificate.ts';

/** Whom Notation signatures are traced back to, by the type of the store: those of all named stores. */
export type TrustStores = Readonly<Record<StoreType, readonly Certificate[]>>;

/** The folder of trust stores as it is now. Throws an error that says what of it cannot be used. */
export function readTrustStores(folder: string): TrustStores {
  const stores: Record<StoreType, Certificate[]> = { ca: [], signingAuthority: [], tsa: [] };
  for (const { type, certificate } of readStores(folder, findStores(folder).files)) {
    stores[type].push(new Certificate(Buffer.from(certificate.raw)));
  }
  return stores;
}
