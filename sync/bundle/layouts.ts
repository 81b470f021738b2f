import { Readable } from 'node:stream';
import type { LayoutApi, LayoutReport, LayoutWish } from '../../src/api/layout-api.ts';
import { isGlob } from '../../src/config/glob.ts';
import type { Log } from '../../src/observe/log.ts';
import type { Descriptor } from '../../src/oci/descriptor.ts';
import { isDigest, type Digest } from '../../src/oci/digest.ts';
import { badRequest, RegistryError } from '../../src/oci/errors.ts';
import { ManifestError, parseManifest } from '../../src/oci/manifest.ts';
import { isManifestType, OCI_INDEX, OCI_MANIFEST } from '../../src/oci/media-types.ts';
import {
  DEFAULT_TAG,
  formatImageName,
  formatTarget,
  type Tag,
  type Target,
} from '../../src/oci/reference.ts';
import { NoRoomError, type Pins } from '../../src/store/care/care.ts';
import { findRefusal } from '../image-refusal.ts';
import type { SyncParts } from '../parts.ts';
import { BundleError } from './bundle-error.ts';
import { readDockerArchive } from './docker-archive.ts';
import { chooseImage, type LayoutImage } from './layout-choice.ts';
import { LayoutClosure, readManifest } from './layout-closure.ts';
import { LayoutFiles } from './layout-files.ts';
import { LayoutIntake, type LayoutIntakeParts } from './layout-intake.ts';
import { LayoutTar } from './layout-tar.ts';
import { recordBrought } from './record-brought.ts';
import { TEXTS } from './texts.ts';

export interface LayoutsParts extends LayoutIntakeParts {
  readonly pins: Pins;
  readonly refusal: SyncParts['refusal'];
  readonly isJudged: SyncParts['isJudged'];
  readonly log: Log;
  /** Throws a `RegistryError` for what is no image of this mirror. */
  readonly resolve: (image: string) => {
    readonly target: Target;
    readonly tag?: Tag;
    readonly digest?: Digest;
  };
}

/** What the image is to be here. */
interface Place {
  readonly target: Target;
  readonly tag?: Tag;
  readonly digest?: Digest;
  readonly name: string;
}

interface Came {
  readonly closure: LayoutClosure;
  readonly intake: LayoutIntake;
  /** Manifests of the image itself, without what is attached to it. */
  readonly own: readonly Digest[];
}

/** Uploads that are read at a time: each has a file open and some chunks in memory. */
const MAX_RUNNING = 4;
/** Where docker and containerd write the names of an image in an index. */
const NAMES = ['io.containerd.image.name', 'org.opencontainers.image.ref.name'];

/**
 * Takes in images that other tools wrote to files. Blobs come first, which no client sees; then all that
 * the image is made of is looked at; then manifests, the pin and the tag are written, in this order; of what
 * admission refuses the manifests alone. What a kill leaves is whole blobs that no manifest lists, which a second
 * import goes on with, or which are evicted like all of their kind.
 */
export class Layouts implements LayoutApi {
  readonly #parts: LayoutsParts;
  readonly #running = new Set<Promise<unknown>>();

  constructor(parts: LayoutsParts) {
    this.#parts = parts;
  }

  async importLayout(tar: AsyncIterable<Uint8Array>, wish: LayoutWish): Promise<LayoutReport> {
    const place = this.#place(wish.image);
    if (this.#running.size >= MAX_RUNNING) {
      const message = TEXTS.layoutBusy({ most: MAX_RUNNING });
      throw new RegistryError('TOOMANYREQUESTS', { message });
    }
    const stream = tar instanceof Readable ? tar : Readable.from(tar);
    const running = this.#run(stream, place, wish.ref);
    const ended = running.catch(() => undefined).finally(() => this.#running.delete(ended));
    this.#running.add(ended);
    try {
      return await running;
    } catch (error) {
      throw this.#refusalOf(error);
    }
  }

  /** Resolves when nothing runs any more; what runs ends with its connection. */
  async closed(): Promise<void> {
    await Promise.all(this.#running);
  }

  #place(image: string): Place {
    if (isGlob(image) || isDigest(image)) {
      const message = TEXTS.layoutNoImage({ image: JSON.stringify(image.slice(0, 255)) });
      throw badRequest(message);
    }
    const { target, digest, tag = digest ? undefined : DEFAULT_TAG } = this.#parts.resolve(image);
    const named = { ...(tag && { tag }), ...(digest && { digest }) };
    return { target, ...named, name: formatImageName({ name: formatTarget(target), ...named }) };
  }

  async #run(tar: Readable, place: Place, ref: string | undefined): Promise<LayoutReport> {
    const { step, log } = this.#parts;
    await using intake = new LayoutIntake(this.#parts);
    const files = await LayoutFiles.read(new LayoutTar(tar), intake);
    step('layout.taken');
    const closure = new LayoutClosure(intake);
    const { root, others, form } = await this.#find(files, intake, ref ?? place.digest);
    await closure.add(root);
    if (place.digest && place.digest !== root.digest) {
      const found = { digest: root.digest, wanted: place.digest };
      throw new BundleError('content', TEXTS.layoutOtherDigest(found));
    }
    const own = closure.manifests.map(({ digest }) => digest);
    const referrers = await addReferrers(closure, intake, others);
    for (const { digest } of closure.manifests) intake.keep(digest);
    for (const digest of closure.blobs) intake.keep(digest);
    const before = await this.#record(place, root.digest, { closure, intake, own });
    const report: LayoutReport = {
      image: place.name,
      digest: root.digest,
      mediaType: closure.manifests.find(({ digest }) => digest === root.digest)?.mediaType ?? '',
      form,
      ...(before !== undefined && { before }),
      platforms: closure.platforms,
      leftOut: closure.leftOut,
      referrers,
      ...intake.brought,
      skipped: files.skipped,
    };
    log.info({ ...report, leftOut: report.leftOut.length }, 'an image was imported');
    return report;
  }

  /** The manifest that is meant, and what else an index lists. */
  async #find(files: LayoutFiles, intake: LayoutIntake, ref: string | undefined) {
    const { index } = files;
    if (index) {
      const listed = readIndex(index);
      const images = await imagesOf(listed, intake);
      const { descriptor: root } = chooseImage(images, ref);
      return { root, others: listed, form: 'oci-layout' } as const;
    }
    if (files.manifest === undefined) throw new BundleError('format', TEXTS.layoutNone);
    const digest = await readDockerArchive(files, intake, ref);
    const root = { digest, mediaType: OCI_MANIFEST };
    return { root, others: [], form: 'docker-archive' } as const;
  }

