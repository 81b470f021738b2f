/** No descriptor or memory left for a socket (socket(2), connect(2)). */
const SHORTAGES: ReadonlySet<string> = new Set(['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM']);

/**
 * Whether a connection failed for want of something on this machine, which says nothing about who
 * was called. Of several addresses of a host each one must have failed so. No free port and no
 * address of IPv6 are the same code to Linux (EADDRNOTAVAIL), which therefore is none of these.
 */
export function isOwnShortage(error: unknown): boolean {
  if (error instanceof AggregateError) {
    return error.errors.length > 0 && error.errors.every(isOwnShortage);
  }
  return SHORTAGES.has((error as NodeJS.ErrnoException | undefined)?.code ?? '');
}
