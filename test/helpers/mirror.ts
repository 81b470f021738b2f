import { deepStrictEqual } from 'node:assert';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import type { LookupFunction } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import type {
  Config,
  CredentialsConfig,
  TagsConfig,
  UpstreamConfig,
} from '../../src/config/config.ts';
import type { ReloadReport } from '../../src/api/status-api.ts';
import type { LoadedConfig } from '../../src/config/load.ts';
import { ConfigError } from '../../src/config/problems.ts';
import type { AnswerLimits } from '../../src/http/answer-places.ts';
import { adminSocketPath } from '../../src/config/listen.ts';
import { startServer, type RunningServer } from '../../src/server.ts';
import type { Clock } from '../../src/time/clock.ts';
import type { Gate } from '../../src/mirror/mirror.ts';
import type { Timing } from '../../src/net/timing.ts';
import { digestOf } from '../../src/oci/digest.ts';
import { untilRefused } from './claim-port.ts';
import { get } from './client.ts';
import { TestLog } from './test-log.ts';
import { turnOfTest } from './turn-of-test.ts';
import { until } from './until.ts';

/** What is waited for the other side no test means to meet because the machine is busy. */
export const TEST_TIMING: Timing = {
  connectMs: 20_000,
  headersMs: 30_000,
  firstByteMs: 30_000,
  exchangeMs: 60_000,
  discardMs: 10_000,
  stallMs: 30_000,
  attemptsMs: 10_000,
  patienceMs: 60_000,
  rangeMs: 50,
  probeMs: 20_000,
  retryMs: 2,
  breakerMs: 0,
  hydrateMs: 20,
  idleMs: 50,
  scanPauseMs: 1,
};

export const TEST_TAGS: TagsConfig = {
  ttlMs: 0,
  revalidateTimeoutMs: 30_000,
  staleIfErrorMs: Infinity,
  staleWhileRevalidateMs: 0,
  negativeTtlMs: 0,
  immutable: [],
};

export interface MirrorOptions {
  /** By name; what is not given is as in `upstreamConfig`. The first one is the default. */
  readonly upstreams: Readonly<Record<string, UpstreamOptions>>;
  readonly offline?: boolean;
  readonly timing?: Partial<Timing>;
  readonly clock?: Clock;
  readonly connections?: number;
  readonly answers?: AnswerLimits;
  readonly headersMs?: number;
  /** How names of other machines become addresses. */
  readonly lookup?: LookupFunction;
  readonly gate?: Gate;
  readonly graceMs?: number;
  readonly listen?: Partial<Config['listen']>;
  readonly trustProxy?: Config['trustProxy'];
  readonly log?: Partial<Config['log']>;
  readonly tracing?: Config['tracing'];
  readonly bundles?: Config['bundles'];
  readonly access?: Config['access'];
  readonly admission?: Config['admission'];
  readonly metrics?: Config['metrics'];
  readonly admin?: Partial<Config['admin']>;
  readonly store?: Partial<Config['store']>;
  readonly sync?: Config['sync'];
  /** A store that an earlier mirror of the same test left; the caller removes it. */
  readonly storePath?: string;
  /** The test means to leave something behind, and says what. */
  readonly leftovers?: { partials?: boolean };
}

export type UpstreamOptions = Omit<
  Partial<UpstreamConfig>,
  'tags' | 'tls' | 'url' | 'credentials'
> & {
  readonly url: string;
  readonly tls?: Partial<UpstreamConfig['tls']>;
  readonly tags?: Partial<TagsConfig>;
  readonly credentials?: Password | readonly CredentialsConfig[];
};

interface Password {
  readonly username: string;
  readonly password: string;
}

export interface TestMirror {
  readonly url: string;
  readonly server: RunningServer;
  readonly storePath: string;
  readonly config: Config;
  /** What the log said, one object a line. */
  readonly log: readonly Record<string, unknown>[];
  /** Resolves once the log has said this so many times. */
  logged(message: string, count?: number): Promise<void>;
  /**
   * Has it read its configuration again, which says this now, or is wrong: what the admin API answers.
   */
  reload(next: MirrorOptions | ConfigError): Promise<{ status: number; body: ReloadAnswer }>;
  /** Resolves when nothing runs: clients learn of their last byte before it is recorded. */
  idle(): Promise<void>;
  /** Closes it before the end of the test, with the checks of the end. */
  stop(): Promise<void>;
  /** Closes it in the middle of things, without the checks. */
  abandon(): Promise<void>;
}

export interface ReloadAnswer extends Partial<ReloadReport> {
  readonly error?: string;
  readonly detail?: unknown;
}

/**
 * The whole server as production builds it, on a real store in a fresh folder. At the end of the
 * test it must have no open download, question, file handle or partial file, and a store in which
 * every file is what its name says and every record has its file.
 */
