import type { Config } from '../config/config.ts';
import { formatListenAddress } from '../config/listen.ts';
import { AdminError } from './command-context.ts';
import { TEXTS } from './texts.ts';

/** What was to be opened, and by whom. */
export interface StartAttempt extends Pick<Config, 'listen' | 'admin'> {
  readonly store: Pick<Config['store'], 'path'>;
  readonly uid: number | undefined;
}

const LISTEN_FAULTS: Readonly<Record<string, readonly [what: string, remedy: string]>> = {
  EADDRINUSE: [TEXTS.addressInUse, TEXTS.addressInUseRemedy],
  EADDRNOTAVAIL: [TEXTS.addressElsewhere, TEXTS.addressElsewhereRemedy],
  EACCES: [TEXTS.addressDenied, TEXTS.addressDeniedRemedy],
};

const STORE_FAULTS: Readonly<Record<string, string>> = {
  ENOTDIR: TEXTS.fileInTheWay,
  EEXIST: TEXTS.fileInTheWay,
  EROFS: TEXTS.readOnlyDisk,
  ENOSPC: TEXTS.fullDisk,
  EDQUOT: TEXTS.quotaUsedUp,
};

const DENIED: ReadonlySet<string> = new Set(['EACCES', 'EPERM']);

/** Errors of the store that say all: who has it, that there is none, or that another version wrote it. */
const TOLD: ReadonlySet<unknown> = new Set(['STORE_IN_USE', 'STORE_ABSENT', 'STORE_FORMAT']);

/** What Node adds to an error of `listen`. */
interface ListenError extends NodeJS.ErrnoException {
  readonly address?: string;
  readonly port?: number;
}

/** What could not be opened is an `AdminError` with one line on why, when that is known. */
export async function tellingWhy<T>(open: () => Promise<T>, attempt: StartAttempt): Promise<T> {
  try {
    return await open();
  } catch (error) {
    const reason = explainStartFailure(error, attempt);
    throw reason === undefined ? error : new AdminError(reason, { cause: error });
  }
}

/**
 * One line on why the server did not start, when that lies outside the program; `undefined` for a
 * fault of the program itself.
 */
export function explainStartFailure(error: unknown, attempt: StartAttempt): string | undefined {
  const { path } = attempt.store;
  for (let fault = error; fault instanceof Error; fault = fault.cause) {
    const { code, syscall } = fault as NodeJS.ErrnoException;
    if (TOLD.has(code)) return fault.message;
    if (code === 'LEVEL_LOCKED') return TEXTS.storeInUse({ path });
    const reason = explainListen(fault, attempt) ?? explainStore(fault, attempt);
    if (reason !== undefined) return reason;
    if (syscall !== undefined) return fault.message;
  }
  return undefined;
}

function explainListen(fault: ListenError, attempt: StartAttempt): string | undefined {
  const { code = '', syscall, address = '', port = 0 } = fault;
  const known = syscall === 'listen' ? LISTEN_FAULTS[code] : undefined;
  if (!known) return undefined;
  const [what, remedy] = known;
  // A socket in a folder has no port, and no key.
  const key = port > 0 ? keyOf({ address, port }, attempt) : undefined;
  const place = port > 0 ? formatListenAddress({ host: address, port }) : address;
  return key === undefined ? `${place} ${what}` : `${key}: ${place} ${what}; ${remedy}`;
}

/** The configured host may be a name that was resolved to this address; the port is the same. */
function keyOf(
  { address, port }: { address: string; port: number },
  attempt: StartAttempt,
): 'listen' | 'admin' | undefined {
  const keys = (['listen', 'admin'] as const).filter((key) => attempt[key].port === port);
  return keys.find((key) => attempt[key].host === address) ?? keys[0];
}

function explainStore(
  fault: NodeJS.ErrnoException,
  { store, uid }: StartAttempt,
): string | undefined {
  const { code = '', message, path = '' } = fault;
  const isDenied = DENIED.has(code) || (code === 'LEVEL_IO_ERROR' && /denied/i.test(message));
  const isOfStore = code === 'LEVEL_IO_ERROR' || isWithin(path, store.path);
  if (!isOfStore && !(fault.syscall === 'mkdir' && isWithin(store.path, path))) return undefined;
  if (isDenied) {
    const user = uid === undefined ? TEXTS.thisUser : TEXTS.userNumber({ uid });
    return TEXTS.storeDenied({ path: store.path, user, reason: message });
  }
  const cause = STORE_FAULTS[code];
  const reason = cause === undefined ? message : `${cause} (${message})`;
  return TEXTS.storeUnusable({ path: store.path, reason });
}

function isWithin(path: string, folder: string): boolean {
  return path !== '' && (path === folder || path.startsWith(`${folder.replace(/\/$/, '')}/`));
}
