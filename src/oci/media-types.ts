export const OCI_INDEX = 'application/vnd.oci.image.index.v1+json';
export const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
export const OCI_ARTIFACT = 'application/vnd.oci.artifact.manifest.v1+json';
export const OCI_IMAGE_CONFIG = 'application/vnd.oci.image.config.v1+json';
export const DOCKER_LIST = 'application/vnd.docker.distribution.manifest.list.v2+json';
export const DOCKER_MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json';
export const DOCKER_SCHEMA1 = 'application/vnd.docker.distribution.manifest.v1+json';
export const DOCKER_SCHEMA1_SIGNED = 'application/vnd.docker.distribution.manifest.v1+prettyjws';

/**
 * The `Accept` of every manifest request. A registry may convert or refuse a type that is missing
 * here, and a tag's digest would then depend on the request.
 */
export const MANIFEST_ACCEPT = [
  OCI_INDEX,
  DOCKER_LIST,
  OCI_MANIFEST,
  DOCKER_MANIFEST,
  OCI_ARTIFACT,
  DOCKER_SCHEMA1_SIGNED,
  DOCKER_SCHEMA1,
  '*/*;q=0.1',
].join(', ');

const MANIFEST_TYPES: ReadonlySet<string> = new Set([
  OCI_INDEX,
  DOCKER_LIST,
  OCI_MANIFEST,
  DOCKER_MANIFEST,
  OCI_ARTIFACT,
]);

export function isManifestType(mediaType: string): boolean {
  return MANIFEST_TYPES.has(mediaType);
}

/** Foreign layers, which registries do not serve: clients fetch them from the owner's URL. */
export function isForeignType(mediaType: string): boolean {
  return /\bforeign\b|\bnondistributable\b/.test(mediaType);
}

export function isIndexType(mediaType: string): boolean {
  return mediaType === OCI_INDEX || mediaType === DOCKER_LIST;
}

export function isSchema1Type(mediaType: string): boolean {
  return mediaType === DOCKER_SCHEMA1 || mediaType === DOCKER_SCHEMA1_SIGNED;
}

/** A header's media type in lower case without its parameters; empty when there is none. */
export function essence(contentType: string | undefined): string {
  return (contentType ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? '';
}

/**
 * Whether a client that sent these `Accept` values takes the type. No `Accept` takes all. Ranges
 * and `q=0` count; the order of preference does not, since a reference has one representation.
 * @see https://www.rfc-editor.org/rfc/rfc9110#section-12.5.1
 */
export function isAcceptable(mediaType: string, accept: string | undefined): boolean {
  if (accept === undefined || accept.trim() === '') return true;
  const ranges = ['*/*', `${mediaType.slice(0, mediaType.indexOf('/'))}/*`, mediaType];
  let best = -1;
  let accepted = false;
  for (const part of accept.toLowerCase().split(',')) {
    const end = part.indexOf(';');
    const range = end === -1 ? part : part.slice(0, end);
    const specificity = ranges.indexOf(range.trim());
    if (specificity <= best) continue;
    best = specificity;
    accepted = end === -1 || !/;\s*q=0(?:\.0*)?\s*(?:;|$)/.test(part);
  }
  return accepted;
}
