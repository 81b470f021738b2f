import type { Attachments, Reach } from '../mirror/mirror.ts';
import type { Digest } from '../oci/digest.ts';
import type { Target } from '../oci/reference.ts';
import type { Attestations } from './attestations.ts';
import type { Condition } from './condition.ts';
import { kindOf } from './manifest-kind.ts';
import type { Finding } from './vulnerabilities/report.ts';
import type { Scanned, Scanner } from './vulnerabilities/scanner.ts';

export interface SbomScansParts {
  readonly attachments: () => Attachments;
  readonly attestations: Attestations;
  /** Whether those sign a manifest whose attestations count. */
  readonly signed: Pick<Condition, 'judge'>;
  readonly scanner: Pick<Scanner, 'about' | 'consumes'>;
}

type Image = Pick<Scanned, 'target' | 'digest'>;

/** What an SBOM is by the type of a statement, and by that of a document. */
const SBOMS: readonly (readonly [predicate: RegExp, mediaType: string])[] = [
  [/^https:\/\/cyclonedx\.org\/bom(?:\/|$)/, 'application/vnd.cyclonedx+json'],
  [/^https:\/\/spdx\.dev\/Document(?:\/|$)/, 'application/spdx+json'],
];
/** Of an image; what is beyond them is not looked at. */
const MAX_SBOMS = 4;

/**
 * What a scanner finds in the SBOMs of an image, where it says that it reads such: no layer is touched then. An
 * SBOM counts that one whom the rule names has signed, as an attestation or as a document that is attached. The
 * scanner is asked about the manifest that carries it, which carries nothing else.
 */
export class SbomScans {
  readonly #parts: SbomScansParts;

  constructor(parts: SbomScansParts) {
    this.#parts = parts;
  }

  /** Whether the scanner reads any. */
  async areRead({ isHeld }: { readonly isHeld: boolean }): Promise<boolean> {
    return (await this.#typesRead(isHeld)).size > 0;
  }

  /**
   * Of all SBOMs of the image together; `undefined` where there is none, or one that the scanner has nothing to say
   * of. `isHeld`: the scanner is not asked either.
   */
  async findings(
    { target, digest }: Image,
    { reach, isHeld }: { readonly reach: Reach; readonly isHeld: boolean },
  ): Promise<readonly Finding[] | undefined> {
    const types = await this.#typesRead(isHeld);
    const found = new Map<string, Finding>();
    const sboms = await this.#of({ target, digest }, types, reach);
    for (const sbom of sboms) {
      const known = await this.#parts.scanner.about(sbom, { isHeld });
      if (known === 'none' || !('findings' in known)) return undefined;
      for (const each of known.findings) found.set(JSON.stringify(each), each);
    }
    return sboms.length === 0 ? undefined : [...found.values()];
  }

  async #typesRead(isHeld: boolean): Promise<ReadonlySet<string>> {
    const types = new Set<string>();
    for (const [, type] of SBOMS) {
      if (await this.#parts.scanner.consumes(type, { isHeld })) types.add(type);
    }
    return types;
  }

  async #of(image: Image, types: ReadonlySet<string>, reach: Reach): Promise<readonly Scanned[]> {
    const attested = await this.#attested(image, types, reach);
    const found = attested.length > 0 ? attested : await this.#attached(image, types, reach);
    return found.slice(0, MAX_SBOMS);
  }

  async #attested(
    { target, digest }: Image,
    types: ReadonlySet<string>,
    reach: Reach,
  ): Promise<readonly Scanned[]> {
    const found: Scanned[] = [];
    const all = await this.#parts.attestations.of(target, [digest], reach).catch(() => []);
    for (const { carrier, statement } of all) {
      const [, mediaType = ''] = SBOMS.find(([type]) => type.test(statement.predicateType)) ?? [];
      if (!types.has(mediaType)) continue;
      const manifest = await this.#parts.attachments().manifest(target, carrier, reach);
      // Of several layers the scanner might read one that nobody has signed.
      if (!manifest || kindOf(manifest).is !== 'evidence' || !hasOneLayer(manifest)) continue;
      found.push({ target, digest: carrier, mediaType });
    }
    return found;
  }

  async #attached(
    { target, digest: subject }: Image,
    types: ReadonlySet<string>,
    reach: Reach,
  ): Promise<readonly Scanned[]> {
    const { signed } = this.#parts;
    const attachments = this.#parts.attachments();
    const found: Scanned[] = [];
    const listed = await attachments.referrers(target, subject, reach).catch(() => []);
    const sboms = listed.filter(({ artifactType = '' }) => types.has(artifactType));
    for (const { digest, artifactType: mediaType = '' } of sboms.slice(0, MAX_SBOMS)) {
      const manifest = await this.#manifest(target, digest, reach);
      const kind = manifest && kindOf(manifest);
      // The list is the word of the upstream: it may tell of one that is about another image.
      if (kind?.is !== 'artifact' || kind.subject !== subject || !hasOneLayer(manifest!)) continue;
      const how = reach === 'held' ? { reach } : {};
      const verdict = await signed.judge(target, digest, how).catch(() => undefined);
      if (verdict?.is === 'admitted') found.push({ target, digest, mediaType });
    }
    return found;
  }

  async #manifest(target: Target, digest: Digest, reach: Reach): Promise<Buffer | undefined> {
    return this.#parts
      .attachments()
      .manifest(target, digest, reach)
      .catch(() => undefined);
  }
}

function hasOneLayer(manifest: Uint8Array): boolean {
  const { layers } = JSON.parse(Buffer.from(manifest).toString()) as { layers?: unknown };
  return Array.isArray(layers) && layers.length === 1;
}
