import type { Attachments, Reach } from '../mirror/mirror.ts';
import { cosignTags } from '../oci/cosign.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { Digest } from '../oci/digest.ts';
import { parseManifest, type Manifest } from '../oci/manifest.ts';
import { OCI_MANIFEST } from '../oci/media-types.ts';
import type { Tag, Target } from '../oci/reference.ts';
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
  readonly attachments: Pick<Attachments, 'referrers' | 'tagged' | 'manifest' | 'blob'>;
  readonly target: Target;
  readonly subject: Digest;
  readonly reach: Reach;
  /** Who makes those that are looked for: others are not fetched. */
  readonly makers: ReadonlySet<Maker>;
  /** Told of what could not be had, so that nobody knows whether there is more. */
  readonly missed: (error: UpstreamError) => void;
}

interface Wanted {
  readonly isWanted: (mediaType: string) => boolean;
  readonly most: number;
  readonly left: { count: number; bytes: number };
}

/** What is looked at of one kind; what is attached beyond it is not. */
interface Bounds {
  /** Of manifests that carry it, and of what they carry. */
  readonly count: number;
  /** Of all together that are longer than signatures are; so the long ones hide no short one. */
  readonly bytes: number;
  /** Of one. */
  readonly most: number;
  /** Carriers that are fetched at a time. */
  readonly atOnce: number;
}

const MIB = 2 ** 20;
/** Longer than signatures are. */
const LONG_BYTES = 2 ** 16;
const SIGNATURES: Bounds = { count: 512, bytes: 16 * MIB, most: MIB, atOnce: 8 };
const ATTESTATIONS: Bounds = {
  count: 512,
  bytes: 4 * MAX_EVIDENCE_BYTES,
  most: MAX_EVIDENCE_BYTES,
  atOnce: 1,
};
const PREDICATE = 'dev.sigstore.bundle.predicateType';
const SIGNATURE = 'https://sigstore.dev/cosign/sign/v1';
const CREATED = 'org.opencontainers.image.created';

/**
 * The signatures of an image: those of Notation among its referrers, Sigstore bundles among them, the newest
 * first by their own word, then the layers of cosign's tag. Of each of the three 512 at most, of 1 MiB each, and of
 * those above 64 KiB 16 MiB together: who attaches junk has to attach more than that to hide what counts. In the
 * same way its attestations, of 16 MiB each and 64 MiB together.
 */
export class Evidence {
  readonly #parts: EvidenceParts;

  constructor(parts: EvidenceParts) {
    this.#parts = parts;
  }

  async *signatures(): AsyncGenerator<Attached> {
    const { attachments, target, subject, reach, makers } = this.#parts;
    const listed =
      (await this.#tried(async () => attachments.referrers(target, subject, reach))) ?? [];
    const sorted = listed.toSorted(byAge);
    if (makers.has('notation')) {
      const carriers = sorted.filter(({ artifactType }) => artifactType === NOTATION);
      yield* this.#carriedBy(carriers, isNotationEnvelope, SIGNATURES);
    }
    if (!makers.has('sigstore')) return;
    const bundles = sorted.filter(({ artifactType }) => isBundleType(artifactType));
    // Those that are attestations by their own word come last.
    bundles.sort((one, other) => Number(states(one)) - Number(states(other)));
    yield* this.#carriedBy(bundles, isBundleType, SIGNATURES);
    const [tag] = cosignTags(subject);
    const isLayer = (type: string): boolean => type === SIMPLE_SIGNING;
    yield* this.#carriedBy(await this.#tagged(tag), isLayer, SIGNATURES);
  }

  /** Of what is a signature by its own word none. */
  async *attestations(): AsyncGenerator<Attached> {
    const { attachments, target, subject, reach } = this.#parts;
    const listed = await this.#tried(async () => attachments.referrers(target, subject, reach));
    const bundles = (listed ?? []).filter(
      ({ artifactType, annotations }) =>
        isBundleType(artifactType) && annotations?.[PREDICATE] !== SIGNATURE,
    );
    yield* this.#carriedBy(bundles.toSorted(byAge), isBundleType, ATTESTATIONS);
    const [, tag] = cosignTags(subject);
    const isEnvelope = (type: string): boolean => type === ENVELOPE;
    yield* this.#carriedBy(await this.#tagged(tag), isEnvelope, ATTESTATIONS);
  }

  async #tagged(tag: Tag | undefined): Promise<readonly Pick<Descriptor, 'digest'>[]> {
    const { attachments, target, reach } = this.#parts;
    const digest = tag && (await this.#tried(async () => attachments.tagged(target, tag, reach)));
    return digest ? [{ digest }] : [];
  }

  /** The first alone, since most images have no other, then twice as many at a time. */
  async *#carriedBy(
    listed: readonly Pick<Descriptor, 'digest'>[],
    isWanted: (mediaType: string) => boolean,
    { atOnce, most, ...bounds }: Bounds,
  ): AsyncGenerator<Attached> {
    const carriers = listed.slice(0, bounds.count);
    const left = { ...bounds };
    for (let from = 0; from < carriers.length && left.count > 0;) {
      const group = carriers.slice(from, from + Math.min(from + 1, atOnce));
      from += group.length;
      const found = await Promise.all(
        group.map(async ({ digest }) => this.#read(digest, { isWanted, most, left })),
      );
      yield* found.flat();
    }
  }

  async #read(manifest: Digest, { isWanted, most, left }: Wanted): Promise<readonly Attached[]> {
    const { attachments, target, reach } = this.#parts;
    const bytes = await this.#tried(async () => attachments.manifest(target, manifest, reach));
    const found: Attached[] = [];
    for (const part of (bytes && parsed(bytes)?.successors) ?? []) {
      if (!isWanted(part.mediaType) || part.size > most) continue;
      if ((left.count -= 1) < 0) break;
      if (part.size > LONG_BYTES && (left.bytes -= part.size) < 0) continue;
      const read = async () => attachments.blob(target, part, { reach, most });
      const payload = await this.#tried(read);
      if (payload) found.push({ manifest, signature: signatureOf(part, payload) });
    }
    return found;
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

/** The newest first, by its own word; what does not tell comes last. */
function byAge(one: Descriptor, other: Descriptor): number {
  return createdAt(other) - createdAt(one);
}

function createdAt({ annotations }: Descriptor): number {
  return Date.parse(annotations?.[CREATED] ?? '') || 0;
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
