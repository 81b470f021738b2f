import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import {
  Agent as HttpAgent,
  request as httpRequest,
  type ClientRequest,
  type IncomingMessage,
  type RequestOptions,
} from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import packageJson from '../../package.json' with { type: 'json' };
import type { ServerStatus } from '../api/status-api.ts';
import type { Config, ListenConfig } from '../config/config.ts';
import { adminSocketPath, formatListenAddress } from '../config/listen.ts';
import { loadConfig } from '../config/load.ts';
import {
  AdminError,
  InterruptedError,
  StopSignals,
  type CommandOptions,
  type StoreContext,
} from './command-context.ts';
import { tellingWhy } from './start-failure.ts';
import { TEXTS } from './texts.ts';

/** Asks one admin API. Resolves with the document of the answer; throws `AdminError`. */
export type Ask = (path: string, request?: AdminRequest) => Promise<unknown>;

export interface AdminRequest {
  readonly method?: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** Sent as JSON. */
  readonly body?: object;
  /** Sent as it comes, in place of a body. */
  readonly tar?: AsyncIterable<Uint8Array>;
  /** The answer is bytes: a `Readable`, which the caller reads to its end or destroys. */
  readonly isBinary?: boolean;
  /** How long the other side may be silent. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal | undefined;
  /** Without one each request has a connection of its own. */
  readonly agent?: HttpAgent;
}

/** A listener of this machine, a socket, or a server wherever it is. */
type AdminAddress = ListenConfig | { readonly path: string } | { readonly url: URL };

const TIMEOUT_MS = 10_000;
/** The store may be busy for long before it answers: to free a terabyte takes its time. */
const STORE_TIMEOUT_MS = 10 * 60_000;

/** Where the server of this configuration is asked: by its socket, where only that needs no role. */
export function adminOf(config: Pick<Config, 'access' | 'admin' | 'store'>): AdminAddress {
  const path = adminSocketPath(config);
  return config.access && existsSync(path) ? { path } : config.admin;
}

/**
 * Runs with the admin API of the server of this configuration; where none answers, with the same
 * API in this process, on a private socket and with the store opened for it.
 */
export async function withAdmin<T>(
  config: Config,
  context: StoreContext,
  run: (ask: Ask) => Promise<T>,
  ifNoStore: IfNoStore = 'refuse',
): Promise<T> {
  if (await isServed(config, context)) return run(askStore(adminOf(config)));
  const ask = async (path: string): Promise<T> => run(askStore({ path }));
  return withPrivateAdmin(config, { context, ifNoStore }, ask);
}

/**
 * A command in the wrong folder must leave no store behind: only a run of sync makes one, and a plan
 * takes one that is empty and gone with the command. Who asks of the configuration alone ignores it.
 */
export type IfNoStore = 'refuse' | 'pretend' | 'ignore' | 'make';

/**
 * Runs with the path of a socket that only this user can reach, where this process answers for the
 * store; closes and removes it in any case, also after a signal.
 */
async function withPrivateAdmin<T>(
  config: Config,
  { context, ifNoStore }: { context: StoreContext; ifNoStore: IfNoStore },
  run: (socketPath: string) => Promise<T>,
): Promise<T> {
  // To the end of what is undone.
  using stop = new StopSignals(context, config);
  await using undo = new AsyncDisposableStack();
  // Made with mode 0700: who may not enter cannot connect.
  const folder = await mkdtemp(join(tmpdir(), 'entrepot-'));
  undo.defer(async () => rm(folder, { recursive: true, force: true }));
  const socketPath = join(folder, 'admin.sock');
  const { openLog, startPrivateAdmin } = context;
  const own = join(folder, 'store');
  const places = { make: config.store.path, pretend: own, ignore: own, refuse: undefined };
  const newStorePath = places[ifNoStore];
  const start = async () =>
    startPrivateAdmin(config, socketPath, {
      log: openLog(),
      ...(newStorePath !== undefined && { newStorePath }),
    });
  const admin = await tellingWhy(start, { ...config, uid: context.uid });
  undo.defer(async () => admin.close());
  if (admin.isNew && ifNoStore === 'pretend') {
    context.stderr.write(`${TEXTS.noStoreYet({ path: config.store.path })}\n`);
  }
  const stopped = stop.first.then((signal) => {
    throw new InterruptedError(TEXTS.stoppedBy({ signal }));
  });
  return await Promise.race([run(socketPath), stopped]);
}

