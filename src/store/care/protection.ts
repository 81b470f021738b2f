import type { Digest } from '../../oci/digest.ts';
import { formatTarget, isSameTarget } from '../../oci/reference.ts';
import type { BlobStore } from '../files/blob-store.ts';
import { nodeOf, unitOf, type Catalog, type Node } from '../catalog/catalog.ts';
import { TEXTS } from '../texts.ts';
import { type Pins, describePin, type PinSurvey } from './pins.ts';

/** A busy blob that more manifests list protects itself and no image. */
const MAX_HOLDERS = 32;

export interface ProtectionParts {
  readonly catalog: Catalog;
  readonly blobs: BlobStore;
  readonly pins: Pins;
  readonly survey: PinSurvey;
}

/** What may not be evicted during one walk over the images, and why. */
export class Protection {
  readonly #catalog: Catalog;
  readonly #blobs: BlobStore;
  readonly #pins: Pins;
  readonly #survey: PinSurvey;
  /** What is being pulled, as it was when the walk began. */
  readonly #busy = new Set<string>();

  static async begin(parts: ProtectionParts): Promise<Protection> {
    const protection = new Protection(parts);
    await parts.survey.refresh();
    for (const digest of parts.blobs.openFiles.digests()) await protection.#addBusy(digest);
    return protection;
  }

  constructor(parts: ProtectionParts) {
    this.#catalog = parts.catalog;
    this.#blobs = parts.blobs;
    this.#pins = parts.pins;
    this.#survey = parts.survey;
  }

  /** Why a unit stays, as far as that is known without a look at the catalog. */
  knownReasonFor(unit: string): string | undefined {
    return this.#survey.reasonFor(unit) ?? (this.#busy.has(unit) ? TEXTS.pulled : undefined);
  }

  /** Why a unit stays; `undefined` when it may be evicted. `evicted`: units that count as evicted. */
  async reasonFor(unit: string, evicted: ReadonlySet<string>): Promise<string | undefined> {
    const node = nodeOf(unit);
    if (!node) return this.#reasonForBlob(unit as Digest);
    const catalog = this.#catalog;
    const known = this.knownReasonFor(unit);
    if (known !== undefined) return known;
    const isThere = (digest: Digest): boolean => !evicted.has(unitOf(node.target, digest));
    if ((await catalog.parents(node)).some(isThere)) return TEXTS.part;
    for (const subject of (await catalog.attachedTo(node)).filter(isThere)) {
      const above = await catalog.ancestors({ ...node, digest: subject });
      // Two manifests that are about each other are evicted as any other image is.
      if (above.includes(node.digest)) continue;
      for (const digest of above) {
        const about = unitOf(node.target, digest);
        const reason = this.knownReasonFor(about) ?? (await this.#pinOf({ ...node, digest }));
        if (reason !== undefined) return TEXTS.belongsTo({ digest, reason });
      }
      return TEXTS.part;
    }
    return this.#pinOfImage(node);
  }

  /** Why the very same manifest stays in another repository; `undefined` when it may be evicted there too. */
  async reasonElsewhere(
    { target, digest }: Node,
    evicted: ReadonlySet<string>,
  ): Promise<string | undefined> {
    const catalog = this.#catalog;
    for await (const holder of catalog.holders(digest)) {
      if (isSameTarget(holder.target, target)) continue;
      for (const above of await catalog.ancestors({ ...holder, digest })) {
        const reason = await this.reasonFor(unitOf(holder.target, above), evicted);
        if (reason === undefined || reason === TEXTS.part) continue;
        return TEXTS.freesNothing({ repository: formatTarget(holder.target), reason });
      }
    }
    return undefined;
  }

  /** Pins that were resolved are among the reasons; a glob may mean any manifest of the image. */
  async #pinOfImage(node: Node): Promise<string | undefined> {
    const members = this.#pins.meansMore ? await this.#catalog.below(node) : [node.digest];
    for (const digest of members) {
      const pin = await this.#pinOf({ ...node, digest });
      if (pin !== undefined) return pin;
    }
    return undefined;
  }

  async #reasonForBlob(digest: Digest): Promise<string | undefined> {
    if (this.#blobs.isBusy(digest)) return TEXTS.pulled;
    // A manifest that was stored later lists the blob: it is no unit of its own any more.
    for await (const _ of this.#catalog.holders(digest)) return TEXTS.part;
    return undefined;
  }

  async #pinOf(node: Node): Promise<string | undefined> {
    const [pin] = this.#pins.of({ ...node, tags: await this.#catalog.tagsOf(node) });
    return pin ? describePin(pin) : this.#pins.whyKept(node);
  }

  async #addBusy(digest: Digest): Promise<void> {
    const catalog = this.#catalog;
    const holders: Node[] = [];
    for await (const { target, digest: holder } of catalog.holders(digest)) {
      if (holders.push({ target, digest: holder }) > MAX_HOLDERS) return;
    }
    const latest = await mostRecent(this.#catalog, holders);
    if (!latest) return;
    for (const each of await catalog.ancestors(latest)) this.#busy.add(unitOf(latest.target, each));
  }
}

async function mostRecent(catalog: Catalog, nodes: readonly Node[]): Promise<Node | undefined> {
  if (nodes.length < 2) return nodes[0];
  const times = await catalog.lastPulls(nodes.map(({ target, digest }) => unitOf(target, digest)));
  return nodes[times.indexOf(Math.max(...times))];
}
