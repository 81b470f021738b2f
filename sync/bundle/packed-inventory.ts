import { promisify } from 'node:util';
import { brotliCompress, brotliDecompress, constants } from 'node:zlib';
import type { Digest } from '../../src/oci/digest.ts';
import { BundleError } from './bundle-error.ts';
import { compareImages, STORE_ID } from './bundle-manifest.ts';
import { decodeCbor, encodeCbor } from './cbor.ts';
import { packDigests, unpackDigests, type PackedDigests } from './digest-list.ts';
import type { Inventory, SiteImage } from './inventory.ts';
import { MemberMask } from './member-mask.ts';
import { packMasks, packPlaces, PLACE_BYTES, unpackMasks, unpackPlaces } from './packed-numbers.ts';
import { formatNames, parseNames } from './site-images.ts';
import { TEXTS } from './texts.ts';

/** Raised by every change that an older reader would misread. */
const FORMAT = 1;
/** Of manifests, of blobs and of images each. */
const MAX_COUNT = 1_000_000;
const MAX_SERIES = 1_000;
/** Of names with tags, and of masks, as they come out of their compression. */
const MAX_TEXT_BYTES = 64 * 2 ** 20;
const MAX_PLACES_BYTES = MAX_COUNT * PLACE_BYTES;

const compress = promisify(brotliCompress);
const expand = promisify(brotliDecompress);

/** What the payload is made of. */
interface Packed {
  readonly format: typeof FORMAT;
  readonly site: string;
  readonly applied: ReadonlyMap<string, number>;
  readonly manifests: PackedDigests;
  /** What is held of the members of each manifest. */
  readonly masks: Uint8Array;
  readonly blobs: PackedDigests;
  readonly names: Uint8Array;
  /** Of the manifest of each image among the manifests. */
  readonly places: Uint8Array;
}

/**
 * The payload of an inventory. Throws a `BundleError` for more than a million manifests, blobs or images,
 * and more than 1,000 series.
 */
export async function packInventory(inventory: Inventory): Promise<Buffer> {
  const { site, applied, complete, partial, blobs } = inventory;
  requireBounds(inventory);
  const manifests = [...complete, ...partial.keys()].toSorted();
  const places = new Map(manifests.map((digest, place) => [digest, place]));
  const images = inventory.images.toSorted(compareImages);
  const packed: Packed = {
    format: FORMAT,
    site,
    applied,
    manifests: packDigests(manifests),
    masks: await pack(
      packMasks(manifests.map((digest) => partial.get(digest) ?? MemberMask.whole)),
    ),
    blobs: packDigests([...blobs].toSorted()),
    names: await pack(Buffer.from(formatNames(images, manifests))),
    places: await pack(packPlaces(images.map(({ digest }) => places.get(digest)!))),
  };
  return encodeCbor(packed);
}

/** Throws a `BundleError` with code `inventory` for all that `packInventory` does not make. */
export async function unpackInventory(payload: Uint8Array): Promise<Inventory> {
  try {
    const packed = decodeCbor(payload) as ReadonlyMap<keyof Packed, unknown>;
    const format = packed.get('format');
    if (format !== FORMAT) {
      throw new BundleError('inventory', TEXTS.inventoryFormat({ format: String(format) }));
    }
    const inventory = await read(packed);
    requireBounds(inventory);
    return inventory;
  } catch (cause) {
    if (cause instanceof BundleError) throw cause;
    throw new BundleError('inventory', TEXTS.inventoryForm, { cause });
  }
}

async function read(packed: ReadonlyMap<keyof Packed, unknown>): Promise<Inventory> {
  requireForm(packed.size === 8, 'members');
  const manifests = unpackDigests(packed.get('manifests'));
  const masks = unpackMasks(await unpack(packed.get('masks'), MAX_TEXT_BYTES), manifests.length);
  const places = unpackPlaces(await unpack(packed.get('places'), MAX_PLACES_BYTES));
  const names = new TextDecoder('utf-8', { fatal: true }).decode(
    await unpack(packed.get('names'), MAX_TEXT_BYTES),
  );
  const inventory = {
    site: readId(packed.get('site')),
    applied: readApplied(packed.get('applied')),
    complete: new Set(manifests.filter((_, place) => masks[place]!.isWhole)),
    partial: new Map(
      manifests
        .map((digest, place) => [digest, masks[place]!] as const)
        .filter(([, mask]) => !mask.isWhole),
    ),
    blobs: new Set(unpackDigests(packed.get('blobs'))),
    images: readImages(names, manifests, places),
  };
  return inventory;
}

function readImages(
  names: string,
  manifests: readonly Digest[],
  places: readonly number[],
): SiteImage[] {
  const images: SiteImage[] = [];
  for (const name of parseNames(names, manifests, places.length)) {
    const digest = manifests[places[images.length] ?? manifests.length];
    requireForm(digest !== undefined, 'places');
    const image = { ...name, digest };
    const last = images.at(-1);
    const isSame = last?.tag !== undefined && last.name === name.name && last.tag === name.tag;
    requireForm(!last || (compareImages(last, image) < 0 && !isSame), 'order of images');
    images.push(image);
  }
  requireForm(images.length === places.length, 'places');
  requireForm(formatNames(images, manifests) === names, 'names');
  return images;
}

function readApplied(value: unknown): Map<string, number> {
  requireForm(value instanceof Map, 'applied');
  return new Map(
    [...value].map(([series, number]: [unknown, unknown]) => {
      requireForm(Number.isSafeInteger(number) && Number(number) > 0, 'number');
      return [readId(series), Number(number)];
    }),
  );
}

function readId(value: unknown): string {
  requireForm(typeof value === 'string' && STORE_ID.test(value), 'id');
  return value;
}

async function pack(bytes: Uint8Array): Promise<Buffer> {
  const { BROTLI_PARAM_LGWIN, BROTLI_PARAM_SIZE_HINT, BROTLI_MAX_WINDOW_BITS } = constants;
  const params = {
    [BROTLI_PARAM_LGWIN]: BROTLI_MAX_WINDOW_BITS,
    [BROTLI_PARAM_SIZE_HINT]: bytes.length,
  };
  return compress(bytes, { params });
}

async function unpack(bytes: unknown, maxOutputLength: number): Promise<Buffer> {
  requireForm(bytes instanceof Uint8Array, 'bytes');
  return expand(bytes, { maxOutputLength });
}

function requireBounds({ applied, complete, partial, blobs, images }: Inventory): void {
  const most = Math.max(complete.size + partial.size, blobs.size, images.length);
  if (most <= MAX_COUNT && applied.size <= MAX_SERIES) return;
  throw new BundleError('inventory', TEXTS.inventoryCount({ most: MAX_COUNT }));
}

function requireForm(isSound: boolean, what: string): asserts isSound {
  if (!isSound) throw new Error(`${what} of another form`);
}
