import type { Attachments, Reach } from '../mirror/mirror.ts';
import { cosignTags } from '../oci/cosign.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { Digest } from '../oci/digest.ts';
import { parseManifest, type Manifest } from '../oci/manifest.ts';
import { OCI_MANIFEST } from '../oci/media-types.ts';
import type { Target } from '../oci/reference.ts';
import { UpstreamError } from '../oci/upstream-error.ts';
import {
  ENVELOPE,
  isBundleType,
  isNotationEnvelope,
  MAX_EVIDENCE_BYTES,
  NOTATION,
  SIMPLE_SIGNING,
} from './manifest-kind.ts';
import type { NotationLayer } from './notation/notation.ts';
import type { ClassicLayer } from './signatures/classic.ts';

/** A signature or an attestation that is attached to an image, not yet looked at. */
export interface Attached {
  /** The manifest that carries it. */
  readonly manifest: Digest;
  readonly signature:
    | { readonly bundle: Uint8Array }
    | { readonly layer: ClassicLayer }
    | { readonly notation: NotationLayer };
}

export type Maker = 'sigstore' | 'notation';

export interface EvidenceParts {
  readonly attachments: Attachments;
  readonly target: Target;
  readonly subject: Digest;
  readonly reach: Reach;
  /** Who makes those that are looked for: others are not fetched. */
  readonly makers: ReadonlySet<Maker>;
  /** Told of what could not be had, so that nobody knows whether there is more. */
  readonly missed: (error: UpstreamError) => void;
}

/** Of an image; what is attached beyond them is not looked at. */
const MAX_SIGNATURES = 32;
const MAX_SIGNATURE_BYTES = 2 ** 20;
const PREDICATE = 'dev.sigstore.bundle.predicateType';
const SIGNATURE = 'https://sigstore.dev/cosign/sign/v1';

/**
 * The signatures of an image: Sigstore bundles and those of Notation among its referrers, then the layers of
 * cosign's tag. At most 32 of them, of 1 MiB each. In the same way its attestations, of 16 MiB each.
 */
export class Evidence {
  readonly #parts: EvidenceParts;
  #left = MAX_SIGNATURES;

  constructor(parts: EvidenceParts) {
    this.#parts = parts;
  }

  async *signatures(): AsyncGenerator<Attached> {
    const { attachments, target, subject, reach, makers } = this.#parts;
    const listed =
      (await this.#tried(async () => attachments.referrers(target, subject, reach))) ?? [];
    if (makers.has('notation')) yield* this.#notation(listed);
    if (!makers.has('sigstore')) return;
    const bundles = listed.filter(({ artifactType }) => isBundleType(artifactType));
    // Those that are attestations by their own word come last.
    const sorted = bundles.toSorted((one, other) => Number(states(one)) - Number(states(other)));
    for (const { digest } of sorted) {
      if (this.#left <= 0) return;
      yield* this.#carriedBy(digest, isBundleType);
    }
    const [tag] = cosignTags(subject);
    const digest = tag && (await this.#tried(async () => attachments.tagged(target, tag, reach)));
    if (digest) yield* this.#carriedBy(digest, (type) => type === SIMPLE_SIGNING);
  }

  async *#notation(listed: readonly Descriptor[]): AsyncGenerator<Attached> {
    for (const { digest, artifactType } of listed) {
      if (artifactType !== NOTATION) continue;
      if (this.#left <= 0) return;
      yield* this.#carriedBy(digest, isNotationEnvelope);
    }
  }

  /** Of what is a signature by its own word none. */
  async *attestations(): AsyncGenerator<Attached> {
    const { attachments, target, subject, reach } = this.#parts;
    const listed = await this.#tried(async () => attachments.referrers(target, subject, reach));
    const bundles = (listed ?? []).filter(
      ({ artifactType, annotations }) =>
        isBundleType(artifactType) && annotations?.[PREDICATE] !== SIGNATURE,
    );
    for (const { digest } of bundles) {
      if (this.#left <= 0) return;
      yield* this.#carriedBy(digest, isBundleType, MAX_EVIDENCE_BYTES);
    }
    const [, tag] = cosignTags(subject);
    const digest = tag && (await this.#tried(async () => attachments.tagged(target, tag, reach)));
    const isEnvelope = (type: string): boolean => type === ENVELOPE;
    if (digest) yield* this.#carriedBy(digest, isEnvelope, MAX_EVIDENCE_BYTES);
  }

  async *#carriedBy(
    digest: Digest,
    isWanted: (mediaType: string) => boolean,
    most = MAX_SIGNATURE_BYTES,
  ): AsyncGenerator<Attached> {
    const { attachments, target, reach } = this.#parts;
    const bytes = await this.#tried(async () => attachments.manifest(target, digest, reach));
    for (const part of (bytes && parsed(bytes)?.successors) ?? []) {
      if (!isWanted(part.mediaType)) continue;
      if ((this.#left -= 1) < 0) return;
      const read = async () => attachments.blob(target, part, { reach, most });
      const payload = await this.#tried(read);
      if (payload) yield { manifest: digest, signature: signatureOf(part, payload) };
    }
  }

  async #tried<Found>(look: () => Promise<Found>): Promise<Found | undefined> {
    try {
      return await look();
    } catch (error) {
      const { target, missed } = this.#parts;
      const why = error instanceof Error ? error.message : String(error);
      missed(
        error instanceof UpstreamError ? error : new UpstreamError(target.upstream, 'failing', why),
      );
      return undefined;
    }
  }
}

/** What is held that is attached to an image, by digest: with the image, it is all that a judgement looks at here. */
export async function heldEvidence(
  attachments: Attachments,
  target: Target,
  subject: Digest,
): Promise<readonly Digest[]> {
  const listed = await attachments.referrers(target, subject, 'held');
  const [tag] = cosignTags(subject);
  const tagged = tag && (await attachments.tagged(target, tag, 'held'));
  return [...listed.map(({ digest }) => digest), ...(tagged ? [tagged] : [])];
}

function signatureOf(part: Descriptor, payload: Uint8Array): Attached['signature'] {
  const { mediaType, annotations = {} } = part;
  if (isNotationEnvelope(mediaType)) return { notation: { mediaType, envelope: payload } };
  if (isBundleType(mediaType)) return { bundle: payload };
  return { layer: { mediaType, payload, annotations } };
}

function states({ annotations }: Descriptor): boolean {
  const type = annotations?.[PREDICATE];
  return type !== undefined && type !== SIGNATURE;
}

/** What is no manifest carries no signature. */
function parsed(bytes: Uint8Array): Manifest | undefined {
  try {
    return parseManifest(bytes, OCI_MANIFEST);
  } catch {
    return undefined;
  }
}
