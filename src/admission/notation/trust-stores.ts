import { findStores, readStores, type StoreType } from '../../config/notation-stores.ts';
import { Certificate } from './certificate.ts';
import { TEXTS } from './texts.ts';

/** Whom Notation signatures are traced back to, by the type of the store: those of all named stores. */
export type TrustStores = Readonly<Record<StoreType, readonly Certificate[]>>;

/**
 * The folder of trust stores as it is now. Throws an error with the path: for what is no certificate, for one that
 * is neither of an authority nor signed by itself, and in a store of clocks for one that is no root.
 */
export function readTrustStores(folder: string): TrustStores {
  const stores: Record<StoreType, Certificate[]> = { ca: [], signingAuthority: [], tsa: [] };
  for (const { type, path, certificate: found } of readStores(folder, findStores(folder).files)) {
    const certificate = new Certificate(Buffer.from(found.raw));
    const isRoot = certificate.isIssuedBy(certificate);
    const isAuthority = certificate.authority !== undefined;
    const isFit = type === 'tsa' ? isRoot && isAuthority : isRoot || isAuthority;
    if (!isFit) throw new TypeError(TEXTS.unfit({ path, type }));
    stores[type].push(certificate);
  }
  return stores;
}
