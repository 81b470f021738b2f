import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import seeds from '@sigstore/tuf/seeds.json' with { type: 'json' };
import { Updater } from 'tuf-js';
import type { PemFile } from '../../config/pem.ts';
import type { Environment } from '../../config/source.ts';
import { Authorities } from '../../net/authorities.ts';
import { oneHost } from '../../net/one-host.ts';
import { DEFAULT_TIMING, type Timing } from '../../net/timing.ts';
import { Transport } from '../../net/transport.ts';
import { UpstreamError } from '../../oci/upstream-error.ts';
import { TEXTS } from './texts.ts';
import { TrustRoot } from './trust-root.ts';
import { TufFetcher } from './tuf-fetcher.ts';

export interface Source {
  /** A TUF repository. */
  readonly mirror: string;
  /** What was last seen of it lies here: something older is refused. */
  readonly folder: string;
  /** The root of trust of a repository whose root this program does not bring. */
  readonly rootPath?: string | undefined;
  /** Authorities of the repository's certificate, which alone count. */
  readonly ca?: PemFile | undefined;
  /** The variables that choose a proxy. */
  readonly environment?: Environment | undefined;
  readonly timing?: Timing;
}

const TARGET = 'trusted_root.json';
/** Of all that is asked for: a chain of roots, and three lists. */
const MOST_MS = 5 * 60_000;
const SEEDS: Readonly<Record<string, { readonly 'root.json': string }>> = seeds;

/**
 * The trust root that a TUF repository publishes now, verified by its chain of roots, within five minutes.
 * Throws an `Error` that says why there is none: nothing answers, what answers is older than what was seen
 * before, has ended, or is not signed as it should be.
 */
export async function fetchTrustRoot(
  source: Source,
): Promise<{ readonly bytes: Buffer; readonly root: TrustRoot }> {
  const transport = openTransport(source);
  try {
    const bytes = await fetchTarget(source, transport);
    return { bytes, root: TrustRoot.parse(bytes) };
  } catch (error) {
    throw new Error(causeOf(error), { cause: error });
  } finally {
    await transport.close();
  }
}

function openTransport({ mirror, ca, environment, timing = DEFAULT_TIMING }: Source): Transport {
  return new Transport({
    timing,
    authorities: new Authorities({ failed: () => {}, renewed: () => {} }),
    caKey: '--ca',
    config: oneHost({ name: mirror, url: mirror, ca, environment }),
  });
}

async function fetchTarget(source: Source, transport: Transport): Promise<Buffer> {
  const { mirror, timing = DEFAULT_TIMING } = source;
  const metadataDir = openFolder(source);
  const signal = AbortSignal.timeout(MOST_MS);
  const updater = new Updater({
    metadataBaseUrl: mirror,
    targetBaseUrl: `${mirror}/targets`,
    metadataDir,
    targetDir: join(metadataDir, 'targets'),
    fetcher: new TufFetcher({ transport, timing, signal }),
  });
  await updater.refresh();
  const info = await updater.getTargetInfo(TARGET);
  if (!info) throw new Error(TEXTS.noTarget({ name: TARGET }));
  return readFileSync(
    (await updater.findCachedTarget(info)) ?? (await updater.downloadTarget(info)),
  );
}

/** That of this repository, with its first root. */
function openFolder({ mirror, folder, rootPath }: Source): string {
  const { host, pathname } = new URL(mirror);
  const own = join(folder, encodeURIComponent(host + pathname.replace(/\/$/, '')));
  mkdirSync(join(own, 'targets'), { recursive: true });
  const first = join(own, 'root.json');
  if (existsSync(first)) return own;
  if (rootPath === undefined) {
    const seed = SEEDS[mirror];
    if (!seed) throw new Error(TEXTS.noFirstRoot);
    writeFileSync(first, Buffer.from(seed['root.json'], 'base64'));
  } else copyFileSync(rootPath, first);
  return own;
}

/** Of errors that were caused by others what was the first. */
function causeOf(error: unknown): string {
  if (error instanceof UpstreamError) return error.reason;
  const { message, cause } = error as { message?: string; cause?: unknown };
  return cause instanceof Error ? causeOf(cause) : (message ?? 'unknown');
}