export async function startMirror(
  t: ExecutionContext,
  options: MirrorOptions,
): Promise<TestMirror> {
  await turnOfTest(t);
  const storePath = options.storePath ?? (await createTempFolder(t));
  const config = createConfig(storePath, options);
  const log = new TestLog();
  let written: MirrorOptions | ConfigError = options;
  const load = (): LoadedConfig => {
    if (written instanceof ConfigError) throw written;
    return { config: createConfig(storePath, written), warnings: [], file: undefined };
  };
  const server = await startServer(config, {
    log: log.logger,
    load,
    timing: { ...TEST_TIMING, ...options.timing },
    ...(options.clock && { clock: options.clock }),
    ...(options.connections !== undefined && { connections: options.connections }),
    ...(options.answers && { answers: options.answers }),
    ...(options.headersMs !== undefined && { headersMs: options.headersMs }),
    lookup: options.lookup,
    gate: options.gate,
  });
  let isStopped = false;
  const close = async (): Promise<void> => {
    await server.close();
    // What asks there next must learn at once that nobody listens.
    for (const { port } of [config.listen, config.admin]) if (port > 0) await untilRefused(port);
  };
  const stop = async (): Promise<void> => {
    if (isStopped) return;
    isStopped = true;
    await settle(server);
    const activity = server.activity();
    const damage = await verifyStore(server, storePath);
    await close();
    const partials = options.leftovers?.partials ? [] : await listPartials(storePath);
    // Assertions count no more in a teardown, but what it throws fails the test.
    deepStrictEqual(unhandled, [], 'a rejection was unhandled, which ends a process');
    deepStrictEqual(activity, { downloads: 0, questions: 0, openFiles: 0 }, 'left open');
    deepStrictEqual(damage, [], 'the store does not verify');
    deepStrictEqual(partials, [], 'partial files are left');
  };
  t.teardown(stop);
  const abandon = async (): Promise<void> => {
    isStopped = true;
    await close();
  };
  return {
    url: server.url,
    server,
    storePath,
    config,
    log: log.lines,
    reload: async (next) => {
      written = next;
      // As the command does it, which needs no role.
      const { status, body } = await get(`${server.adminUrl}/api/v1/reload`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        ...(options.access && { socketPath: adminSocketPath(config) }),
      });
      return { status, body: JSON.parse(String(body)) as ReloadAnswer };
    },
    logged: async (message, count) => log.said(message, count),
    idle: async () => settle(server),
    stop,
    abandon,
  };
}

/** Node ends a process at the first one; ava overlooks those that are handled late. */
const unhandled: unknown[] = [];
process.on('unhandledRejection', (reason) => unhandled.push(reason));

export async function createTempFolder(t: ExecutionContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'entrepot-test-'));
  // Tests' teardowns run last in, first out: the mirror in it is closed by then.
  t.teardown(() => rm(path, { recursive: true, force: true }));
  return path;
}

export function createConfig(storePath: string, options: MirrorOptions): Config {
  const upstreams = Object.fromEntries(
    Object.entries(options.upstreams).map(([name, upstream]) => [
      name,
      upstreamConfig(name, upstream),
    ]),
  );
  const [defaultUpstream = ''] = Object.keys(options.upstreams);
  return {
    listen: { host: '127.0.0.1', port: 0, ...options.listen },
    admin: { host: '127.0.0.1', port: 0, ...options.admin },
    trustProxy: options.trustProxy ?? [],
    log: { level: 'debug', access: 1, ...options.log },
    tracing: options.tracing ?? {},
    bundles: options.bundles ?? { trust: {} },
    ...(options.access && { access: options.access }),
    ...(options.admission && { admission: options.admission }),
    ...(options.metrics && { metrics: options.metrics }),
    graceMs: options.graceMs ?? 20,
    offline: options.offline ?? false,
    store: {
      path: storePath,
      maxBytes: 2 ** 40,
      // Small stores of tests have few and large blobs.
      maxBlobShare: 1,
      minFreeBytes: 0,
      durability: 'full',
      pins: [],
      ...options.store,
    },
    defaultUpstream,
    upstreams,
    ...(options.sync && { sync: options.sync }),
  };
}

function upstreamConfig(name: string, options: UpstreamOptions): UpstreamConfig {
  return {
    name,
    hosts: [],
    storage: [],
    realms: [],
    allow: [],
    deny: [],
    concurrency: 8,
    segments: 'auto',
    ranges: 'auto',
    hydrate: 'off',
    ...options,
    tls: { insecure: false, system: true, only: false, ...options.tls },
    credentials: credentialsOf(options.credentials),
    tags: { ...TEST_TAGS, ...options.tags },
  };
}

function credentialsOf(
  credentials: Password | readonly CredentialsConfig[] = [],
): readonly CredentialsConfig[] {
  return 'username' in credentials ? [{ provider: 'password', ...credentials }] : credentials;
}

async function settle(server: RunningServer): Promise<void> {
  const isQuiet = (): boolean => {
    const { downloads, questions, openFiles } = server.activity();
    return downloads + questions + openFiles === 0;
  };
  // What is left open then, whoever asked says better.
  await until('nothing runs', isQuiet).catch(() => undefined);
}

/** Every file against its name, every record against its file. */
export async function verifyStore(
  { blobs, catalog }: RunningServer,
  storePath: string,
): Promise<string[]> {
  const damage: string[] = [];
  const held = new Set<string>();
  for await (const digest of blobs.folders.list()) {
    held.add(digest);
    const bytes = await readFile(blobPath(storePath, digest));
    const algorithm = digest.startsWith('sha512:') ? 'sha512' : 'sha256';
    if (digestOf(bytes, algorithm) !== digest) damage.push(`${digest} is damaged`);
    const record = await catalog.findBlob(digest);
    if (record && record.size !== bytes.length)
      damage.push(`${digest} is recorded with another size`);
  }
  for await (const [digest] of catalog.listBlobs()) {
    // Hydration may have stored it since the files were listed: the file is always there before the record.
    const isThere = held.has(digest) || existsSync(blobPath(storePath, digest));
    if (!isThere) damage.push(`${digest} is recorded and has no file`);
  }
  return damage;
}

export async function listPartials(storePath: string): Promise<string[]> {
  return readdir(join(storePath, 'ingest'));
}

/** Where a blob is while it is fetched from this upstream. */
export function partialPath(storePath: string, digest: string, upstream = 'docker.io'): string {
  return join(storePath, 'ingest', `${digest.replace(':', '-')}@${upstream}`);
}

export function blobPath(storePath: string, digest: string): string {
  const [algorithm = '', encoded = ''] = digest.split(':');
  return join(storePath, 'blobs', algorithm, encoded.slice(0, 2), encoded);
}
