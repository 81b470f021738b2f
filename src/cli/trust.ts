import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Source } from '../admission/signatures/trust-refresh.ts';
import type { TrustRoot } from '../admission/signatures/trust-root.ts';
import { readAuthorities, type PemFile } from '../config/pem.ts';
import { ConfigError } from '../config/problems.ts';
import { proxyVariables } from '../config/proxy.ts';
import {
  AdminError,
  EXIT_CODE,
  print,
  UsageError,
  type CommandContext,
  type CommandOptions,
} from './command-context.ts';
import { formatLabelled } from './format.ts';
import { TEXTS } from './texts.ts';
import { replaceFile, touchFile } from './touch-file.ts';

interface TrustOptions extends CommandOptions {
  readonly out: string;
  readonly mirror: string;
  readonly root?: string;
  readonly ca?: string;
}

/**
 * Fetches the trust root into a file, which is the old one until all of the new one is on the disk. It is
 * written where nothing changed too: its time is that of the last refresh.
 */
export async function refreshTrust(
  { out, mirror, root, ca, ...options }: TrustOptions,
  context: CommandContext,
): Promise<number> {
  const path = resolve(context.cwd, out);
  const before = await readOld(path);
  const rootPath = root === undefined ? undefined : resolve(context.cwd, root);
  if (rootPath !== undefined) {
    touchFile(() => readFileSync(rootPath), rootPath, TEXTS.trustUnreadable);
  }
  const folder = `${path}.tuf`;
  if (!existsSync(folder)) touchFile(() => mkdirSync(folder), path, TEXTS.trustUnwritable);
  const authorities = ca === undefined ? undefined : readOption(ca, context.cwd);
  const environment = proxyVariables(context.env);
  const fresh = await fetchRoot({ mirror, folder, rootPath, ca: authorities, environment });
  replaceFile(path, fresh.bytes, TEXTS.trustUnwritable);
  const { digest } = fresh.root;
  const added = missingIn(before, fresh.root);
  const removed = before ? missingIn(fresh.root, before) : [];
  const isChanged = digest !== before?.digest;
  print(options, context, { path, digest, isChanged, added, removed }, (columns) =>
    [
      formatLabelled('trust root ', path, columns),
      formatLabelled('digest     ', digest, columns),
      ...(isChanged ? [] : [formatLabelled('changed    ', TEXTS.trustUnchanged, columns)]),
      ...added.map((each) => formatLabelled('new        ', each, columns)),
      ...removed.map((each) => formatLabelled('gone       ', each, columns)),
    ].join(''),
  );
  return EXIT_CODE.ok;
}

/** Whatever else is there is not written over. */
async function readOld(path: string): Promise<TrustRoot | undefined> {
  if (!existsSync(path)) return undefined;
  const bytes = touchFile(() => readFileSync(path), path, TEXTS.trustUnreadable);
  const { TrustRoot } = await import('../admission/signatures/trust-root.ts');
  try {
    return TrustRoot.parse(bytes);
  } catch (cause) {
    const { message: reason } = cause as Error;
    throw new UsageError(TEXTS.trustOther({ path, reason }), { cause });
  }
}

async function fetchRoot(source: Source): Promise<{ bytes: Buffer; root: TrustRoot }> {
  const { fetchTrustRoot } = await import('../admission/signatures/trust-refresh.ts');
  try {
    return await fetchTrustRoot(source);
  } catch (cause) {
    const { mirror } = source;
    const { message: reason } = cause as Error;
    throw new AdminError(TEXTS.trustNotFetched({ mirror, reason }), { cause });
  }
}

function readOption(path: string, cwd: string): PemFile {
  try {
    return readAuthorities(path, cwd);
  } catch (cause) {
    if (!(cause instanceof ConfigError)) throw cause;
    throw new UsageError(cause.problems.join('; '), { cause });
  }
}

/** What one trust root has and the other one has not. */
function missingIn(one: TrustRoot | undefined, other: TrustRoot): string[] {
  const known = new Set(one?.authorities);
  return other.authorities.filter((each) => !known.has(each));
}
