import { digestOf, type Digest } from '../../src/oci/digest.ts';
import { BundleError } from './bundle-error.ts';
import { decodeCbor, encodeCbor } from './cbor.ts';
import type { Inventory } from './inventory.ts';
import { packInventory, unpackInventory } from './packed-inventory.ts';
import type { SigningKey } from './signing-key.ts';
import { TEXTS } from './texts.ts';
import { TrustedKey } from './trusted-key.ts';

/** One that was read from its file. */
export interface ReadInventory extends Inventory {
  /** Of the file. */
  readonly digest: Digest;
  /** Of the site, by its own word. */
  readonly key: TrustedKey;
}

export const MAX_INVENTORY_BYTES = 64 * 2 ** 20;
/** Stands before the payload when it is signed, so that the signature is good for nothing else. */
const SIGNED_AS = Buffer.from('application/vnd.entrepot.inventory.v1+cbor\n');

/**
 * The file of an inventory: payload, public key and signature in CBOR. The same holdings make the same
 * bytes, but for a signature with P-256. Throws a `BundleError` with code `inventory` for more than
 * 64 MiB, and for more than `packInventory` takes.
 */
export async function encodeInventory(inventory: Inventory, key: SigningKey): Promise<Buffer> {
  const payload = await packInventory(inventory);
  const signature = key.sign(Buffer.concat([SIGNED_AS, payload]));
  const bytes = encodeCbor([payload, key.public.der, signature]);
  requireSize(bytes);
  return bytes;
}

/**
 * Throws a `BundleError` with code `inventory` for all that `encodeInventory` does not make. That its key
 * is the site's, nothing says but the inventory itself.
 */
export async function decodeInventory(bytes: Uint8Array): Promise<ReadInventory> {
  requireSize(bytes);
  const { payload, key } = openSigned(bytes);
  return { ...(await unpackInventory(payload)), digest: digestOf(bytes), key };
}

function requireSize({ length }: Uint8Array): void {
  if (length <= MAX_INVENTORY_BYTES) return;
  throw new BundleError('inventory', TEXTS.inventorySize({ most: MAX_INVENTORY_BYTES }));
}

/** Nothing of the payload is looked at before its signature. */
function openSigned(bytes: Uint8Array): { payload: Uint8Array; key: TrustedKey } {
  const { payload, key, signature } = readParts(bytes);
  if (key.verify(Buffer.concat([SIGNED_AS, payload]), signature)) return { payload, key };
  throw new BundleError('inventory', TEXTS.inventorySignature);
}

function readParts(bytes: Uint8Array): {
  payload: Uint8Array;
  key: TrustedKey;
  signature: Uint8Array;
} {
  try {
    const parts = decodeCbor(bytes);
    const isForm = Array.isArray(parts) && parts.every((part) => part instanceof Uint8Array);
    const [payload, der, signature, ...rest] = isForm ? parts : [];
    if (!payload || !der || !signature || rest.length > 0) throw new Error('it has other parts');
    const key = TrustedKey.decode(der);
    if (!key.der.equals(der)) throw new Error('its key is in another form than its own');
    return { payload, key, signature };
  } catch (cause) {
    throw new BundleError('inventory', TEXTS.inventoryForm, { cause });
  }
}
