/** What clients read: messages of errors, and the warning of an answer that may be outdated. */
export const TEXTS = {
  noEndpoint: 'no such endpoint',
  badRequest: 'bad request',
  noPlace: 'this mirror has as many answers under way as it may',
  headersTooLarge: 'headers too large',
  viaTooLong: ({ most }: { most: number }) => `a Via header of more than ${most} characters`,
  loop: 'this request came through this mirror before: two mirrors have each other as upstream',
  readOnly: 'this is a read-only mirror: push to the registry itself',
  badEncoding: 'invalid percent-encoding',
  noRepository: ({ upstream, repository }: { upstream: string; repository: string }) =>
    `${upstream} has no repository ${repository}`,
  noManifest: (manifest: { upstream: string; repository: string; reference: string }) =>
    `${manifest.upstream} has no manifest ${manifest.reference} in ${manifest.repository}`,
  hadNone: (manifest: {
    upstream: string;
    repository: string;
    reference: string;
    reason: string;
  }) =>
    `${manifest.upstream} had no manifest ${manifest.reference} in ${manifest.repository} when it was last asked; ${manifest.reason}`,
  impossibleTag: (manifest: { upstream: string; repository: string; reference: string }) =>
    `${manifest.upstream} has no manifest "${manifest.reference}" in ${manifest.repository}: no tag can be so`,
  notAcceptable: ({ image, mediaType }: { image: string; mediaType: string }) =>
    `${image} has a ${mediaType}, which the Accept header does not take`,
  noBlob: ({ image, digest }: { image: string; digest: string }) =>
    `${image} has no blob ${digest}`,
  tooManyRanges: ({ most }: { most: number }) => `more than ${most} ranges in one request`,
  ownCopy: ({ reason }: { reason: string }) => `served from the mirror's copy: ${reason}`,
  notConfirmed: 'not confirmed',
  logIn: 'log in to this mirror, with a user or a token that may pull this',
  otherThanScanned:
    'this pass of a scanner is for the manifest of one image, its config and its layers, by digest',
  wrongLogin: 'this user and password, or token, are not known here',
  tooManyScopes: ({ most }: { most: number }) => `more than ${most} scopes in one request`,
  tokenForm:
    'send a form (application/x-www-form-urlencoded) of at most 64 KiB, with its Content-Length',
  tokenGrant:
    'grant_type must be password, refresh_token or urn:ietf:params:oauth:grant-type:jwt-bearer',
  wrongAssertion: 'this JWT is of no issuer that is known here, has ended, or does not count here',
  noBytesWithin: ({ ms }: { ms: number }) => `no bytes for the rest of an answer within ${ms} ms`,
} as const;
