import type { Attachments, Reach } from '../mirror/mirror.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { Digest } from '../oci/digest.ts';
import { formatTarget, type Target } from '../oci/reference.ts';
import type { UpstreamError } from '../oci/upstream-error.ts';
import type { Clock } from '../time/clock.ts';
import { ExpiringMap } from '../time/expiring-map.ts';
import { Evidence } from './evidence.ts';
import { kindOf, MAX_EVIDENCE_BYTES, type ManifestKind } from './manifest-kind.ts';
import { TEXTS } from './texts.ts';
import type { Trusted } from './trust.ts';
import type { Refusal, Signer } from './verdict.ts';
import { Verdicts, type Verdict } from './verdicts.ts';

/** What is asked of an image, by whom it is signed. */
export interface Demands {
  readonly signers: readonly Signer[];
  readonly trusted: Trusted;
  /** Of the signers: other ones have another one. */
  readonly mark: string;
  /** Left out: the upstream is asked for what is not held. */
  readonly reach?: 'held';
}

/** Indexes that a manifest is looked for in, above one another too, and holders of a blob. */
const MAX_HOLDERS = 64;
/** An artifact about an artifact about an image. */
const MAX_SUBJECTS = 4;
const MAX_KINDS = 10_000;
const KIND_MS = 3_600_000;
const EVIDENCE: Verdict = { is: 'admitted' };

/**
 * Whether an image is signed by one whom a rule names: itself, or a held index of the same repository that
 * lists it. What is held is looked at first; an upstream is asked only where that does not admit.
 */
export class Judge {
  readonly #attachments: () => Attachments;
  readonly #verdicts: Verdicts;
  /** Of a digest it never changes. */
  readonly #kinds: ExpiringMap<Digest, ManifestKind>;

  constructor({ attachments, clock }: { attachments: () => Attachments; clock: Clock }) {
    this.#attachments = attachments;
    this.#verdicts = new Verdicts(clock);
    this.#kinds = new ExpiringMap({ max: MAX_KINDS, clock });
  }

  /** Of a manifest. Throws `UpstreamError` where it is not held and cannot be had. */
  async manifest(target: Target, digest: Digest, demands: Demands): Promise<Verdict> {
    let about: Digest | undefined = digest;
    let verdict: Verdict = refusal('absent');
    for (let depth = 0; about !== undefined && depth < MAX_SUBJECTS; depth += 1) {
      const kind = await this.#kindOf(target, about);
      if (!kind) return verdict;
      if (kind.is === 'evidence' && depth === 0) return EVIDENCE;
      const found = await this.#signed(target, about, demands);
      if (found.is === 'admitted' || depth === 0) verdict = found;
      if (found.is === 'admitted') break;
      about = kind.is === 'artifact' ? kind.subject : undefined;
    }
    return verdict;
  }

  /** Of a blob: that of an admitted manifest that lists it; `unlisted` where none is held that does. */
  async blob(target: Target, digest: Digest, demands: Demands): Promise<Verdict | 'unlisted'> {
    const attachments = this.#attachments();
    if (await attachments.isManifest(digest)) return this.manifest(target, digest, demands);
    let verdict: Verdict | 'unlisted' = 'unlisted';
    let left = MAX_HOLDERS;
    for await (const holder of attachments.holders(target, digest, { asManifest: false })) {
      if ((left -= 1) < 0) break;
      const found = await this.manifest(target, holder, demands);
      if (found.is === 'admitted') return found;
      if (verdict === 'unlisted' || found.is === 'unknown') verdict = found;
    }
    return verdict;
  }

