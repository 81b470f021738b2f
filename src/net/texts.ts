/** What people read of connections to other machines. */
export const TEXTS = {
  noAnswer: ({ host, ms }: { host: string; ms: number }) =>
    `no answer from ${host} within ${ms} ms`,
  noEnd: ({ host, ms }: { host: string; ms: number }) =>
    `no whole answer from ${host} within ${ms} ms`,
  closing: 'the mirror is closing',
  noByte: ({ host, ms }: { host: string; ms: number }) => `no byte from ${host} for ${ms} ms`,
  noConnection: ({ host, code }: { host: string; code: string }) =>
    `no connection to ${host} (${code})`,
  unknownAuthority: ({ host, code, key }: { host: string; code: string; key: string }) =>
    `the certificate of ${host} is of an authority that is not trusted (${code}); set ${key} to the PEM file of that authority`,
  unknownAuthorityOfOther: ({ host, code, key }: { host: string; code: string; key: string }) =>
    `the certificate of ${host} is of an authority that is not trusted (${code}); add that authority to the store of the system, or list the host in ${key}.storage or ${key}.realms and set ${key}.tls.ca`,
  cutCertificates: ({ path }: { path: string }) => `${path} ends within a certificate`,
  noCertificates: ({ path }: { path: string }) => `no certificate is in ${path}`,
  // Where an upstream leads and nobody follows.
  aRedirect: 'a redirect',
  aRealm: 'a token realm',
  toItself: ({ what, host }: { what: string; host: string }) =>
    `${what} to ${host}, which is this mirror itself`,
  toInside: ({ what, host, key }: { what: string; host: string; key: string }) =>
    `${what} to the internal address ${host}; if that is meant, list it in ${key}`,
  resolvedInside: (to: { what: string; host: string; address: string; key: string }) =>
    `${to.what} to ${to.host}, which is the internal address ${to.address}; if that is meant, list it in ${to.key}`,
} as const;
