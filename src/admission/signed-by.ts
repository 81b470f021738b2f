import { setImmediate as nextTurn } from 'node:timers/promises';
import type { SignatureReport } from '../api/admission-api.ts';
import type { Attachments, Reach } from '../mirror/mirror.ts';
import type { Log } from '../observe/log.ts';
import type { Digest } from '../oci/digest.ts';
import { formatTarget, type Target } from '../oci/reference.ts';
import type { UpstreamError } from '../oci/upstream-error.ts';
import type { Clock } from '../time/clock.ts';
import type { Condition, Examined, How } from './condition.ts';
import { Evidence, heldEvidence, type Attached, type Maker } from './evidence.ts';
import { lineageOf } from './lineage.ts';
import type { SignedImage } from './signatures/signed-image.ts';
import { TEXTS } from './texts.ts';
import type { Trust, Trusted } from './trust.ts';
import type { Refusal, Signer, Verdict, Verified } from './verdict.ts';
import type { Question as VerdictQuestion, Verdicts } from './verdicts.ts';

export interface SignedByParts {
  readonly attachments: () => Attachments;
  readonly verdicts: Verdicts;
  readonly trust: Trust;
  readonly signers: readonly Signer[];
  readonly clock: Clock;
  readonly log: Log;
  /** It matters when a signature was seen first: of those that count the earliest is taken. */
  readonly isTimed: boolean;
}

interface Signature {
  readonly carrier: Digest;
  readonly found: Verified | Refusal;
}

interface Counting extends Signature {
  readonly found: Verified;
}

interface Asked {
  readonly target: Target;
  readonly subject: Digest;
  readonly reach: Reach;
  readonly trusted: Trusted;
  /** Told of each signature, also of those that come after one that counts. */
  readonly tell?: (signature: Signature) => void;
}

interface Question extends VerdictQuestion {
  readonly held: readonly Digest[];
}

interface Looked extends Asked {
  readonly manifest: Uint8Array;
  readonly missed: (error: UpstreamError) => void;
}

/** The image and indexes that list it, of which an upstream is asked: again every 30 s that it is refused. */
const MAX_ASKED = 8;
/** Those that count are told of whatever comes before them. */
const MAX_EXAMINED = 128;
/** Of a verdict, which is remembered. */
const MAX_REFUSALS = 8;

/**
 * An image is signed by one whom a rule names: itself, or a held index of the same repository that lists it.
 * What is held is looked at first; an upstream is asked only where that does not admit, about eight of them at most.
 */
export class SignedBy implements Condition {
  readonly asks = 'signedBy';
  readonly #parts: SignedByParts;
  /** The signers as text: a verdict rests on them. */
  readonly #mark: string;
  readonly #makers: ReadonlySet<Maker>;

  constructor(parts: SignedByParts) {
    this.#parts = parts;
    this.#mark = JSON.stringify([parts.isTimed, parts.signers]);
    this.#makers = new Set(parts.signers.map(makerOf));
  }

  async judge(target: Target, digest: Digest, { reach: only }: How): Promise<Verdict> {
    const trusted = await this.#parts.trust.current();
    let own: Verdict | undefined;
    for (const reach of only ? [only] : (['held', 'upstream'] as const)) {
      for await (const subject of this.#subjects(target, digest, reach)) {
        const found = await this.#verdict({ target, subject, reach, trusted });
        if (found.is === 'admitted') return found;
        const isLast = only !== undefined || reach === 'upstream';
        if (isLast && (!own || found.is === 'unknown')) own = found;
      }
    }
    return own ?? refusal('unsigned');
  }

  /**
   * At most 128 signatures: those that are held, then those that the upstream has beside them. What they come to
   * is the verdict that is known from now on.
   */
  async examine(target: Target, digest: Digest, { reach: only }: How): Promise<Examined> {
    const trusted = await this.#parts.trust.current();
    const signatures = new Map<string, SignatureReport>();
    for (const reach of only ? [only] : (['held', 'upstream'] as const)) {
      for await (const subject of this.#subjects(target, digest, reach)) {
        const tell = (each: Signature): void => {
          if (signatures.size >= MAX_EXAMINED && !('signer' in each.found)) return;
          signatures.set(`${subject} ${each.found.what}`, reportOf(subject, each));
        };
        await this.#reached({ target, subject, reach, trusted, tell });
      }
    }
    return { signatures: [...signatures.values()] };
  }

  #subjects(target: Target, digest: Digest, reach: Reach): AsyncGenerator<Digest> {
    const most = reach === 'upstream' ? MAX_ASKED : undefined;
    return lineageOf(this.#parts.attachments(), target, digest, most);
  }

