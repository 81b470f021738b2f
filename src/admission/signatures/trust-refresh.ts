import { initTUF } from '@sigstore/tuf';
import { TrustRoot } from './trust-root.ts';

const TARGET = 'trusted_root.json';
const TIMEOUT_MS = 30_000;

export interface Source {
  /** A TUF repository. */
  readonly mirror: string;
  /** What was last seen of it lies here: something older is refused. */
  readonly folder: string;
  /** The root of trust of a repository whose root this program does not bring. */
  readonly rootPath?: string | undefined;
}

/**
 * The trust root that a TUF repository publishes now, verified by its chain of roots. Each of its files is
 * waited for 30 s, twice more where it does not come. Throws an `Error` that says why there is none: nothing
 * answers, what answers is older than what was seen before, has ended, or is not signed as it should be.
 */
export async function fetchTrustRoot({
  mirror,
  folder,
  rootPath,
}: Source): Promise<{ bytes: Buffer; root: TrustRoot }> {
  try {
    const client = await initTUF({
      mirrorURL: mirror,
      cachePath: folder,
      timeout: TIMEOUT_MS,
      retry: 2,
      ...(rootPath !== undefined && { rootPath }),
    });
    const bytes = Buffer.from(await client.getTarget(TARGET));
    return { bytes, root: TrustRoot.parse(bytes) };
  } catch (error) {
    throw new Error(reasonOf(error), { cause: error });
  }
}

/** Of errors that were caused by others what was the first. */
function reasonOf(error: unknown): string {
  const { message, cause } = error as { message?: string; cause?: unknown };
  return cause instanceof Error ? reasonOf(cause) : (message ?? 'unknown');
}
