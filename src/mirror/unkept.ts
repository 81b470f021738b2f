import { weightOf, type Descriptor } from '../oci/descriptor.ts';
import type { Digest } from '../oci/digest.ts';
import { formatTarget, type Tag, type Target } from '../oci/reference.ts';
import type { Clock } from '../time/clock.ts';
import { ExpiringMap } from '../time/expiring-map.ts';
import type { Manifest } from '../oci/manifest.ts';
import type { ManifestBody } from '../upstream/upstream.ts';

interface UnkeptManifest {
  readonly of: string;
  readonly digest: Digest;
  readonly bytes: Buffer;
  readonly manifest: Manifest;
}

const MANIFESTS = { max: 1_000, maxBytes: 32 * 2 ** 20 };
const MAX_TAGS = 1_000;
const BLOBS = { max: 1_000, maxBytes: 32 * 2 ** 20 };
/** A pull of a large image by a slow link. */
const UNKEPT_MS = 3_600_000;

/**
 * What was fetched and the disk did not take, in memory for an hour: manifests, and what tells whether they may
 * leave. Without them nobody would know which image a blob is of, and each blob would be judged from the start.
 */
export class Unkept {
  readonly #manifests: ExpiringMap<string, UnkeptManifest>;
  readonly #tags: ExpiringMap<string, Digest>;
  readonly #blobs: ExpiringMap<Digest, Buffer>;

  constructor({ clock }: { readonly clock: Clock }) {
    this.#manifests = new ExpiringMap({ ...MANIFESTS, clock });
    this.#tags = new ExpiringMap({ max: MAX_TAGS, clock });
    this.#blobs = new ExpiringMap({ ...BLOBS, clock });
  }

  addManifest(target: Target, { digest, bytes, manifest }: ManifestBody): void {
    const of = formatTarget(target);
    let weight = bytes.length;
    for (const each of manifest.successors) weight += weightOf(each);
    this.#manifests.set(`${of} ${digest}`, { of, digest, bytes, manifest }, UNKEPT_MS, weight);
  }

  /** It is held now: what becomes of it there counts. */
  forgetManifest(target: Target, digest: Digest): void {
    this.#manifests.delete(`${formatTarget(target)} ${digest}`);
  }

  manifest(target: Target, digest: Digest): Buffer | undefined {
    return this.#manifests.get(`${formatTarget(target)} ${digest}`)?.bytes;
  }

  /** Everything that the manifest needs, whichever repository it is of. */
  successors(digest: Digest): readonly Descriptor[] | undefined {
    return this.#manifests.values().find((each) => each.digest === digest)?.manifest.successors;
  }

  /** Manifests of the repository that list such a part. */
  *holders(target: Target, isIt: (part: Descriptor) => boolean): Generator<Digest> {
    for (const { digest, manifest } of this.#in(target)) {
      if (manifest.successors.some(isIt)) yield digest;
    }
  }

  /** Those of the repository whose subject is the digest. */
  *referrers(target: Target, subject: Digest): Generator<Descriptor> {
    for (const { digest, bytes, manifest } of this.#in(target)) {
      if (manifest.subject !== subject) continue;
      const { mediaType, artifactType, annotations } = manifest;
      const size = bytes.length;
      yield {
        digest,
        size,
        mediaType,
        ...(artifactType !== undefined && { artifactType }),
        ...(annotations && { annotations }),
      };
    }
  }

  /** The tag means this manifest, if that is one of these. */
  addTag(target: Target, tag: Tag, digest: Digest): void {
    if (!this.manifest(target, digest)) return;
    this.#tags.set(`${formatTarget(target)} ${tag}`, digest, UNKEPT_MS);
  }

  tagged(target: Target, tag: Tag): Digest | undefined {
    const digest = this.#tags.get(`${formatTarget(target)} ${tag}`);
    return digest && this.manifest(target, digest) ? digest : undefined;
  }

  addBlob(digest: Digest, bytes: Buffer): void {
    this.#blobs.set(digest, bytes, UNKEPT_MS, bytes.length + 1);
  }

  blob(digest: Digest): Buffer | undefined {
    return this.#blobs.get(digest);
  }

  *#in(target: Target): Generator<UnkeptManifest> {
    const of = formatTarget(target);
    for (const each of this.#manifests.values()) if (each.of === of) yield each;
  }
}
