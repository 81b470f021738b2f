import { digestOf, type Digest } from '../../src/oci/digest.ts';
import { BundleError } from './bundle-error.ts';
import type { BundleManifest } from './bundle-manifest.ts';
import type { ByteSource } from './byte-source.ts';
import { countParts, PARITY_PART } from './content.ts';
import { envelopeSize, openEnvelope, PAYLOAD_TYPE, readEnvelope } from './envelope.ts';
import { MANIFEST_LIMITS, parseManifest } from './parse-manifest.ts';
import { formatParity, formatPart, PART_PATH, partSizes } from './part-layout.ts';
import { BLOCK, paddingOf, statedSize, tarHeader } from './tar-entry.ts';
import { TEXTS } from './texts.ts';
import type { TrustedKey } from './trusted-key.ts';

/** What stands at the head of a part. */
export interface PartHead {
  /** The digest of the signed manifest. */
  readonly id: Digest;
  readonly manifest: BundleManifest;
  /** From 1 on; `PARITY_PART` for the parity part. */
  readonly part: number;
  /** Of the key that signed it; where `keys` is `any`, as it says, and nobody has verified it. */
  readonly keyId: string;
  /** That key; absent where `keys` is `any`. */
  readonly key?: TrustedKey;
}

/** Whose signatures are believed; `any` reads those of everybody, and believes nothing. */
export type Keyring = readonly TrustedKey[] | 'any';

const MOST_ENVELOPE_BYTES = envelopeSize(MANIFEST_LIMITS.bytes, PAYLOAD_TYPE.manifest);
/** What says which part it is; the parity part has the size of each part there. */
const MOST_PART_BYTES = 256 * 1024;

/**
 * Reads the head of a part: what a signature proves of it is proven then, which of the parts it is the
 * trailer proves. It holds an envelope of 64 MiB of manifest at most, and refuses a larger one before it is read.
 */
export async function readHead(source: ByteSource, keys: Keyring): Promise<PartHead> {
  const envelope = await readManifestFile(source);
  const { payload, ...signer } = openSigned(envelope, keys);
  const manifest = parseManifest(payload);
  return { id: digestOf(payload), manifest, ...signer, part: await readPartFile(source, manifest) };
}

async function readManifestFile(source: ByteSource): Promise<Buffer> {
  const header = await source.exactly(BLOCK);
  const size = statedSize(header) ?? 0;
  if (!header.equals(tarHeader(PART_PATH.manifest, size))) throw refuseForeign(header);
  if (size > MOST_ENVELOPE_BYTES) {
    throw new BundleError('format', TEXTS.headTooLarge({ path: PART_PATH.manifest }));
  }
  return readPadded(source, size);
}

function openSigned(
  envelope: Buffer,
  keys: Keyring,
): { payload: Buffer } & Pick<PartHead, 'key' | 'keyId'> {
  const type = PAYLOAD_TYPE.manifest;
  if (keys === 'any') {
    const { payload, keyId } = readEnvelope(envelope, type);
    return { payload, keyId };
  }
  const { payload, key } = openEnvelope(envelope, { type, keys });
  return { payload, key, keyId: key.id };
}

async function readPartFile(source: ByteSource, manifest: BundleManifest): Promise<number> {
  const header = await source.exactly(BLOCK);
  const size = statedSize(header) ?? 0;
  const isParity = header.equals(tarHeader(PART_PATH.parity, size));
  const isPart = header.equals(tarHeader(PART_PATH.part, size));
  if ((!isParity && !isPart) || size > MOST_PART_BYTES) {
    throw new BundleError('format', TEXTS.entry({ path: PART_PATH.part }));
  }
  const bytes = await readPadded(source, size);
  if (isParity) {
    if (manifest.hasParity && bytes.equals(formatParity(partSizes(manifest)))) return PARITY_PART;
    throw new BundleError('format', TEXTS.entry({ path: PART_PATH.parity }));
  }
  const count = countParts(manifest);
  const part = Number(/\d+/.exec(bytes.toString('latin1', 0, 32)));
  if (part >= 1 && part <= count && bytes.equals(formatPart(part, count))) return part;
  throw new BundleError('format', TEXTS.entry({ path: PART_PATH.part }));
}

/** A small file, and the zeros behind it. */
export async function readPadded(source: ByteSource, size: number): Promise<Buffer> {
  const bytes = await source.exactly(size);
  await readZeros(source, paddingOf(size));
  return bytes;
}

/** Throws a `BundleError` for anything but so many zeros. */
export async function readZeros(source: ByteSource, size: number): Promise<void> {
  const bytes = await source.exactly(size);
  if (bytes.some((byte) => byte !== 0)) throw new BundleError('format', TEXTS.padding);
}

/** Says what the first block of something else is likely to be. */
function refuseForeign(header: Buffer): BundleError {
  const isPacked = ['1f8b', '28b52ffd', 'fd377a58', '425a68', '504b0304'].some((magic) =>
    header.toString('hex', 0, 6).startsWith(magic),
  );
  return new BundleError('format', isPacked ? TEXTS.packed : TEXTS.noBundle);
}