  /** From here on clients see it. Resolves with what the tag meant before. */
  async #record(
    { target, tag, name }: Place,
    root: Digest,
    { closure, intake, own }: Came,
  ): Promise<Digest | undefined> {
    const { catalog, pins, now, step } = this.#parts;
    for (const found of closure.manifests) {
      const { digest } = found;
      const manifest = await readManifest(intake, found);
      const listed = manifest.successors.map((successor) => successor.digest);
      const proven = listed.filter((each) => intake.sizeOf(each) !== undefined);
      const size = intake.sizeOf(digest) ?? 0;
      await recordBrought(catalog, { target, digest, size, manifest, proven }, now());
      step('layout.recorded');
    }
    const refused = await findRefusal(this.#parts, { target, digest: root, files: own });
    if (refused !== undefined) {
      throw new BundleError('refused', TEXTS.layoutRefused({ image: name, reason: refused }));
    }
    const isPinned = pins.list().some((pin) => pin.origin === 'hand' && pin.image === name);
    const pin = { origin: 'hand', image: name, reason: TEXTS.layoutPinned, since: now() };
    if (!isPinned) await pins.add(pin);
    step('layout.pinned');
    if (tag === undefined) return undefined;
    const before = await catalog.findTag(target, tag);
    await catalog.setTags([{ target, tag, record: { digest: root, checkedAt: now() } }]);
    step('layout.tagged');
    return before?.digest;
  }

  #refusalOf(error: unknown): unknown {
    if (error instanceof BundleError) {
      const options = { status: 422, message: error.message, cause: error };
      return new RegistryError('UNSUPPORTED', options);
    }
    const isOfDisk = (error as NodeJS.ErrnoException).syscall !== undefined;
    if (!(error instanceof NoRoomError) && !isOfDisk) return error;
    this.#parts.health.refused(error);
    const message = TEXTS.layoutNotKept({ reason: (error as Error).message });
    return new RegistryError('UNAVAILABLE', { status: 507, message, cause: error });
  }
}

/** Throws a `BundleError`. */
function readIndex(bytes: Buffer): readonly Descriptor[] {
  try {
    return parseManifest(bytes, OCI_INDEX).successors;
  } catch (cause) {
    if (!(cause instanceof ManifestError)) throw cause;
    const reason = cause.message;
    throw new BundleError('format', TEXTS.layoutManifest({ digest: 'index.json', reason }), {
      cause,
    });
  }
}

/** Those of an index that are about none of its others. */
async function imagesOf(listed: readonly Descriptor[], intake: LayoutIntake) {
  const digests = new Set(listed.map(({ digest }) => digest));
  const images: (LayoutImage & { readonly descriptor: Descriptor })[] = [];
  for (const descriptor of listed) {
    const { digest, mediaType, annotations = {} } = descriptor;
    if (mediaType !== '' && !isManifestType(mediaType)) continue;
    const isHere = intake.sizeOf(digest) !== undefined;
    const subject = isHere ? (await readManifest(intake, descriptor)).subject : undefined;
    if (subject && digests.has(subject)) continue;
    const names = NAMES.flatMap((key) => annotations[key] ?? []);
    images.push({ digest, names, descriptor });
  }
  return images;
}

/** Resolves with how many manifests about the image came. */
async function addReferrers(
  closure: LayoutClosure,
  intake: LayoutIntake,
  listed: readonly Descriptor[],
): Promise<number> {
  let count = 0;
  for (const descriptor of listed) {
    const { digest, mediaType } = descriptor;
    const isOther = mediaType !== '' && !isManifestType(mediaType);
    if (isOther || closure.has(digest) || intake.sizeOf(digest) === undefined) continue;
    const { subject } = await readManifest(intake, descriptor);
    if (!subject || !closure.has(subject)) continue;
    await closure.add(descriptor);
    count += 1;
  }
  return count;
}
