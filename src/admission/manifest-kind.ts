import { readDescriptor, type Descriptor } from '../oci/descriptor.ts';
import type { Digest } from '../oci/digest.ts';
import { OCI_IMAGE_CONFIG, OCI_INDEX, OCI_MANIFEST } from '../oci/media-types.ts';

/**
 * What a manifest is to a gate. `evidence`: a signature, an attestation, or a list of what is attached to an
 * image; where `texts` are named it is so if each of them is JSON, and else an image. `artifact`: a document
 * about an image. `image`: all the rest.
 */
export type ManifestKind =
  | { readonly is: 'evidence'; readonly texts?: readonly Descriptor[] }
  | { readonly is: 'artifact'; readonly subject: Digest }
  | { readonly is: 'image' };

export const SIMPLE_SIGNING = 'application/vnd.dev.cosign.simplesigning.v1+json';
export const ENVELOPE = 'application/vnd.dsse.envelope.v1+json';
const BUNDLE = /^application\/vnd\.dev\.sigstore\.bundle(?:\.v0\.\d+)?\+json(?:;version=0\.\d+)?$/;
export const NOTATION = 'application/vnd.cncf.notary.signature';
const NOTATION_ENVELOPE = /^application\/(?:jose\+json|cose)$/;
/** Configs that no tool takes for something to run or to install. */
const INERT_CONFIGS = new Set(['application/vnd.oci.empty.v1+json', NOTATION]);
const DOCUMENT =
  /^(?:application\/(?:spdx\+json|vnd\.cyclonedx\+(?:json|xml)|vnd\.in-toto\+json|vnd\.syft\+json|openvex\+json|sarif\+json)|text\/spdx(?:\+(?:json|xml))?)$/;
/** More than an image has attestations under one tag. */
const MAX_LAYERS = 64;
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
/** Of configs and manifests: evidence has none of them. */
const IMAGE_FIELDS = ['rootfs', 'config', 'layers', 'manifests', 'fsLayers'];
/** A tag of CBOR, then a list of four. */
const COSE_SIGN1 = Buffer.from([0xd2, 0x84]);
/** An attestation has as many at most, a signature far fewer. */
export const MAX_EVIDENCE_BYTES = 2 ** 24;

export function isBundleType(mediaType: string | undefined): boolean {
  return mediaType !== undefined && BUNDLE.test(mediaType);
}

export function isNotationEnvelope(mediaType: string): boolean {
  return NOTATION_ENVELOPE.test(mediaType);
}

/**
 * Read from the form alone: what a manifest calls itself opens nothing to what could be run. Each layer of
 * evidence is evidence and has at most 16 MiB, 64 of them; earlier versions of cosign give it the config of an
 * image, and some runtimes look at nothing else. Each entry of a list names the type of an artifact and no
 * platform, and what it lists is judged by itself.
 */
export function kindOf(bytes: Uint8Array): ManifestKind {
  const document = parse(bytes);
  const type = document['mediaType'];
  if (!hasOnly(document, FIELDS)) return { is: 'image' };
  if (Array.isArray(document['manifests'])) {
    const isIndex = type === undefined || type === OCI_INDEX;
    const isOnlyIndex = isIndex && !('config' in document) && !('layers' in document);
    const isList = isOnlyIndex && isAttachmentList(document);
    return { is: isList ? 'evidence' : 'image' };
  }
  const isOther = type !== undefined && type !== OCI_MANIFEST;
  if (isOther || !Array.isArray(document['layers'])) return { is: 'image' };
  const layers = document['layers'].map(readPart);
  const config = readPart(document['config'])?.mediaType ?? '';
  const isInert = INERT_CONFIGS.has(config);
  if (layers.length > 0 && layers.length <= MAX_LAYERS && layers.every(isEvidence)) {
    if (isInert) return { is: 'evidence' };
    return config === OCI_IMAGE_CONFIG ? { is: 'evidence', texts: layers } : { is: 'image' };
  }
  const subject = readDescriptor(document['subject'])?.digest;
  const isDocument = isInert && layers.every((layer) => layer && DOCUMENT.test(layer.mediaType));
  return subject && isDocument ? { is: 'artifact', subject } : { is: 'image' };
}

/** What is JSON, or an envelope in COSE, is nothing that a runtime could unpack; parts of an image are none all the same. */
export function isEvidenceText(bytes: Buffer): boolean {
  if (bytes.indexOf(COSE_SIGN1) === 0) return true;
  try {
    const document = parse(bytes);
    return typeof document === 'object' && !IMAGE_FIELDS.some((name) => name in document);
  } catch {
    return false;
  }
}

function parse(bytes: Uint8Array): Readonly<Record<string, unknown>> {
  return JSON.parse(Buffer.from(bytes).toString()) as Readonly<Record<string, unknown>>;
}

function isEvidence(layer: Descriptor | undefined): layer is Descriptor {
  if (!layer || layer.size > MAX_EVIDENCE_BYTES) return false;
  const { mediaType } = layer;
  if (mediaType === SIMPLE_SIGNING || mediaType === ENVELOPE) return true;
  return isBundleType(mediaType) || isNotationEnvelope(mediaType);
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
