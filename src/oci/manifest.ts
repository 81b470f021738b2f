import { isStringMap, readDescriptor, type Descriptor } from './descriptor.ts';
import type { Digest } from './digest.ts';
import {
  essence,
  isIndexType,
  isManifestType,
  isSchema1Type,
  OCI_ARTIFACT,
  OCI_INDEX,
  OCI_MANIFEST,
} from './media-types.ts';
import { TEXTS } from './texts.ts';

/** The spec asks registries to accept 4 MiB; containerd accepts little more. */
export const MAX_MANIFEST_BYTES = 4 * 1024 * 1024;
/**
 * Config, layers and blobs that one manifest may list: sixteen times the layers that a runtime can
 * stack, and more than the files of any known artefact. Each is looked for when an image is completed
 * or evicted. What an index lists are manifests that nobody fetches unasked; its size bounds them.
 */
const MAX_BLOBS = 2_000;

/**
 * The fields of a manifest that refer to others. Manifests are served from their own bytes, never
 * from this.
 */
export interface Manifest {
  readonly mediaType: string;
  /** Everything the manifest needs: config, layers, blobs, child manifests. Without the subject. */
  readonly successors: readonly Descriptor[];
  readonly subject?: Digest;
  /** As a referrers list shows it: the artifact type, else the config's media type. */
  readonly artifactType?: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** The bytes are not a manifest that can be kept and served; the message says why. */
export class ManifestError extends Error {
  override readonly name = 'ManifestError';
}

/**
 * Reads a manifest of any type that a registry may hold, by what it says of itself, else by its
 * `Content-Type`, and by its fields where neither says anything (`text/plain`, none).
 * Unknown fields and unknown layer types are left alone. Throws {@link ManifestError}.
 * @see https://github.com/opencontainers/image-spec/blob/main/manifest.md
 */
export function parseManifest(bytes: Uint8Array, contentType?: string): Manifest {
  if (bytes.length > MAX_MANIFEST_BYTES) {
    throw new ManifestError(
      TEXTS.manifestTooLarge({ bytes: bytes.length, most: MAX_MANIFEST_BYTES }),
    );
  }
  const document = parseDocument(bytes);
  const mediaType = mediaTypeOf(document, essence(contentType));
  const blobs = ['config', 'layers', 'blobs'].flatMap((field) => descriptorsOf(document, field));
  if (blobs.length > MAX_BLOBS) {
    throw new ManifestError(TEXTS.tooManyBlobs({ blobs: blobs.length, most: MAX_BLOBS }));
  }
  const successors = [...descriptorsOf(document, 'manifests'), ...blobs];
  const subject = readDescriptor(document['subject'])?.digest;
  const artifactType = artifactTypeOf(document, mediaType);
  const { annotations } = document;
  return {
    mediaType,
    successors,
    ...(subject && { subject }),
    ...(artifactType && { artifactType }),
    ...(isStringMap(annotations) && { annotations }),
  };
}

function parseDocument(bytes: Uint8Array): Record<string, unknown> {
  let document: unknown;
  try {
    document = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new ManifestError(TEXTS.notJson, { cause });
  }
  if (typeof document !== 'object' || document === null || Array.isArray(document)) {
    throw new ManifestError(TEXTS.notObject);
  }
  return document as Record<string, unknown>;
}

function mediaTypeOf(document: Record<string, unknown>, header: string): string {
  const own = typeof document['mediaType'] === 'string' ? document['mediaType'] : '';
  const isSchema1 = isSchema1Type(isManifestType(own) ? own : header) || isSchema1Type(own);
  if (isSchema1 || document['schemaVersion'] === 1) throw new ManifestError(TEXTS.schema1);
  // The digest stands for the bytes; headers are what stores and proxies make of them.
  if (isManifestType(own)) return own;
  if (isManifestType(header)) return header;
  if (Array.isArray(document['manifests'])) return OCI_INDEX;
  if (typeof document['config'] === 'object' && Array.isArray(document['layers']))
    return OCI_MANIFEST;
  if (own === '' && Array.isArray(document['blobs'])) return OCI_ARTIFACT;
  throw new ManifestError(own === '' ? TEXTS.notManifest : TEXTS.unknownType({ type: own }));
}

function descriptorsOf(document: Record<string, unknown>, field: string): Descriptor[] {
  const value = document[field];
  if (value === undefined || value === null) return [];
  if (Array.isArray(value) === (field === 'config')) {
    throw new ManifestError(
      field === 'config' ? TEXTS.notDescriptor({ field }) : TEXTS.notList({ field }),
    );
  }
  return (Array.isArray(value) ? value : [value]).map((entry: unknown, position) => {
    const descriptor = readDescriptor(entry);
    if (!descriptor)
      throw new ManifestError(TEXTS.notDescriptor({ field: `${field}[${position}]` }));
    return descriptor;
  });
}

function artifactTypeOf(document: Record<string, unknown>, mediaType: string): string | undefined {
  const own = document['artifactType'];
  if (typeof own === 'string' && own !== '') return own;
  if (isIndexType(mediaType)) return undefined;
  return readDescriptor(document['config'])?.mediaType;
}
