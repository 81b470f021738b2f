import { formatListenAddress } from '../config/listen-address.ts';

const EXPLANATIONS: Readonly<Record<string, string>> = {
  EADDRINUSE: 'is in use by another process',
  EADDRNOTAVAIL: 'is not an address of this machine',
  EACCES: 'may not be opened by this user',
};

/** The store's own error, which knows who has it. */
const STORE_IN_USE = 'STORE_IN_USE';

/** What Node adds to an error of `listen`. */
interface ListenError extends NodeJS.ErrnoException {
  readonly address?: string;
  readonly port?: number;
}

/**
 * One line on why the server did not start, when that lies outside the program; `undefined` for a
 * fault of the program itself.
 */
export function explainStartFailure(error: unknown, storePath: string): string | undefined {
  for (let fault = error; fault instanceof Error; fault = fault.cause) {
    const { code = '', syscall, address = '', port = 0 } = fault as ListenError;
    if (code === STORE_IN_USE) return fault.message;
    if (code === 'LEVEL_LOCKED') {
      return `the store ${storePath} is in use by another process; stop it, or set another store.path`;
    }
    const explanation = syscall === 'listen' ? EXPLANATIONS[code] : undefined;
    // A socket in a folder has no port.
    const place = port > 0 ? formatListenAddress({ host: address, port }) : address;
    if (explanation) return `${place} ${explanation}`;
    if (syscall !== undefined) return fault.message;
  }
  return undefined;
}
