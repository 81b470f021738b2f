/** What clients read of access control, and what the log says of issuers and certificates. */
export const TEXTS = {
  tooManyTokens: ({ most }: { most: number }) =>
    `there are ${most} tokens already: revoke those that nobody uses`,
  tooManyLogins: 'too many logins wait for their turn: try again',
  tooManyFailures: 'too many wrong passwords from this address: try again in a minute',
  keysFetched: 'the keys of an issuer are fetched',
  keysNotFetched: 'the keys of an issuer cannot be fetched: those of before count',
  keysTokenKept: 'the token for the keys of an issuer cannot be read: the one of before counts',
  keysTokenRenewed: 'the token for the keys of an issuer is read again',
  keysStatus: ({ host, status }: { host: string; status: number }) => `${host} answers ${status}`,
  keysTooLong: ({ host, most }: { host: string; most: number }) =>
    `the answer of ${host} is longer than ${most} bytes`,
  keyOfTwo: 'a key is of several clusters of one issuer: it counts for none of them',
  jwtRefused: 'a JWT is refused',
  jwtType: 'it is no token that says who somebody is, by its typ',
  jwtIssuer: 'no issuer of the configuration has its iss and kid',
  jwtFuture: 'it is from the future (iat)',
  jwtSubject: 'its claims name nobody that rules could',
  notVerified: ({ code }: { code: string }) =>
    `it is not verified by the authorities of access.certificates (${code})`,
  notOfClients: 'its extended key usage does not name clientAuth',
  nameless: 'it has neither a URI among its names nor a common name',
  nameUnusable:
    'its first URI, or its common name, has other characters than names may have, or there are several common names',
  certificateEnded: 'it, or one of its authorities, has ended',
  authorityGone: 'its authority is not among those of access.certificates any more',
} as const;
