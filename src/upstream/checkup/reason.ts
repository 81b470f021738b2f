import { UpstreamError } from '../../oci/upstream-error.ts';

/**
 * Why something failed, without the upstream's name. Messages of libraries are not repeated: they
 * may carry what they were given.
 */
export function reasonOf(error: unknown, upstream: string): string {
  if (error instanceof UpstreamError) return error.message.replace(`${upstream}: `, '');
  if (!(error instanceof Error)) return 'unknown fault';
  const { code } = error as NodeJS.ErrnoException;
  return typeof code === 'string' ? code : error.name;
}
