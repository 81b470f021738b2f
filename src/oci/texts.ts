/** What clients and operators read of errors by their code, and of digests, names and manifests. */
export const TEXTS = {
  BLOB_UNKNOWN: 'blob unknown to registry',
  DENIED: 'requested access to the resource is denied',
  DIGEST_INVALID: 'provided digest is not a supported digest',
  MANIFEST_UNKNOWN: 'manifest unknown to registry',
  NAME_INVALID: 'invalid repository name',
  NAME_UNKNOWN: 'repository name not known to registry',
  PAGINATION_NUMBER_INVALID: 'invalid number of results requested',
  RANGE_INVALID: 'requested range is outside the content',
  TAG_INVALID: 'invalid tag',
  TOOMANYREQUESTS: 'too many requests',
  UNAUTHORIZED: 'authentication required',
  UNAVAILABLE: 'upstream registry unavailable',
  UNKNOWN: 'internal error',
  UNSUPPORTED: 'the operation is unsupported',
  because: ({ detail, message }: { detail: string; message: string }) => `${detail}: ${message}`,
  quoted: ({ text }: { text: string }) => JSON.stringify(text),
  tooLong: ({ most }: { most: number }) => `longer than ${most} characters`,
  algorithm: ({ algorithm }: { algorithm: string }) =>
    `unsupported algorithm "${algorithm}": use sha256 or sha512`,
  digest: ({ text, algorithm, digits }: { text: string; algorithm: string; digits: number }) =>
    `"${text}" is not ${algorithm} with ${digits} lower-case hex digits`,
  mismatch: ({ digest, expected, actual }: Record<'digest' | 'expected' | 'actual', string>) =>
    `${digest}: expected ${expected}, got ${actual}`,
  damaged: ({ message }: { message: string }) => `damaged content from upstream: ${message}`,
  ofUpstream: ({ upstream, reason }: { upstream: string; reason: string }) =>
    `${upstream}: ${reason}`,
  tooManyBlobs: ({ blobs, most }: { blobs: number; most: number }) =>
    `it lists ${blobs} blobs, more than the ${most} that are kept of one manifest`,
  manifestTooLarge: ({ bytes, most }: { bytes: number; most: number }) =>
    `manifest of ${bytes} bytes is larger than ${most}`,
  noPath: 'the request target is not a path',
  noHost: 'a request without Host',
  severalHosts: 'a request with more than one Host',
  badHost: 'a Host that is no host',
  notJson: 'not a JSON document',
  notObject: 'not a JSON object',
  schema1:
    'a schema 1 manifest, which container clients no longer accept: push the image again with a current client',
  notManifest: 'not an image manifest or index',
  unknownType: ({ type }: { type: string }) => `unknown type ${type}`,
  notDescriptor: ({ field }: { field: string }) => `${field} is not a descriptor`,
  notList: ({ field }: { field: string }) => `${field} is not a list`,
} as const;
