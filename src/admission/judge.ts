import type { Attachments, Reach } from '../mirror/mirror.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { Digest } from '../oci/digest.ts';
import { formatTarget, type Target } from '../oci/reference.ts';
import type { Clock } from '../time/clock.ts';
import { ExpiringMap } from '../time/expiring-map.ts';
import type { Condition, How } from './condition.ts';
import { isEvidenceText, kindOf, MAX_EVIDENCE_BYTES, type ManifestKind } from './manifest-kind.ts';
import { TEXTS } from './texts.ts';
import type { Verdict } from './verdict.ts';

/** Manifests that list a blob: those that are looked at by what is held, and those of which an upstream is asked. */
const MAX_HOLDERS = { held: 1_000, asked: 64 };
/** A document about a document about an image. */
const MAX_SUBJECTS = 3;
const MAX_KINDS = 10_000;
const KIND_MS = 3_600_000;
/** What lacks a text is judged as an image: it may have it by then. */
const LACKING_MS = 30_000;
const HELD: How = { reach: 'held' };
const ADMITTED: Verdict = { is: 'admitted' };
const ABSENT: Verdict = {
  is: 'refused',
  refusals: [{ code: 'absent', reason: TEXTS.absent }],
};

export interface Demands extends How {
  /** All of them have to be met; the first that is not decides. */
  readonly conditions: readonly Condition[];
}

/**
 * What is to be judged, by what conditions: of evidence nothing is asked, a document is judged by the image
 * that it is about, a blob by the manifests that list it.
 */
export class Judge {
  readonly #attachments: () => Attachments;
  /** By repository: in another one it may not be, or lack a part. */
  readonly #kinds: ExpiringMap<string, ManifestKind>;
  /** Whether a blob is a text of evidence, which never changes. */
  readonly #texts: ExpiringMap<Digest, boolean>;

  constructor({ attachments, clock }: { attachments: () => Attachments; clock: Clock }) {
    this.#attachments = attachments;
    this.#kinds = new ExpiringMap({ max: MAX_KINDS, clock });
    this.#texts = new ExpiringMap({ max: MAX_KINDS, clock });
  }

  /** Of a manifest. Throws `UpstreamError` where it is not held and cannot be had. */
  async manifest(target: Target, digest: Digest, demands: Demands): Promise<Verdict> {
    const kind = await this.#kindOf(target, digest, demands.reach);
    if (!kind) return ABSENT;
    if (kind.is === 'evidence') return ADMITTED;
    const own = await ask(target, digest, demands);
    if (own.is === 'admitted') return own;
    for await (const subject of this.#subjectsOf(target, kind, demands)) {
      const found = await ask(target, subject, demands);
      if (found.is === 'admitted') return found;
    }
    return own;
  }

  /**
   * What the conditions are asked of: nothing where it is evidence or is not there, and else the manifest, then
   * what it is a document about. Throws as `manifest` does.
   */
  async subjects(target: Target, digest: Digest, how: How): Promise<readonly Digest[]> {
    const kind = await this.#kindOf(target, digest, how.reach);
    if (!kind || kind.is === 'evidence') return [];
    return [digest, ...(await Array.fromAsync(this.#subjectsOf(target, kind, how)))];
  }

  /** Of a document the image that it is about; of a document about a document also that one's. */
  async *#subjectsOf(target: Target, about: ManifestKind, { reach }: How): AsyncGenerator<Digest> {
    let kind: ManifestKind | undefined = about;
    for (let left = MAX_SUBJECTS; kind?.is === 'artifact' && left > 0; left -= 1) {
      const { subject }: { readonly subject: Digest } = kind;
      kind = await this.#kindOf(target, subject, reach);
      if (kind) yield subject;
    }
  }

  /**
   * Of a blob: what `judge` says of an admitted manifest that lists it, or of another one; `undefined` where none
   * is held that does. Those that what is held admits come first, however many others list it too.
   */
  async blob<Found extends { readonly is: Verdict['is'] }>(
    target: Target,
    digest: Digest,
    judge: (manifest: Digest, how: How) => Promise<Found>,
  ): Promise<Found | undefined> {
    if (await this.#attachments().isManifest(digest)) return judge(digest, {});
    const others: Digest[] = [];
    let found: Found | undefined;
    for await (const holder of this.#holders(target, digest)) {
      if ((await judge(holder, HELD)).is === 'admitted') {
        found = await judge(holder, {});
        if (found.is === 'admitted') return found;
      } else if (others.length < MAX_HOLDERS.asked) others.push(holder);
    }
    for (const holder of others) {
      const each = await judge(holder, {});
      if (each.is === 'admitted') return each;
      if (!found || each.is === 'unknown') found = each;
    }
    return found;
  }

  /** A signature is served for what it is: what else it lists is as if it did not. */
  async *#holders(target: Target, digest: Digest): AsyncGenerator<Digest> {
    let left = MAX_HOLDERS.held;
    for await (const holder of this.#attachments().holders(target, digest, { asManifest: false })) {
      if ((left -= 1) < 0) return;
      if (await this.#mayGive(target, holder, digest).catch(() => true)) yield holder;
    }
  }

  /** Whether a manifest is one that is judged, or the blob is what evidence consists of. */
  async #mayGive(target: Target, holder: Digest, digest: Digest): Promise<boolean> {
    const kind = await this.#kindOf(target, holder);
    if (kind?.is !== 'evidence') return true;
    const part = { digest, size: MAX_EVIDENCE_BYTES };
    return this.#isText(target, part, 'upstream').catch(() => false);
  }

  async #kindOf(
    target: Target,
    digest: Digest,
    reach: Reach = 'upstream',
  ): Promise<ManifestKind | undefined> {
    const key = `${formatTarget(target)} ${digest}`;
    const known = this.#kinds.get(key);
    if (known) return known;
    const bytes = await this.#attachments().manifest(target, digest, reach);
    if (!bytes) return undefined;
    const form = kindOf(bytes);
    const texts = form.is === 'evidence' ? (form.texts ?? []) : [];
    const isOther = !(await this.#areTexts(target, texts, reach));
    const kind: ManifestKind = isOther ? { is: 'image' } : form;
    // What was not asked for may be text all the same.
    if (!isOther || reach === 'upstream') {
      this.#kinds.set(key, kind, isOther ? LACKING_MS : KIND_MS);
    }
    return kind;
  }

  /** Throws `UpstreamError` where it cannot be had. */
  async #areTexts(target: Target, parts: readonly Descriptor[], reach: Reach): Promise<boolean> {
    for (const part of parts) {
      if (!(await this.#isText(target, part, reach))) return false;
    }
    return true;
  }

  async #isText(
    target: Target,
    part: Pick<Descriptor, 'digest' | 'size'>,
    reach: Reach,
  ): Promise<boolean> {
    const known = this.#texts.get(part.digest);
    if (known !== undefined) return known;
    const bytes = await this.#attachments().blob(target, part, { reach, most: MAX_EVIDENCE_BYTES });
    if (!bytes) return false;
    const isText = isEvidenceText(bytes);
    this.#texts.set(part.digest, isText, KIND_MS);
    return isText;
  }
}

async function ask(
  target: Target,
  digest: Digest,
  { conditions, reach }: Demands,
): Promise<Verdict> {
  for (const condition of conditions) {
    const verdict = await condition.judge(target, digest, reach ? { reach } : {});
    if (verdict.is === 'refused') return { ...verdict, asks: condition.asks };
    if (verdict.is === 'unknown') return verdict;
  }
  return ADMITTED;
}