/** Asks as `withAdmin` does, by the configuration of the command. */
export async function askOnce<Answer>(
  options: CommandOptions,
  context: StoreContext,
  {
    path,
    ifNoStore,
    ...request
  }: AdminRequest & { readonly path: string; readonly ifNoStore?: IfNoStore },
): Promise<Answer> {
  const { config } = loadConfig({ file: options.config, ...context });
  const ask = async (ask: Ask): Promise<unknown> => ask(path, request);
  return (await withAdmin(config, context, ask, ifNoStore)) as Answer;
}

/**
 * Whether the server of this configuration answers. One of another store that has its address is not
 * asked: the lock of the store says whether a server has it. Throws `AdminError` when it is no server
 * at all that answers.
 */
export async function isServed(config: Config, context: StoreContext): Promise<boolean> {
  try {
    const status = await askStatus(adminOf(config));
    return await hasOurStore(status, config, context);
  } catch (error) {
    if (error instanceof AdminError && error.isUnserved) return false;
    throw error;
  }
}

/** Where a path differs, a mount may be why: the id tells. What has none counts as ours. */
export async function hasOurStore(
  { store: { path, id } }: ServerStatus,
  config: Config,
  context: Pick<StoreContext, 'readStoreId'>,
): Promise<boolean> {
  if (path === config.store.path || id === undefined) return true;
  const own = await context.readStoreId(config);
  return own === undefined || own === id;
}

/**
 * How the server at this address does. Throws `AdminError` also for another program, and for a server
 * of before what this command asks for.
 */
export async function askStatus(admin: AdminAddress): Promise<ServerStatus> {
  const path = '/api/v1/status';
  const status = (await askAdmin(admin, path)) as Partial<ServerStatus> | null;
  const address = nameOf(admin);
  if (typeof status?.version !== 'string' || typeof status.store?.path !== 'string') {
    throw new AdminError(TEXTS.foreign({ address, what: TEXTS.answered({ status: 200 }) }));
  }
  if (status.uptimeSeconds === undefined) {
    const { version } = status;
    throw new AdminError(TEXTS.olderServer({ address, version, own: packageJson.version }));
  }
  return status as ServerStatus;
}

/** Asks the admin API at this address. Throws `AdminError`. */
export async function askAdmin(
  admin: AdminAddress,
  path: string,
  { method = 'GET', body, tar, isBinary, timeoutMs = TIMEOUT_MS, signal, agent }: AdminRequest = {},
): Promise<unknown> {
  const name = nameOf(admin);
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const isWrite = method === 'POST' || method === 'PUT';
  const request = open(admin, {
    method,
    path,
    timeout: timeoutMs,
    agent: agent ?? false,
    ...(signal && { signal }),
    ...(isWrite && {
      // A tar may be refused before its end: the server keeps the connection until the refusal is read.
      headers: tar
        ? { 'Content-Type': 'application/x-tar', Connection: 'keep-alive' }
        : { 'Content-Type': 'application/json' },
    }),
  });
  request.once('timeout', () => {
    const message = TEXTS.silent({ address: name, seconds: timeoutMs / 1000 });
    request.destroy(new AdminError(message));
  });
  request.once('error', (cause: NodeJS.ErrnoException) => {
    const isUnserved = cause.code === 'ECONNREFUSED';
    const message = explain(cause, name);
    reject(cause instanceof AdminError ? cause : new AdminError(message, { cause, isUnserved }));
  });
  request.once('response', resolve);
  if (!tar) request.end(isWrite ? JSON.stringify(body ?? {}) : undefined);
  else void send(tar, request, reject);
  const answer = await promise;
  if (isBinary && answer.statusCode === 200) return answer;
  try {
    return await readAnswer(answer, name);
  } finally {
    // A refusal may come before all is sent.
    request.destroy();
  }
}