  async #signed(target: Target, digest: Digest, demands: Demands): Promise<Verdict> {
    const lineage = await this.#lineage(target, digest);
    let own: Verdict | undefined;
    const reaches = demands.reach ? [demands.reach] : (['held', 'upstream'] as const);
    for (const reach of reaches) {
      for (const each of lineage) {
        const found = await this.#verdict(target, each, reach, demands);
        if (found?.is === 'admitted') return found;
        if (reach === 'upstream' && (!own || found?.is === 'unknown')) own = found;
      }
    }
    return own ?? refusal('unsigned');
  }

  /** The manifest and the held indexes above it: an index that is signed is so for all that it lists. */
  async #lineage(target: Target, digest: Digest): Promise<readonly Digest[]> {
    const found = new Set([digest]);
    for (const each of found) {
      for await (const index of this.#attachments().holders(target, each, { asManifest: true })) {
        if (found.size > MAX_HOLDERS) return [...found];
        found.add(index);
      }
    }
    return [...found];
  }

  /** `undefined`: what is held does not admit it. */
  async #verdict(
    target: Target,
    digest: Digest,
    reach: Reach,
    demands: Demands,
  ): Promise<Verdict | undefined> {
    const key = [demands.mark, demands.trusted.digest, formatTarget(target), digest].join(' ');
    const isHeld = async (carrier: Digest) => this.#attachments().isHeld(target, carrier);
    const known = await this.#verdicts.find(key, isHeld);
    if (known) return known;
    if (reach === 'upstream') {
      return this.#verdicts.reach(key, async () => this.#judge(target, digest, reach, demands));
    }
    const found = await this.#judge(target, digest, reach, demands);
    return found.is === 'admitted' ? this.#verdicts.keep(key, found) : undefined;
  }

  async #judge(
    target: Target,
    subject: Digest,
    reach: Reach,
    { signers, trusted }: Demands,
  ): Promise<Verdict> {
    const attachments = this.#attachments();
    const manifest = await attachments.manifest(target, subject, reach);
    if (!manifest) return refusal('absent');
    const missing: UpstreamError[] = [];
    const missed = (error: UpstreamError): void => void missing.push(error);
    const evidence = new Evidence({ attachments, target, subject, reach, missed });
    const asked = { image: { digest: subject, manifest }, kind: 'signature', signers } as const;
    const refusals: Refusal[] = [];
    for await (const { manifest: carrier, signature } of evidence.signatures()) {
      const found =
        'bundle' in signature
          ? trusted.sigstore.verifyBundle(signature.bundle, asked)
          : trusted.sigstore.verifyClassic(signature.layer, asked);
      if ('signer' in found) return { is: 'admitted', by: found, carrier };
      refusals.push(found);
    }
    const [fault] = missing;
    if (fault) {
      return { is: 'unknown', reason: fault.message, isOffline: fault.fault === 'offline' };
    }
    return refusals.length > 0 ? { is: 'refused', refusals } : refusal('unsigned');
  }

  async #kindOf(target: Target, digest: Digest): Promise<ManifestKind | undefined> {
    const known = this.#kinds.get(digest);
    if (known) return known;
    const bytes = await this.#attachments().manifest(target, digest, 'upstream');
    if (!bytes) return undefined;
    const form = kindOf(bytes);
    const isOther = form.is === 'evidence' && !(await this.#areTexts(target, form.texts ?? []));
    const kind: ManifestKind = isOther ? { is: 'image' } : form;
    this.#kinds.set(digest, kind, KIND_MS);
    return kind;
  }

  /** What is JSON is nothing that a runtime could unpack. Throws `UpstreamError` where it cannot be had. */
  async #areTexts(target: Target, parts: readonly Descriptor[]): Promise<boolean> {
    const how = { reach: 'upstream', most: MAX_EVIDENCE_BYTES } as const;
    for (const part of parts) {
      const bytes = await this.#attachments().blob(target, part, how);
      if (!bytes || !isJson(bytes)) return false;
    }
    return true;
  }
}

function isJson(bytes: Buffer): boolean {
  try {
    return typeof JSON.parse(bytes.toString()) === 'object';
  } catch {
    return false;
  }
}

function refusal(code: 'absent' | 'unsigned'): Verdict {
  return { is: 'refused', refusals: [{ code, reason: TEXTS[code] }] };
}
