import type { HeldBlob, ImageSummary, ManifestReport, MissingBlob } from '../../api/store-api.ts';
import { findGlob, isGlob } from '../../config/glob.ts';
import type { Digest } from '../../oci/digest.ts';
import { isForeignType, isManifestType } from '../../oci/media-types.ts';
import { formatTarget, splitTarget, parseImageName, type Target } from '../../oci/reference.ts';
import type { BlobStore } from '../files/blob-store.ts';
import {
  unitOf,
  type BlobRecord,
  type Catalog,
  type Member,
  type Node,
} from '../catalog/catalog.ts';
import type { Pins } from './pins.ts';

interface Place {
  readonly role: ManifestReport['role'];
  readonly isWanted?: boolean;
  /** A referrer, or a part of one: the image is whole without it. */
  readonly isAttached?: boolean;
  /** Whether it is on record as a manifest of the repository, where that is known. */
  readonly isRecorded?: boolean;
}

interface Found {
  readonly manifests: ManifestReport[];
  /** Held bytes by digest: what is listed twice counts once. */
  readonly held: Map<Digest, number>;
  readonly missing: Map<Digest, number>;
  /** The same of what is attached, some of which the image may lack itself. */
  readonly attachedMissing: Map<Digest, number>;
  /** What is on record counts only with its file. */
  readonly isExact: boolean;
}

/** What is held, image by image, from a walk of what is really there. */
export class Inventory {
  readonly #catalog: Catalog;
  readonly #blobs: BlobStore;
  readonly #pins: Pins;
  readonly #now: () => number;

  constructor(parts: { catalog: Catalog; blobs: BlobStore; pins: Pins; now: () => number }) {
    this.#now = parts.now;
    this.#blobs = parts.blobs;
    this.#catalog = parts.catalog;
    this.#pins = parts.pins;
  }

  /** Roots: manifests that no other held one lists, and that are no signature of one. */
  async *images(): AsyncGenerator<Node> {
    const catalog = this.#catalog;
    for await (const node of catalog.manifests()) {
      if (!(await catalog.isRoot(node))) continue;
      if ((await catalog.attachedTo(node)).length === 0) yield node;
    }
  }

  async describe(node: Node): Promise<ImageSummary> {
    return this.#summarise(node, await this.#walk(node, { isExact: false }));
  }

