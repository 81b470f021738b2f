import { UpstreamError } from '../oci/upstream-error.ts';
import type { Clock } from '../time/clock.ts';
import { ExpiringMap } from '../time/expiring-map.ts';
import { RecentMap } from '../time/recent-map.ts';

/** What is asked about by HEAD. */
type Kind = 'manifest' | 'blob';

/** One question, in both its forms. Absence is `undefined`. */
export interface HeadQuestion<Told> {
  readonly kind: Kind;
  /** The tag that is asked about, in its repository: what it means may change. */
  readonly tag?: string | undefined;
  readonly head: () => Promise<Told | undefined>;
  readonly get: () => Promise<Told | undefined>;
  /** Whether what the HEAD told is all that has to be known. */
  readonly isEnough: (told: Told | undefined) => boolean;
}

/** How long a HEAD is left out that was refused while GET was answered: the registry may be mended. */
const REFUSED_MS = 3_600_000;
/** The same where it was no refusal of HEAD as such: it may pass soon. */
const FAILED_MS = 5 * 60_000;
/** How often in a row a GET must find what HEAD did not, before HEADs are left out. */
const MISSES_TO_LEAVE_OUT = 2;

/** How long HEADs alone may say that a tag means what it meant; then a GET decides. */
const UNMOVED_MS = 24 * 3_600_000;
/** The same where the upstream counts pulls. */
const UNMOVED_COUNTED_MS = 7 * UNMOVED_MS;
/** Most tags that are remembered, those last asked about. */
const MAX_TAGS = 10_000;

/** What HEADs say that a tag means. */
interface Hint {
  readonly digest: string;
  /** On the steady clock: since when nothing but HEADs says so. */
  readonly since: number;
  /** A GET said otherwise. */
  readonly isDenied: boolean;
}

/**
 * HEAD is a hint, which costs no pull where pulls are counted; GET is the word. What a registry cannot
 * say by HEAD (it refuses it, signs addresses for GET only, fetches on GET only, sends no digest) is
 * asked by GET, and that is remembered for manifests and for blobs, an hour at most each. A tag that HEADs
 * say not to have moved is asked by GET once a day, once a week where pulls are counted; a digest that the
 * GET denies then is not believed again of that tag, until a GET says it.
 */
export class HeadTrust {
  readonly #clock: Clock;
  readonly #isCounted: () => boolean;
  readonly #hints = new RecentMap<string, Hint>(MAX_TAGS);
  readonly #leftOut: ExpiringMap<Kind, true>;
  /** What it lately said to be absent, or left unsaid, and GET brought. */
  readonly #doubted: ExpiringMap<Kind, true>;
  /** In a row. */
  readonly #misses: Record<Kind, number> = { manifest: 0, blob: 0 };

  constructor({ clock, isCounted }: { clock: Clock; isCounted: () => boolean }) {
    this.#clock = clock;
    this.#isCounted = isCounted;
    this.#leftOut = new ExpiringMap({ max: 2, clock });
    this.#doubted = new ExpiringMap({ max: 2, clock });
  }

  /** Throws what the GET met, or what the HEAD met where the GET had no answer. */
  async ask<Told extends { readonly digest?: string }>(
    question: HeadQuestion<Told>,
  ): Promise<Told | undefined> {
    const { kind, tag, head, isEnough } = question;
    const get = async (): Promise<Told | undefined> => this.#decided(tag, await question.get());
    if (this.#leftOut.has(kind) || this.#isDue(tag)) return get();
    let failure: UpstreamError | undefined;
    try {
      const told = await head();
      const isBelieved = this.#isBelieved(tag, told);
      if (told && isBelieved) this.#misses[kind] = 0;
      if (isBelieved && isEnough(told)) return told;
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

  #isDue(tag: string | undefined): boolean {
    const hint = tag === undefined ? undefined : this.#hints.get(tag);
    const most = this.#isCounted() ? UNMOVED_COUNTED_MS : UNMOVED_MS;
    return hint !== undefined && !hint.isDenied && this.#clock.steady() - hint.since >= most;
  }

  #isBelieved(tag: string | undefined, told: { readonly digest?: string } | undefined): boolean {
    if (tag === undefined || told?.digest === undefined) return true;
    const { digest } = told;
    const hint = this.#hints.get(tag);
    if (hint?.digest === digest) return !hint.isDenied;
    this.#hints.set(tag, { digest, since: this.#clock.steady(), isDenied: false });
    return true;
  }

  /** What the GET brought, of which HEADs may now say that it has not moved. */
  #decided<Told extends { readonly digest?: string }>(
    tag: string | undefined,
    found: Told | undefined,
  ): Told | undefined {
    const hint = tag === undefined ? undefined : this.#hints.get(tag);
    if (tag === undefined || !hint) return found;
    const { digest } = hint;
    if (!found) this.#hints.delete(tag);
    else {
      const isDenied = found.digest !== digest;
      this.#hints.set(tag, { digest, since: this.#clock.steady(), isDenied });
    }
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
