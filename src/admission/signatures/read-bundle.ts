import { bundleFromJSON, bundleToJSON, type Bundle } from '@sigstore/bundle';
import { refuse } from './refused.ts';
import { asObject, checkMarks, parseStrictObject } from './strict-json.ts';
import { TEXTS } from './texts.ts';

/** Exactly these: the library takes each version for the newest one. */
const MEDIA_TYPES = new Set([
  'application/vnd.dev.sigstore.bundle+json;version=0.1',
  'application/vnd.dev.sigstore.bundle+json;version=0.2',
  'application/vnd.dev.sigstore.bundle+json;version=0.3',
  'application/vnd.dev.sigstore.bundle.v0.3+json',
]);
type Json = Readonly<Record<string, unknown>>;
type Scalar = string | number | boolean;

/**
 * A Sigstore bundle of version 0.1 to 0.3, all of which was read as it is written: of what this program does
 * not know nothing is passed over. At most so many bytes. Throws `Refused`, and whatever the library throws.
 * @see https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_bundle.proto
 */
export function readBundle(bytes: Uint8Array, most: number): Bundle {
  checkMarks(bytes.subarray(0, most));
  const json = parseStrictObject(bytes, 'it', most);
  const type = String(json['mediaType']);
  if (!MEDIA_TYPES.has(type)) throw refuse('media-type', { type });
  checkSignatures(json);
  const bundle = bundleFromJSON(json);
  if (!isRead(json, bundleToJSON(bundle))) throw refuse('malformed', { why: TEXTS.notAsWritten });
  return bundle;
}

/** The library looks at the first one alone. */
function checkSignatures(json: Json): void {
  if (json['dsseEnvelope'] === undefined) return;
  const { signatures } = asObject(json['dsseEnvelope'], 'dsseEnvelope');
  const count = Array.isArray(signatures) ? signatures.length : 0;
  if (count !== 1) throw refuse('signatures', { count });
}

/** Whether everything that is written was read, and in the same spelling. */
function isRead(written: unknown, read: unknown): boolean {
  if (Array.isArray(written)) {
    const list = Array.isArray(read) ? (read as unknown[]) : [];
    return written.length === list.length && written.every((each, at) => isRead(each, list[at]));
  }
  if (typeof written === 'object' && written !== null) {
    const known = (typeof read === 'object' && read !== null ? read : {}) as Json;
    return Object.entries(written).every(([name, value]) => isRead(value, known[name]));
  }
  if (read === undefined) return isNothing(written);
  // A number may be written as a text.
  return `${written as Scalar}` === `${read as Scalar}`;
}

/** What may as well be left out. */
function isNothing(written: unknown): boolean {
  return (
    written === null || written === '' || written === 0 || written === '0' || written === false
  );
}