  /** Like `describe`, but looks at every file. */
  async explain(node: Node): Promise<ImageSummary & { manifests: readonly ManifestReport[] }> {
    const found = await this.#walk(node, { isExact: true });
    return { ...(await this.#summarise(node, found)), manifests: found.manifests };
  }

  /** Which of the images something is held of; images are written as pins are. */
  async findHeld(images: readonly string[]): Promise<ReadonlySet<string>> {
    const held = new Set<string>();
    for (const image of images) {
      if (!isGlob(image) && (await isHeld(this.#catalog, image))) held.add(image);
    }
    await matchGlobs(this.#catalog, images.filter(isGlob), held);
    return held;
  }

  async #summarise(
    node: Node,
    { held, missing, attachedMissing, manifests }: Found,
  ): Promise<ImageSummary> {
    const { target, digest } = node;
    const catalog = this.#catalog;
    const unit = unitOf(target, digest);
    const tags = await catalog.tagsOf(node);
    const attached = [...attachedMissing].filter(([digest]) => !missing.has(digest));
    const { bytes: ownBytes } = await this.#catalog.planEvictions()(unit);
    return {
      image: formatTarget(target),
      tags,
      digest,
      mediaType: manifests[0]?.mediaType ?? '',
      bytes: sum(held),
      ownBytes,
      // What a clock that ran ahead has stamped is shown as of now.
      lastPulledAt: Math.min((await catalog.lastPull(unit)) ?? 0, this.#now()),
      pulls: await catalog.countPulls(node),
      state: missing.size === 0 ? 'complete' : 'partial',
      missingBytes: sum(missing),
      ...arrivedOf(this.#arrived([...missing.keys()], target)),
      ...(attached.length > 0 && { attachedMissingBytes: sum(new Map(attached)) }),
      pins: this.#pins.of({ target, digest, tags }),
    };
  }

  async #walk(node: Node, { isExact }: Pick<Found, 'isExact'>): Promise<Found> {
    const found: Found = {
      manifests: [],
      held: new Map(),
      missing: new Map(),
      attachedMissing: new Map(),
      isExact,
    };
    const record = await this.#catalog.findManifest(node.target, node.digest);
    const mediaType = record?.mediaType ?? '';
    await this.#visit(node, { digest: node.digest, size: record?.size ?? 0, mediaType }, found);
    return found;
  }

  async #visit(
    root: Node,
    member: Member,
    found: Found,
    { role, isWanted: isAsked = true, isAttached = false, isRecorded }: Place = { role: 'root' },
  ): Promise<void> {
    const { target } = root;
    const { digest } = member;
    if (found.manifests.some((known) => known.digest === digest)) return;
    const node = { target, digest };
    const catalog = this.#catalog;
    const [file] = await this.#find([digest], found);
    const isHeld = file !== undefined && (isRecorded ?? (await catalog.isHeld(node)));
    const successors = isHeld ? ((await catalog.members(digest))?.successors ?? []) : [];
    const blobs = successors.filter(({ mediaType }) => !isManifestType(mediaType));
    const isWanted = isHeld || isAsked;
    const missing = isAttached ? found.attachedMissing : found.missing;
    const own = isWanted
      ? await this.#count([member, ...blobs], { ...found, missing }, target)
      : NOTHING;
    const { mediaType, platform } = member;
    const described = platform === undefined ? { mediaType } : { mediaType, platform };
    found.manifests.push({ digest, role, isHeld, isWanted, ...described, ...own });
    await this.#visitChildren(root, successors, { found, isAttached });
    if (isHeld) await this.#visitReferrers(root, node, found);
  }

  /** A platform is wanted when it is held; of an index with none, nobody knows, so all are. */
  async #visitChildren(
    root: Node,
    successors: readonly Member[],
    { found, isAttached }: { readonly found: Found; readonly isAttached: boolean },
  ): Promise<void> {
    const children = successors.filter(({ mediaType }) => isManifestType(mediaType));
    const digests = children.map(({ digest }) => digest);
    const held = new Set(await this.#catalog.heldOf(root.target, digests));
    for (const child of children) {
      const isRecorded = held.has(child.digest);
      const isAbout = child.attests !== undefined;
      if (isAbout && !isRecorded && !held.has(child.attests)) continue;
      const place: Place = isAbout
        ? { role: 'attestation', isAttached, isRecorded }
        : { role: 'platform', isWanted: held.size === 0, isAttached, isRecorded };
      await this.#visit(root, child, found, place);
    }
  }

  async #visitReferrers(root: Node, node: Node, found: Found): Promise<void> {
    for await (const digest of this.#catalog.referrers(node)) {
      const record = await this.#catalog.findManifest(root.target, digest);
      const { mediaType = '', size = 0 } = record ?? {};
      const place: Place = { role: 'referrer', isAttached: true };
      await this.#visit(root, { digest, size, mediaType }, found, place);
    }
  }

  async #count(
    members: readonly Member[],
    found: Found,
    target: Target,
  ): Promise<Pick<ManifestReport, 'bytes' | 'held' | 'missing'>> {
    const held: HeldBlob[] = [];
    const missing: MissingBlob[] = [];
    let bytes = 0;
    const records = await this.#find(
      members.map(({ digest }) => digest),
      found,
    );
    for (const [place, { digest, size, mediaType }] of members.entries()) {
      const record = records[place];
      if (record) {
        bytes += record.size;
        held.push({ digest, ...describeOrigin(record) });
        found.held.set(digest, record.size);
      } else if (!isForeignType(mediaType)) {
        missing.push({ digest, size, ...arrivedOf(this.#arrived([digest], target)) });
        found.missing.set(digest, size);
      }
    }
    return { bytes, held, missing };
  }

  /** Bytes of blobs that are not held, from the upstream that would bring the rest. */
  #arrived(digests: readonly Digest[], { upstream }: Target): number {
    const bytes = digests.map((digest) => this.#blobs.aside.arrivedBytes(digest, upstream));
    return bytes.reduce((total, each) => total + each, 0);
  }

  async #find(digests: readonly Digest[], { isExact }: Found): Promise<(BlobRecord | undefined)[]> {
    const records = await this.#catalog.findBlobs(digests);
    if (!isExact) return records;
    const found: (BlobRecord | undefined)[] = [];
    for (const [place, digest] of digests.entries()) {
      const record = records[place];
      const file = record && (await this.#blobs.statBlob(digest));
      found.push(file?.size === record?.size ? record : undefined);
    }
    return found;
  }
}

function arrivedOf(arrivedBytes: number): { arrivedBytes?: number } {
  return arrivedBytes === 0 ? {} : { arrivedBytes };
}

const NOTHING = { bytes: 0, held: [], missing: [] };

/** What a bundle or a layout brought came from there, whosever it is. */
function describeOrigin({ size, storedAt, ...from }: BlobRecord): Omit<HeldBlob, 'digest'> {
  const { upstream, bundle, layout } = from;
  const known = { size, storedAt };
  if (layout) return { ...known, layout };
  if (bundle === undefined) return { ...known, ...(upstream !== undefined && { upstream }) };
  const [series = '', number] = bundle.split(' ');
  return { ...known, bundle: { series, number: Number(number) } };
}

function sum(sizes: ReadonlyMap<Digest, number>): number {
  return [...sizes.values()].reduce((total, size) => total + size, 0);
}

async function isHeld(catalog: Catalog, image: string): Promise<boolean> {
  const { name, tag, digest } = parseImageName(image);
  const target = splitTarget(name);
  if (digest !== undefined) return catalog.isHeld({ target, digest });
  if (tag !== undefined) return (await catalog.findTag(target, tag)) !== undefined;
  return catalog.hasManifests(target);
}

/** One walk over the names for all globs, which ends when each of them has met something. */
async function matchGlobs(
  catalog: Catalog,
  globs: readonly string[],
  held: Set<string>,
): Promise<void> {
  const open = new Map(globs.map((glob) => [glob, findGlob(glob)]));
  if (open.size === 0) return;
  for await (const names of namesIn(catalog)) {
    for (const [glob, pattern] of open) {
      if (!names.some((name) => pattern?.matches(name))) continue;
      held.add(glob);
      open.delete(glob);
    }
    if (open.size === 0) return;
  }
}

async function* namesIn(catalog: Catalog): AsyncGenerator<string[]> {
  for await (const { target, tag } of catalog.tags()) {
    const name = formatTarget(target);
    yield [name, `${name}:${tag}`];
  }
  for await (const { target, digest } of catalog.manifests()) {
    const name = formatTarget(target);
    yield [name, `${name}@${digest}`];
  }
}
