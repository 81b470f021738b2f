import { UpstreamError } from '../oci/upstream-error.ts';
import type { Clock } from '../time/clock.ts';
import { ExpiringMap } from '../time/expiring-map.ts';

/** What is asked about by HEAD. */
type Kind = 'manifest' | 'blob';

/** One question, in both its forms. Absence is `undefined`. */
export interface HeadQuestion<Told> {
  readonly kind: Kind;
  readonly head: () => Promise<Told | undefined>;
  readonly get: () => Promise<Told | undefined>;
  /** Whether what the HEAD told is all that has to be known. */
  readonly isEnough: (told: Told | undefined) => boolean;
}

/** How long a HEAD is left out that was refused while GET was answered: the registry may be mended. */
const REFUSED_MS = 3_600_000;
/** The same where it was no refusal of HEAD as such: it may pass soon. */
const FAILED_MS = 5 * 60_000;
/** So often in a row a GET must find what HEAD did not, before HEADs are left out. */
const MISSES_TO_LEAVE_OUT = 2;

/**
 * HEAD is a hint, which costs no pull where pulls are counted; GET is the word. What a registry cannot
 * say by HEAD (it refuses it, signs addresses for GET only, fetches on GET only, sends no digest) is
 * asked by GET, and that is remembered for manifests and for blobs, an hour at most each.
 */
export class HeadTrust {
  readonly #leftOut: ExpiringMap<Kind, true>;
  /** What it lately said to be absent, or left unsaid, and GET brought. */
  readonly #doubted: ExpiringMap<Kind, true>;
  /** In a row. */
  readonly #misses: Record<Kind, number> = { manifest: 0, blob: 0 };

  constructor(clock: Clock) {
    this.#leftOut = new ExpiringMap({ max: 2, clock });
    this.#doubted = new ExpiringMap({ max: 2, clock });
  }

  /** Throws what the GET met, or what the HEAD met where the GET had no answer. */
  async ask<Told>({ kind, head, get, isEnough }: HeadQuestion<Told>): Promise<Told | undefined> {
    if (this.#leftOut.has(kind)) return get();
    let failure: UpstreamError | undefined;
    try {
      const told = await head();
      if (told) this.#misses[kind] = 0;
      if (isEnough(told)) return told;
    } catch (error) {
      if (!mayBeOfHead(error)) throw error;
      failure = error;
    }
    const found = await get().catch((error: unknown) => {
      const isMute = error instanceof UpstreamError && (error.isUnasked || !error.status);
      throw failure && isMute ? failure : error;
    });
    if (found) this.#learn(kind, failure);
    return found;
  }

  /** Whether a 404 to a HEAD was lately none to a GET. */
  doubts(kind: Kind): boolean {
    return this.#doubted.has(kind);
  }

  /** A HEAD told of something else than the GET brought. */
  misled(kind: Kind): void {
    this.#leftOut.set(kind, true, FAILED_MS);
  }

  #learn(kind: Kind, failure: UpstreamError | undefined): void {
    if (failure && isRefusal(failure)) return this.#leftOut.set(kind, true, REFUSED_MS);
    this.#doubted.set(kind, true, REFUSED_MS);
    this.#misses[kind] += 1;
    if (this.#misses[kind] >= MISSES_TO_LEAVE_OUT) this.misled(kind);
  }
}

/** Answers that say nothing of HEAD: of a limit of requests, a server that is down, a loop of mirrors. */
const NOT_OF_HEAD = new Set([429, 502, 503, 504, 508]);

/** Whether a GET may fare better: only what was answered may be about HEAD. */
function mayBeOfHead(error: unknown): error is UpstreamError {
  if (!(error instanceof UpstreamError) || error.isUnasked) return false;
  return error.isAnswer && !NOT_OF_HEAD.has(error.status ?? 0);
}

/** It was answered, by a status that says what is thought of the request. */
function isRefusal({ status = 0 }: UpstreamError): boolean {
  return status === 501 || (status >= 400 && status < 500 && status !== 408);
}
