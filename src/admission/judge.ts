import type { Attachments, Reach } from '../mirror/mirror.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { Digest } from '../oci/digest.ts';
import type { Target } from '../oci/reference.ts';
import type { Clock } from '../time/clock.ts';
import { ExpiringMap } from '../time/expiring-map.ts';
import type { Condition, How } from './condition.ts';
import { kindOf, MAX_EVIDENCE_BYTES, type ManifestKind } from './manifest-kind.ts';
import { TEXTS } from './texts.ts';
import type { Verdict } from './verdicts.ts';

/** Manifests that list a blob. */
const MAX_HOLDERS = 64;
/** An artifact about an artifact about an image. */
const MAX_SUBJECTS = 4;
const MAX_KINDS = 10_000;
const KIND_MS = 3_600_000;
const ADMITTED: Verdict = { is: 'admitted' };

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
  /** Of a digest it never changes. */
  readonly #kinds: ExpiringMap<Digest, ManifestKind>;

  constructor({ attachments, clock }: { attachments: () => Attachments; clock: Clock }) {
    this.#attachments = attachments;
    this.#kinds = new ExpiringMap({ max: MAX_KINDS, clock });
  }

  /** Of a manifest. Throws `UpstreamError` where it is not held and cannot be had. */
  async manifest(target: Target, digest: Digest, demands: Demands): Promise<Verdict> {
    let about: Digest | undefined = digest;
    let verdict: Verdict = {
      is: 'refused',
      refusals: [{ code: 'absent', reason: TEXTS.absent }],
    };
    for (let depth = 0; about !== undefined && depth < MAX_SUBJECTS; depth += 1) {
      const kind = await this.#kindOf(target, about, demands.reach);
      if (!kind) return verdict;
      if (kind.is === 'evidence' && depth === 0) return ADMITTED;
      const found = await ask(target, about, demands);
      if (found.is === 'admitted' || depth === 0) verdict = found;
      if (found.is === 'admitted') break;
      about = kind.is === 'artifact' ? kind.subject : undefined;
    }
    return verdict;
  }

  /**
   * What the conditions are asked of: nothing where it is evidence or is not there, and else the manifest, then
   * what it is a document about. Throws as `manifest` does.
   */
  async subjects(target: Target, digest: Digest, { reach }: How): Promise<readonly Digest[]> {
    const subjects: Digest[] = [];
    for (let about: Digest | undefined = digest; about && subjects.length < MAX_SUBJECTS;) {
      const kind = await this.#kindOf(target, about, reach);
      if (!kind || (kind.is === 'evidence' && subjects.length === 0)) break;
      subjects.push(about);
      about = kind.is === 'artifact' ? kind.subject : undefined;
    }
    return subjects;
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

  async #kindOf(
    target: Target,
    digest: Digest,
    reach: Reach = 'upstream',
  ): Promise<ManifestKind | undefined> {
    const known = this.#kinds.get(digest);
    if (known) return known;
    const bytes = await this.#attachments().manifest(target, digest, reach);
    if (!bytes) return undefined;
    const form = kindOf(bytes);
    const texts = form.is === 'evidence' ? (form.texts ?? []) : [];
    const isOther = !(await this.#areTexts(target, texts, reach));
    const kind: ManifestKind = isOther ? { is: 'image' } : form;
    // What was not asked for may be text all the same.
    if (!isOther || reach === 'upstream') this.#kinds.set(digest, kind, KIND_MS);
    return kind;
  }

  /** What is JSON is nothing that a runtime could unpack. Throws `UpstreamError` where it cannot be had. */
  async #areTexts(target: Target, parts: readonly Descriptor[], reach: Reach): Promise<boolean> {
    const how = { reach, most: MAX_EVIDENCE_BYTES };
    for (const part of parts) {
      const bytes = await this.#attachments().blob(target, part, how);
      if (!bytes || !isJson(bytes)) return false;
    }
    return true;
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

function isJson(bytes: Buffer): boolean {
  try {
    return typeof JSON.parse(bytes.toString()) === 'object';
  } catch {
    return false;
  }
}
