import { hash } from 'node:crypto';
import { parseManifest } from '../../oci/manifest.ts';
import type { SignedImage } from '../signatures/signed-image.ts';
import { asObject, asText, parseStrictObject } from '../signatures/strict-json.ts';
import { refuse } from './refuse.ts';

const PAYLOAD_TYPE = 'application/vnd.cncf.notary.payload.v1+json';
const DIGEST = /^(sha256|sha384|sha512):([0-9a-f]+)$/;

/**
 * Throws `Refused` unless what was signed describes the manifest of the image by its digest, size and type.
 * @see https://github.com/notaryproject/specifications/blob/main/specs/signature-specification.md#payload
 */
export function checkTarget(payload: Uint8Array, type: unknown, { manifest }: SignedImage): void {
  if (type !== PAYLOAD_TYPE) throw refuse('payload-type', { type: String(type) });
  const document = parseStrictObject(payload, 'the payload', payload.length);
  const { mediaType, digest, size } = asObject(document['targetArtifact'], 'targetArtifact');
  const [, algorithm, encoded] = DIGEST.exec(asText(digest, 'digest')) ?? [];
  if (algorithm === undefined || hash(algorithm, manifest, 'hex') !== encoded) {
    throw refuse('subject', { what: 'digest' });
  }
  if (size !== manifest.length) throw refuse('subject', { what: 'size' });
  if (mediaType !== parseManifest(manifest, '').mediaType)
    throw refuse('subject', { what: 'type' });
}