  async #verdict(asked: Asked): Promise<Verdict> {
    const { verdicts } = this.#parts;
    const question = await this.#questionOf(asked);
    const known = await verdicts.find(question);
    if (known) return known;
    const reached = async () => this.#reached(asked);
    return asked.reach === 'upstream' ? verdicts.reach(question, reached) : reached();
  }

  async #questionOf({ target, subject, trusted }: Asked): Promise<Question> {
    const held = await heldEvidence(this.#parts.attachments(), target, subject);
    return { held, target, digest: subject, rests: [this.#mark, trusted.digest, held] };
  }

  /** Whatever is known; it is known after. */
  async #reached(asked: Asked): Promise<Verdict> {
    const found = await this.#verify(asked);
    if (asked.reach === 'held' && found.is !== 'admitted') return found;
    // It may have fetched what it rests on, and one that rests on what could not be kept is not kept either.
    const after = await this.#questionOf(asked);
    const isKept = found.is !== 'admitted' || (found.carrier && after.held.includes(found.carrier));
    return isKept ? this.#parts.verdicts.keep(after, found) : found;
  }

  async #verify(asked: Asked): Promise<Verdict> {
    const { target, subject, reach, tell } = asked;
    const manifest = await this.#parts.attachments().manifest(target, subject, reach);
    if (!manifest) return refusal('absent');
    const missing: UpstreamError[] = [];
    const missed = (error: UpstreamError): void => void missing.push(error);
    const refusals: Refusal[] = [];
    let more = 0;
    let best: Counting | undefined;
    for await (const signature of this.#signatures({ ...asked, manifest, missed })) {
      tell?.(signature);
      const { carrier, found } = signature;
      if (!('signer' in found)) {
        if (refusals.length < MAX_REFUSALS) refusals.push(found);
        else more += 1;
      } else if (!best || isEarlier(found, best.found)) best = { carrier, found };
      if (best && !this.#parts.isTimed && !tell) break;
    }
    if (best) return this.#admitted(best, `${formatTarget(target)}@${subject}`);
    const [fault] = missing;
    // What is held tells more than that nobody was asked.
    const isTold = fault?.fault === 'offline' && refusals.length > 0;
    if (fault && !isTold) {
      return { is: 'unknown', reason: fault.message, isOffline: fault.fault === 'offline' };
    }
    return refusals.length > 0 ? { is: 'refused', refusals, more } : refusal('unsigned');
  }

  #admitted({ carrier, found }: Counting, image: string): Verdict {
    this.#tell(found, image);
    const { until } = found;
    const end = until === undefined ? {} : { validUntil: until };
    return { is: 'admitted', by: found, carrier, ...end };
  }

  /** One after another, each with what it is worth. */
  async *#signatures({ trusted, manifest, ...about }: Looked): AsyncGenerator<Signature> {
    const [attachments, makers] = [this.#parts.attachments(), this.#makers];
    const evidence = new Evidence({ ...about, attachments, makers });
    const image = { digest: about.subject, manifest };
    for await (const { manifest: carrier, signature } of evidence.signatures()) {
      yield { carrier, found: this.#worth(signature, image, trusted) };
      // Others have their turn between two of many.
      await nextTurn();
    }
  }

  #worth(
    signature: Attached['signature'],
    image: SignedImage,
    { sigstore, notation }: Trusted,
  ): Verified | Refusal {
    const { signers, clock } = this.#parts;
    if ('notation' in signature) {
      const asked = { image, signers, now: clock.wall() };
      return notation?.verify(signature.notation, asked) ?? refusalOf('noStores');
    }
    const asked = { image, kind: 'signature', signers } as const;
    return 'bundle' in signature
      ? sigstore.verifyBundle(signature.bundle, asked)
      : sigstore.verifyClassic(signature.layer, asked);
  }

  #tell({ doubt }: Verified, image: string): void {
    if (!doubt) return;
    const about = { image, reason: doubt.reason };
    this.#parts.log.warn(about, 'a signature counts by its level that would not count strictly');
  }
}

/** Keys alone tell no time. */
function isEarlier(one: Verified, other: Verified): boolean {
  return (one.at ?? Infinity) < (other.at ?? Infinity);
}

function makerOf({ kind }: Signer): Maker {
  return kind === 'notation' ? 'notation' : 'sigstore';
}

function reportOf(subject: Digest, { carrier, found }: Signature): SignatureReport {
  if (!('signer' in found)) return { subject, carrier, counts: false, reason: found.reason };
  const { signer, at, doubt } = found;
  const { kind: _, ...who } =
    signer.kind === 'notation' ? { kind: signer.kind, identity: signer.identity } : signer;
  const more = { ...(at !== undefined && { at }), ...(doubt && { reason: doubt.reason }) };
  return { subject, carrier, counts: true, ...who, ...more };
}

function refusal(code: 'absent' | 'unsigned'): Verdict {
  return { is: 'refused', refusals: [refusalOf(code)] };
}

function refusalOf(code: 'absent' | 'unsigned' | 'noStores'): Refusal {
  return { code, reason: TEXTS[code] };
}
