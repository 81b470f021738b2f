/** What people read of connections to other machines. */
export const TEXTS = {
  noAnswer: ({ host, ms }: { host: string; ms: number }) =>
    `no answer from ${host} within ${ms} ms`,
  noEnd: ({ host, ms }: { host: string; ms: number }) =>
    `no whole answer from ${host} within ${ms} ms`,
  noByte: ({ host, ms }: { host: string; ms: number }) => `no byte from ${host} for ${ms} ms`,
  noConnection: ({ host, code }: { host: string; code: string }) =>
    `no connection to ${host} (${code})`,
} as const;
