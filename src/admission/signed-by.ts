import type { SignatureReport } from '../api/admission-api.ts';
import type { Attachments, Reach } from '../mirror/mirror.ts';
import type { Digest } from '../oci/digest.ts';
import type { Target } from '../oci/reference.ts';
import type { UpstreamError } from '../oci/upstream-error.ts';
import type { Condition, Examined, How } from './condition.ts';
import { Evidence, heldEvidence } from './evidence.ts';
import { lineageOf } from './lineage.ts';
import { TEXTS } from './texts.ts';
import type { Trust, Trusted } from './trust.ts';
import type { Refusal, Signer, Verified } from './verdict.ts';
import type { Verdict, Verdicts } from './verdicts.ts';

export interface SignedByParts {
  readonly attachments: () => Attachments;
  readonly verdicts: Verdicts;
  readonly trust: Trust;
  readonly signers: readonly Signer[];
}

interface Signature {
  readonly carrier: Digest;
  readonly found: Verified | Refusal;
}

interface Asked {
  readonly target: Target;
  readonly subject: Digest;
  readonly reach: Reach;
  readonly trusted: Trusted;
}

interface Looked extends Asked {
  readonly manifest: Uint8Array;
  readonly missed: (error: UpstreamError) => void;
}

const MAX_EXAMINED = 128;

/**
 * An image is signed by one whom a rule names: itself, or a held index of the same repository that lists it.
 * What is held is looked at first; an upstream is asked only where that does not admit.
 */
export class SignedBy implements Condition {
  readonly asks = 'signedBy';
  readonly #parts: SignedByParts;
  /** Other signers have another one. */
  readonly #mark: string;

  constructor(parts: SignedByParts) {
    this.#parts = parts;
    this.#mark = JSON.stringify(parts.signers);
  }

  async judge(target: Target, digest: Digest, { reach: only }: How): Promise<Verdict> {
    const trusted = await this.#parts.trust.current();
    const lineage = await lineageOf(this.#parts.attachments(), target, digest);
    let own: Verdict | undefined;
    for (const reach of only ? [only] : (['held', 'upstream'] as const)) {
      for (const subject of lineage) {
        const found = await this.#verdict({ target, subject, reach, trusted });
        if (found?.is === 'admitted') return found;
        if (reach === 'upstream' && (!own || found?.is === 'unknown')) own = found;
      }
    }
    return own ?? refusal('unsigned');
  }

  /** At most 128 signatures: those that are held, then those that the upstream has beside them. */
  async examine(target: Target, digest: Digest, { reach: only }: How): Promise<Examined> {
    const trusted = await this.#parts.trust.current();
    const attachments = this.#parts.attachments();
    const signatures = new Map<string, SignatureReport>();
    for (const reach of only ? [only] : (['held', 'upstream'] as const)) {
      for (const subject of await lineageOf(attachments, target, digest)) {
        const manifest = await attachments.manifest(target, subject, reach);
        if (!manifest) continue;
        const missed = (): void => {};
        const about = { target, subject, reach, trusted, manifest, missed };
        for await (const each of this.#signatures(about)) {
          if (signatures.size >= MAX_EXAMINED) break;
          signatures.set(`${subject} ${each.found.what}`, reportOf(subject, each));
        }
      }
    }
    return { signatures: [...signatures.values()] };
  }

  /** `undefined`: what is held does not admit it. */
  async #verdict(asked: Asked): Promise<Verdict | undefined> {
    const { target, subject, reach, trusted } = asked;
    const { attachments, verdicts } = this.#parts;
    const about = async () => {
      const held = await heldEvidence(attachments(), target, subject);
      return { held, target, digest: subject, rests: [this.#mark, trusted.digest, held] };
    };
    const question = await about();
    const known = await verdicts.find(question);
    if (known) return known;
    const verify = async (): Promise<Verdict> => {
      const found = await this.#verify(asked);
      if (reach === 'held' && found.is !== 'admitted') return found;
      // It may have fetched what it rests on, and one that rests on what could not be kept is not kept either.
      const after = await about();
      const isKept =
        found.is !== 'admitted' || (found.carrier && after.held.includes(found.carrier));
      return isKept ? verdicts.keep(after, found) : found;
    };
    if (reach === 'upstream') return verdicts.reach(question, verify);
    const found = await verify();
    return found.is === 'admitted' ? found : undefined;
  }

  async #verify(asked: Asked): Promise<Verdict> {
    const manifest = await this.#parts
      .attachments()
      .manifest(asked.target, asked.subject, asked.reach);
    if (!manifest) return refusal('absent');
    const missing: UpstreamError[] = [];
    const missed = (error: UpstreamError): void => void missing.push(error);
    const refusals: Refusal[] = [];
    for await (const { carrier, found } of this.#signatures({ ...asked, manifest, missed })) {
      if ('signer' in found) return { is: 'admitted', by: found, carrier };
      refusals.push(found);
    }
    const [fault] = missing;
    if (fault) {
      return { is: 'unknown', reason: fault.message, isOffline: fault.fault === 'offline' };
    }
    return refusals.length > 0 ? { is: 'refused', refusals } : refusal('unsigned');
  }

  /** One after another, each with what it is worth. */
  async *#signatures({ trusted, manifest, ...about }: Looked): AsyncGenerator<Signature> {
    const attachments = this.#parts.attachments();
    const evidence = new Evidence({ ...about, attachments });
    const image = { digest: about.subject, manifest };
    const asked = { image, kind: 'signature', signers: this.#parts.signers } as const;
    for await (const { manifest: carrier, signature } of evidence.signatures()) {
      const found =
        'bundle' in signature
          ? trusted.sigstore.verifyBundle(signature.bundle, asked)
          : trusted.sigstore.verifyClassic(signature.layer, asked);
      yield { carrier, found };
    }
  }
}

function reportOf(subject: Digest, { carrier, found }: Signature): SignatureReport {
  if (!('signer' in found)) return { subject, carrier, counts: false, reason: found.reason };
  const { signer, at } = found;
  const { kind: _, ...who } = signer;
  return { subject, carrier, counts: true, ...who, ...(at !== undefined && { at }) };
}

function refusal(code: 'absent' | 'unsigned'): Verdict {
  return { is: 'refused', refusals: [{ code, reason: TEXTS[code] }] };
}
