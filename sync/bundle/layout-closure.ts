import type { LayoutReport } from '../../src/api/layout-api.ts';
import { formatPlatform, type Descriptor } from '../../src/oci/descriptor.ts';
import type { Digest } from '../../src/oci/digest.ts';
import {
  MAX_MANIFEST_BYTES,
  ManifestError,
  parseManifest,
  type Manifest,
} from '../../src/oci/manifest.ts';
import { isForeignType, isManifestType } from '../../src/oci/media-types.ts';
import { BundleError } from './bundle-error.ts';
import { parseDocument } from './layout-files.ts';
import type { LayoutIntake } from './layout-intake.ts';
import { TEXTS } from './texts.ts';

/** An index of indexes is known in the field, and no more. */
const MAX_DEPTH = 4;
/** How BuildKit marks what is no platform of an index. */
const ATTESTATION = 'vnd.docker.reference.type';

/** A manifest of an image that came whole. */
export interface FoundManifest {
  readonly digest: Digest;
  /** What whoever lists it says that it is. */
  readonly mediaType: string;
}

/**
 * What of an image came, from its root down: all of a manifest, and of an index what came whole, one
 * platform at least. One manifest is in memory on each floor.
 */
export class LayoutClosure {
  readonly #intake: LayoutIntake;
  readonly #manifests = new Map<Digest, FoundManifest>();
  readonly #blobs = new Set<Digest>();
  readonly #platforms = new Set<string>();
  readonly #leftOut = new Map<Digest, LayoutReport['leftOut'][number]>();

  constructor(intake: LayoutIntake) {
    this.#intake = intake;
  }

  /** What others are made of comes before them. */
  get manifests(): readonly FoundManifest[] {
    return [...this.#manifests.values()];
  }

  has(digest: Digest): boolean {
    return this.#manifests.has(digest);
  }

  /** Of the manifests, what they list and came. */
  get blobs(): Iterable<Digest> {
    return this.#blobs;
  }

  get platforms(): readonly string[] {
    return [...this.#platforms].toSorted();
  }

  get leftOut(): LayoutReport['leftOut'] {
    return [...this.#leftOut.values()];
  }

  /** Adds an image with all below it. Throws a `BundleError` that names what is missing or wrong. */
  async add(root: FoundManifest & { readonly size?: number }): Promise<void> {
    const { digest, size } = root;
    if (size !== undefined) this.#came({ digest, size });
    const missing = await this.#visit(root, 1);
    if (missing) throw new BundleError('content', TEXTS.layoutMissing({ digest: missing }));
  }

  /** Resolves with a digest that is missing; then nothing of this manifest counts. */
  async #visit({ digest, mediaType }: FoundManifest, depth: number): Promise<Digest | undefined> {
    if (this.#manifests.has(digest)) return undefined;
    if (depth > MAX_DEPTH) throw new BundleError('format', TEXTS.layoutDepth({ most: MAX_DEPTH }));
    if (this.#intake.sizeOf(digest) === undefined) return digest;
    const manifest = await readManifest(this.#intake, { digest, mediaType });
    const children = manifest.successors.filter((each) => isManifestType(each.mediaType));
    const blobs = manifest.successors.filter((each) => !isManifestType(each.mediaType));
    const missing = blobs.find((each) => !this.#came(each) && !isForeignType(each.mediaType));
    if (missing) return missing.digest;
    const lacking = await this.#visitChildren(children, depth);
    if (lacking) return lacking;
    for (const blob of blobs) if (this.#came(blob)) this.#blobs.add(blob.digest);
    this.#manifests.set(digest, { digest, mediaType: manifest.mediaType });
    if (children.length === 0) await this.#lookAtConfig(blobs[0]);
    return undefined;
  }

  async #visitChildren(
    children: readonly Descriptor[],
    depth: number,
  ): Promise<Digest | undefined> {
    let [first, isAny]: [Digest | undefined, boolean] = [undefined, children.length === 0];
    const whole = [];
    for (const child of children) {
      const { digest, platform } = child;
      const missing = this.#came(child) ? await this.#visit(child, depth + 1) : digest;
      first ??= missing;
      if (missing === undefined) whole.push(child);
      else {
        const told = platform && formatPlatform(platform);
        this.#leftOut.set(digest, { digest, ...(told !== undefined && { platform: told }) });
      }
    }
    isAny ||= whole.some((child) => !isAttestation(child));
    return isAny ? undefined : first;
  }

  /** Throws when another size is listed than came. */
  #came({ digest, size }: Pick<Descriptor, 'digest' | 'size'>): boolean {
    const actual = this.#intake.sizeOf(digest);
    if (actual === undefined || actual === size) return actual !== undefined;
    throw new BundleError('content', TEXTS.layoutListed({ digest, listed: size, actual }));
  }

  /** Of an image of one platform, which its config tells. */
  async #lookAtConfig(config: Descriptor | undefined): Promise<void> {
    if (!config || !IMAGE_CONFIG.test(config.mediaType)) return;
    if (config.size > MAX_MANIFEST_BYTES) return;
    const document = parseDocument(config.digest, await this.#intake.read(config.digest));
    const { os, architecture, variant } = (document ?? {}) as Record<string, unknown>;
    if (typeof os !== 'string' || typeof architecture !== 'string') return;
    const own = typeof variant === 'string' && variant !== '' && { variant };
    this.#platforms.add(formatPlatform({ os, architecture, ...own }));
  }
}

const IMAGE_CONFIG =
  /^application\/vnd\.(?:oci\.image\.config|docker\.container\.image)\.v1\+json$/;

/** Of what came. Throws a `BundleError` for what is no manifest. */
export async function readManifest(
  intake: LayoutIntake,
  { digest, mediaType }: FoundManifest,
): Promise<Manifest> {
  const size = intake.sizeOf(digest) ?? 0;
  try {
    if (size > MAX_MANIFEST_BYTES) {
      throw new BundleError(
        'format',
        TEXTS.layoutDocument({ name: digest, most: MAX_MANIFEST_BYTES }),
      );
    }
    return parseManifest(await intake.read(digest), mediaType);
  } catch (cause) {
    if (!(cause instanceof ManifestError)) throw cause;
    const { message: reason } = cause;
    throw new BundleError('format', TEXTS.layoutManifest({ digest, reason }), { cause });
  }
}

function isAttestation({ annotations, platform }: Descriptor): boolean {
  return annotations?.[ATTESTATION] !== undefined || platform?.os === 'unknown';
}