/** Tells what is wrong with the source; what becomes of the request is told by its events. */
async function send(
  source: AsyncIterable<Uint8Array>,
  request: ClientRequest,
  failed: (error: unknown) => void,
): Promise<void> {
  const chunks = async function* read(): AsyncGenerator<Uint8Array> {
    try {
      yield* source;
    } catch (error) {
      failed(error);
      throw error;
    }
  };
  await pipeline(chunks, request).catch(() => undefined);
}

function explain({ code = '', message }: NodeJS.ErrnoException, address: string): string {
  const reason = message || code;
  if (code === 'ECONNREFUSED') return TEXTS.unserved({ address, reason });
  // Node's parser has met what is no HTTP, or the connection ended before an answer.
  if (code.startsWith('HPE_') || code === 'ECONNRESET') {
    return TEXTS.foreign({ address, what: TEXTS.notHttp });
  }
  return TEXTS.unreachable({ address, reason });
}

/** Bytes are read over one connection, which is kept from answer to answer. */
function askStore(admin: AdminAddress): Ask {
  const isSecure = 'url' in admin ? admin.url.protocol === 'https:' : 'tls' in admin && admin.tls;
  const agent = new (isSecure ? HttpsAgent : HttpAgent)({ keepAlive: true, maxSockets: 1 });
  return async (path, request) =>
    askAdmin(admin, path, {
      timeoutMs: STORE_TIMEOUT_MS,
      ...(request?.isBinary && { agent }),
      ...request,
    });
}

function open(
  admin: AdminAddress,
  options: RequestOptions & { readonly path: string },
): ClientRequest {
  if ('url' in admin) {
    const { protocol, pathname } = admin.url;
    const path = `${pathname.replace(/\/$/, '')}${options.path}`;
    return (protocol === 'https:' ? httpsRequest : httpRequest)(admin.url, { ...options, path });
  }
  if ('path' in admin) return httpRequest({ ...options, socketPath: admin.path });
  const { port, tls } = admin;
  const address = { ...options, host: reachable(admin.host), port };
  if (!tls) return httpRequest(address);
  // The certificate names the site, not this address; that it is the same one is what counts.
  const ca = readFileSync(tls.cert);
  return httpsRequest({ ...address, ca, checkServerIdentity: () => undefined });
}

async function readAnswer(response: IncomingMessage, name: string): Promise<unknown> {
  const { statusCode: status = 0 } = response;
  const isOk = status >= 200 && status < 300;
  const foreign = TEXTS.foreign({ address: name, what: TEXTS.answered({ status }) });
  try {
    const body = await text(response);
    if (status === 204) return undefined;
    const document: unknown = JSON.parse(body);
    if (isOk) return document;
    const { reason = foreign, detail } = readReason(document);
    throw new AdminError(reason, { status, detail });
  } catch (cause) {
    throw cause instanceof AdminError ? cause : new AdminError(foreign, { cause });
  }
}

/** Why, in the words of the API's own errors; what else it tells is for the command to word. */
function readReason(document: unknown): { reason?: string; detail?: unknown } {
  const { error, detail } = (document ?? {}) as { error?: unknown; detail?: unknown };
  return typeof error === 'string' ? { reason: error, detail } : {};
}

function nameOf(admin: AdminAddress): string {
  if ('url' in admin) return admin.url.href;
  if ('path' in admin) return admin.path;
  return formatListenAddress({ host: reachable(admin.host), port: admin.port });
}

/** Where a listener on all addresses can be reached from this machine. */
function reachable(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1';
  return host === '::' ? '::1' : host;
}
