import { parseDigest } from '../../src/oci/digest.ts';
import { digestOf, randomBytes } from '../helpers/image.ts';

/** What `sparse-writer.ts` writes; no byte of it is zero, as all of a hole are. */
const bytes = Buffer.from(randomBytes('sparse', 1_000_000).map((byte) => byte || 1));

export const SPARSE = { bytes, digest: parseDigest(digestOf(bytes)) };
