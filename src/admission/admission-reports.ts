import type { AdmissionApi, AdmissionReport } from '../api/admission-api.ts';
import type { ResolvedImage } from '../mirror/addressing.ts';
import type { Attachments } from '../mirror/mirror.ts';
import type { Digest } from '../oci/digest.ts';
import { DEFAULT_TAG, formatImageName, formatTarget } from '../oci/reference.ts';
import type { Admission } from './admission.ts';
import { TEXTS } from './texts.ts';

interface AdmissionReportsParts {
  readonly admission: Admission;
  readonly attachments: () => Attachments;
  /** Throws a `RegistryError` for what is not mirrored. */
  readonly resolve: (image: string) => ResolvedImage;
}

/** What operators are told of admission. */
export class AdmissionReports implements AdmissionApi {
  readonly #parts: AdmissionReportsParts;

  constructor(parts: AdmissionReportsParts) {
    this.#parts = parts;
  }

  async report(image: string, { isHeld = false } = {}): Promise<AdmissionReport> {
    const { admission, resolve } = this.#parts;
    const resolved = resolve(image);
    const { target, tag = DEFAULT_TAG } = resolved;
    const name = formatTarget(target);
    const asked = formatImageName(
      resolved.digest ? { name, digest: resolved.digest } : { name, tag },
    );
    if (!admission.isJudged(target)) return { image: asked, isAllowed: true, rules: [] };
    const found = await this.#digestOf(resolved, isHeld);
    if (typeof found !== 'string') {
      return { image: asked, isAllowed: !admission.isEnforced(target), ...found, rules: [] };
    }
    const how = isHeld ? ({ reach: 'held' } as const) : {};
    const rules = await admission.report(target, found, how);
    const isAllowed = rules.every(
      ({ mode, outcome }) => mode === 'audit' || outcome === 'admitted',
    );
    return { image: formatImageName({ name, digest: found }), isAllowed, rules };
  }

  async #digestOf(
    { target, tag = DEFAULT_TAG, digest }: ResolvedImage,
    isHeld: boolean,
  ): Promise<Digest | { readonly reason: string }> {
    if (digest) return digest;
    const attachments = this.#parts.attachments();
    try {
      const found = isHeld
        ? await attachments.tagged(target, tag, 'held')
        : await attachments.meant(target, tag);
      return found ?? { reason: isHeld ? TEXTS.notHeld : TEXTS.noSuchTag };
    } catch (error) {
      return { reason: error instanceof Error ? error.message : String(error) };
    }
  }
}
