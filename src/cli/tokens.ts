import { open, rm } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { ApiToken, NewApiToken } from '../api/access-api.ts';
import { askOnce } from './admin-client.ts';
import {
  AdminError,
  EXIT_CODE,
  UsageError,
  print,
  type CommandOptions,
  type StoreContext,
} from './command-context.ts';
import { formatAge, formatTable } from './format.ts';
import { TEXTS } from './texts.ts';

interface CreateOptions extends CommandOptions {
  readonly owner?: string;
  readonly expires?: string;
  readonly role?: string;
  readonly jsonKey?: string;
}

const PATH = '/api/v1/tokens';
const ID = /^[a-z0-9]{12}$/;

/** Makes a token, whose secret is told here and never again. */
export async function createToken(
  name: string,
  options: CreateOptions,
  context: StoreContext,
): Promise<number> {
  const { owner, expires, role, jsonKey } = options;
  const body = {
    name,
    ...(owner !== undefined && { owner }),
    ...(expires !== undefined && { expires }),
    ...(role !== undefined && { role }),
  };
  const ask = async (): Promise<NewApiToken> =>
    askOnce<NewApiToken>(options, context, { path: PATH, method: 'POST', body });
  const revoke = async (id: string): Promise<unknown> =>
    askOnce(options, context, { path: `${PATH}/${id}`, method: 'DELETE' });
  const token =
    jsonKey === undefined
      ? await ask()
      : await askForFile(resolve(context.cwd, jsonKey), { ask, revoke });
  const { secret, ...about } = token;
  const text = jsonKey === undefined ? secret : TEXTS.keyWritten({ path: jsonKey });
  print(options, context, jsonKey === undefined ? token : about, () => `${text}\n`);
  return EXIT_CODE.ok;
}

/** A secret that no file can hold does not count, and a file without one does not stay. */
async function askForFile(
  path: string,
  { ask, revoke }: { ask: () => Promise<NewApiToken>; revoke: (id: string) => Promise<unknown> },
): Promise<NewApiToken> {
  const explain = (cause: NodeJS.ErrnoException): AdminError => {
    const reason = cause.code ?? cause.message;
    return new AdminError(TEXTS.unwritableFile({ path, reason }), { cause });
  };
  await using file = await open(path, 'wx', 0o600).catch((cause: NodeJS.ErrnoException) => {
    throw explain(cause);
  });
  try {
    const token = await ask();
    const { id, secret } = token;
    const key = JSON.stringify({ type: 'entrepot_key', id, secret }, undefined, 2);
    try {
      await file.writeFile(`${key}\n`);
      await file.sync();
    } catch (error) {
      // Where that fails, too, it counts, and nobody knows it.
      await revoke(id).catch(() => undefined);
      throw explain(error as NodeJS.ErrnoException);
    }
    return token;
  } catch (error) {
    await rm(path, { force: true });
    throw error;
  }
}

export async function listTokens(options: CommandOptions, context: StoreContext): Promise<number> {
  const { tokens } = await askOnce<{ tokens: readonly ApiToken[] }>(options, context, {
    path: PATH,
  });
  print(options, context, { tokens }, (columns) => formatTokens(tokens, context.now(), columns));
  return EXIT_CODE.ok;
}

function formatTokens(
  tokens: readonly ApiToken[],
  now: number,
  columns: number | undefined,
): string {
  if (tokens.length === 0) return `${TEXTS.noTokens}\n`;
  const day = (at: number | undefined): string =>
    at === undefined ? 'never' : new Date(at).toISOString().slice(0, 10);
  const rows = tokens.map(({ id, name, owner, role = '-', createdAt, usedAt, expiresAt }) => [
    id,
    name,
    owner,
    role,
    formatAge(createdAt, now),
    day(usedAt),
    expiresAt !== undefined && expiresAt <= now ? 'expired' : day(expiresAt),
  ]);
  return formatTable(
    [['ID', 'NAME', 'OWNER', 'ROLE', 'MADE', 'USED', 'EXPIRES'], ...rows],
    columns,
  );
}

/** Takes a token back: from now on it counts no more. */
export async function revokeToken(
  id: string,
  options: CommandOptions,
  context: StoreContext,
): Promise<number> {
  // A whole token would stand in a URL.
  if (!ID.test(id)) throw new UsageError(TEXTS.tokenId);
  const path = `${PATH}/${id}`;
  await askOnce<undefined>(options, context, { path, method: 'DELETE' });
  print(options, context, { revoked: id }, () => `${TEXTS.tokenRevoked({ id })}\n`);
  return EXIT_CODE.ok;
}
