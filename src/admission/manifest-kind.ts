import { readDescriptor, type Descriptor } from '../oci/descriptor.ts';
import type { Digest } from '../oci/digest.ts';
import { OCI_INDEX, OCI_MANIFEST } from '../oci/media-types.ts';

/**
 * What a manifest is to a gate. `evidence`: a signature, an attestation, or a list of what is attached to an
 * image; `artifact`: something else about an image, which no runtime can run; `image`: all the rest.
 */
export type ManifestKind =
  | { readonly is: 'evidence' }
  | { readonly is: 'artifact'; readonly subject: Digest }
  | { readonly is: 'image' };

export const SIMPLE_SIGNING = 'application/vnd.dev.cosign.simplesigning.v1+json';
const ENVELOPE = 'application/vnd.dsse.envelope.v1+json';
const BUNDLE = /^application\/vnd\.dev\.sigstore\.bundle(?:\.v0\.\d+)?\+json(?:;version=0\.\d+)?$/;
/** Configs and layers that some runtime takes. */
const RUNNABLE = /^application\/vnd\.(?:oci\.image\.(?:config|layer)|docker\.)/;
/**
 * Readers differ in what they make of other spellings of these: Go takes `Layers` for `layers`. A manifest
 * with any other field is an image.
 */
const FIELDS = new Set([
  'schemaVersion',
  'mediaType',
  'artifactType',
  'config',
  'layers',
  'manifests',
  'subject',
  'annotations',
]);
const PART_FIELDS = new Set(['mediaType', 'artifactType', 'digest', 'size', 'annotations', 'data']);
/** An attestation has as many at most, a signature far fewer. */
const MAX_EVIDENCE_BYTES = 2 ** 24;

export function isBundleType(mediaType: string | undefined): boolean {
  return mediaType !== undefined && BUNDLE.test(mediaType);
}

/**
 * Read from the form alone: what a manifest calls itself opens nothing to what could be run. Each layer of
 * evidence is evidence and has at most 16 MiB; each entry of a list names the type of an artifact and no
 * platform, and what it lists is judged by itself.
 */
export function kindOf(bytes: Uint8Array): ManifestKind {
  const document = parse(bytes);
  const type = document['mediaType'];
  if (!hasOnly(document, FIELDS)) return { is: 'image' };
  if (Array.isArray(document['manifests'])) {
    const isList = (type === undefined || type === OCI_INDEX) && isAttachmentList(document);
    return { is: isList ? 'evidence' : 'image' };
  }
  const isOther = type !== undefined && type !== OCI_MANIFEST;
  if (isOther || !Array.isArray(document['layers'])) return { is: 'image' };
  const layers = document['layers'].map(readPart);
  if (layers.length > 0 && layers.every(isEvidence)) return { is: 'evidence' };
  const subject = readDescriptor(document['subject'])?.digest;
  const parts = [readPart(document['config']), ...layers];
  const isInert = parts.every((part) => part && !RUNNABLE.test(part.mediaType));
  return subject && isInert ? { is: 'artifact', subject } : { is: 'image' };
}

function parse(bytes: Uint8Array): Readonly<Record<string, unknown>> {
  return JSON.parse(Buffer.from(bytes).toString()) as Readonly<Record<string, unknown>>;
}

function isEvidence(layer: Descriptor | undefined): boolean {
  if (!layer || layer.size > MAX_EVIDENCE_BYTES) return false;
  const { mediaType } = layer;
  return mediaType === SIMPLE_SIGNING || mediaType === ENVELOPE || isBundleType(mediaType);
}

function isAttachmentList({ manifests }: Readonly<Record<string, unknown>>): boolean {
  return (manifests as readonly unknown[]).every((entry) => {
    const type = readPart(entry)?.artifactType;
    return type !== undefined && type !== '';
  });
}

/** `undefined` where another reader might see something else in it. */
function readPart(value: unknown): Descriptor | undefined {
  const part = readDescriptor(value);
  return part && hasOnly(value as object, PART_FIELDS) ? part : undefined;
}

function hasOnly(value: object, fields: ReadonlySet<string>): boolean {
  return Object.keys(value).every((name) => fields.has(name));
}
