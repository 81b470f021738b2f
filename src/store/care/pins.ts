import PQueue from 'p-queue';
import type { Pin } from '../../api/store-api.ts';
import { findGlob, isGlob } from '../../config/glob.ts';
import type { Pattern } from '../../config/pattern.ts';
import type { Digest } from '../../oci/digest.ts';
import {
  formatTarget,
  type Tag,
  type Target,
  formatImageName,
  splitTarget,
  parseImageName,
} from '../../oci/reference.ts';
import { type Catalog, type PinChange, unitOf, type Node } from '../catalog/catalog.ts';
import { TEXTS } from '../texts.ts';

/** A manifest as pins see it. */
export interface Pinnable {
  readonly target: Target;
  readonly digest: Digest;
  readonly tags: readonly Tag[];
}

type Keeper = (target: Target, digest: Digest) => Promise<string | undefined>;

/**
 * The images that are never evicted. A pin names a repository, a tag (whatever it means), a
 * digest, or is a glob of names or of `name:tag`.
 */
export class Pins {
  #version = 0;
  #keeper: Keeper | undefined;
  readonly #catalog: Catalog;
  readonly #byImage = new Map<string, Pin[]>();
  readonly #globs = new Map<string, Pattern>();
  /** Changes come one at a time: of two lists of one origin, one stands as a whole. */
  readonly #queue = new PQueue({ concurrency: 1 });

  /** Configured pins stand beside those that the catalog keeps. */
  static async open(parts: { catalog: Catalog; configured: readonly Pin[] }): Promise<Pins> {
    const pins = new Pins(parts.catalog);
    const kept = await parts.catalog.listPins();
    for (const pin of [...parts.configured, ...kept]) pins.#add(pin);
    return pins;
  }

  constructor(catalog: Catalog) {
    this.#catalog = catalog;
  }

  /** Changes with what is pinned. */
  get version(): number {
    return this.#version;
  }

  list(): Pin[] {
    return [...this.#byImage.values()].flat();
  }

  /** Whether more must stay than can be looked up by the names of pins. */
  get meansMore(): boolean {
    return this.#globs.size > 0 || this.#keeper !== undefined;
  }

  /** Asked from now on why an image must stay that no pin means. */
  keepAlso(why: Keeper | undefined): void {
    this.#version += 1;
    this.#keeper = why;
  }

  /** Why an image must stay that no pin means, where somebody says so. */
  async whyKept({ target, digest }: Node): Promise<string | undefined> {
    return this.#keeper?.(target, digest);
  }

  /** These of the configuration, in place of those before; nothing is written. */
  configure(pins: readonly Pin[]): void {
    const [{ origin } = { origin: 'config' }] = pins;
    for (const pin of this.list()) if (pin.origin === origin) this.#drop(pin);
    for (const pin of pins) this.#add(pin);
  }

  async add(pin: Pin): Promise<void> {
    await this.#queue.add(async () => this.#change({ recorded: [pin] }));
  }

  /** False when there was no such pin. */
  async remove({ origin, image }: Pick<Pin, 'origin' | 'image'>): Promise<boolean> {
    return this.#queue.add(async () => {
      const isThere = this.#byImage.get(image)?.some((pin) => pin.origin === origin) === true;
      await this.#change({ forgotten: [{ origin, image }] });
      return isThere;
    });
  }

  /**
   * All that one origin pins, in place of what it pinned before, in one write; with `isAdded`, beside
   * what it pinned before.
   */
  async replace(origin: string, pins: readonly Pin[], { isAdded = false } = {}): Promise<void> {
    await this.#queue.add(async () => {
      const wanted = new Map(pins.map((pin) => [pin.image, pin]));
      const before = this.list().filter((pin) => pin.origin === origin);
      const known = new Map(before.map((pin) => [pin.image, aboutOf(pin)]));
      const recorded = [...wanted.values()].filter((pin) => known.get(pin.image) !== aboutOf(pin));
      const forgotten = isAdded ? [] : before.filter(({ image }) => !wanted.has(image));
      await this.#change({ recorded, forgotten });
    });
  }

  async #change({ recorded = [], forgotten = [] }: PinChange): Promise<void> {
    if (recorded.length === 0 && forgotten.length === 0) return;
    await this.#catalog.changePins({ recorded, forgotten });
    for (const pin of [...recorded, ...forgotten]) this.#drop(pin);
    for (const pin of recorded) this.#add(pin);
  }

  /** The pins that mean this manifest. */
  of({ target, digest, tags }: Pinnable): Pin[] {
    const name = formatTarget(target);
    const named = [
      name,
      formatImageName({ name, digest }),
      ...tags.map((tag) => formatImageName({ name, tag })),
    ];
    const exact = named.flatMap((image) => this.#byImage.get(image) ?? []);
    if (this.#globs.size === 0) return exact;
    const globbed = [...this.#globs].filter(([, glob]) => named.some((each) => glob.matches(each)));
    return [...exact, ...globbed.flatMap(([image]) => this.#byImage.get(image) ?? [])];
  }

  #add(pin: Pin): void {
    this.#version += 1;
    this.#byImage.set(pin.image, [...(this.#byImage.get(pin.image) ?? []), pin]);
    const glob = isGlob(pin.image) ? findGlob(pin.image) : undefined;
    if (glob) this.#globs.set(pin.image, glob);
  }

  #drop({ origin, image }: Pick<Pin, 'origin' | 'image'>): void {
    this.#version += 1;
    const before = this.#byImage.get(image) ?? [];
    const after = before.filter((pin) => pin.origin !== origin);
    if (after.length > 0) this.#byImage.set(image, after);
    else {
      this.#byImage.delete(image);
      this.#globs.delete(image);
    }
  }
}

/** What of a pin is more than its name and its age. */
function aboutOf({ reason, tags }: Pin): string {
  return JSON.stringify([reason, tags]);
}

/**
 * Which held manifests the pins mean that name one image, with all that these are part of. A pin is
 * looked up when it is new, and again when manifests or tags of its repository changed; an eviction
 * changes nothing of it, since what is pinned is not evicted.
 */
export class PinSurvey {
  readonly #catalog: Catalog;
  readonly #pins: Pins;
  /** By repository. */
  #named = new Map<string, readonly Pin[]>();
  /** Why each image stays, by repository. */
  readonly #reasons = new Map<string, ReadonlyMap<string, string>>();
  /** Repositories with pins that are to be looked up. */
  readonly #changed = new Set<string>();
  #version = -1;
  #looking: Promise<void> = Promise.resolve();

  constructor({ catalog, pins }: { catalog: Catalog; pins: Pins }) {
    this.#catalog = catalog;
    this.#pins = pins;
    catalog.watch((target) => {
      const name = formatTarget(target);
      if (this.#named.has(name)) this.#changed.add(name);
    });
  }

  /** Why a unit stays, as the last `refresh` found. */
  reasonFor(unit: string): string | undefined {
    return this.#reasons.get(unit.slice(0, unit.lastIndexOf(' ')))?.get(unit);
  }

  /** Looks up what changed. */
  async refresh(): Promise<void> {
    this.#looking = this.#looking.catch(() => undefined).then(async () => this.#look());
    return this.#looking;
  }

  async #look(): Promise<void> {
    this.#compareNames();
    for (const name of this.#changed) {
      // What changes from here on is looked up the next time.
      this.#changed.delete(name);
      try {
        const reasons = await this.#lookUp(this.#named.get(name) ?? []);
        if (reasons.size > 0) this.#reasons.set(name, reasons);
        else this.#reasons.delete(name);
      } catch (error) {
        this.#changed.add(name);
        throw error;
      }
    }
  }

  #compareNames(): void {
    if (this.#version === this.#pins.version) return;
    this.#version = this.#pins.version;
    const before = this.#named;
    const names = this.#pins.list().filter(({ image }) => !isGlob(image));
    this.#named = Map.groupBy(names, ({ image }) => parseImageName(image).name);
    for (const name of new Set([...before.keys(), ...this.#named.keys()])) {
      if (!isSame(before.get(name), this.#named.get(name))) this.#changed.add(name);
    }
  }

  /** A pin of one platform, or of a signature, protects the whole image. */
  async #lookUp(pins: readonly Pin[]): Promise<Map<string, string>> {
    const reasons = new Map<string, string>();
    for (const pin of pins) {
      const node = await this.#resolve(pin.image);
      if (!node) continue;
      for (const digest of await this.#catalog.ancestors(node)) {
        const unit = unitOf(node.target, digest);
        if (!reasons.has(unit)) reasons.set(unit, describePin(pin));
      }
    }
    return reasons;
  }

  /** What `name:tag` or `name@digest` means now, where it is held. */
  async #resolve(image: string): Promise<Node | undefined> {
    const { name, tag, digest } = parseImageName(image);
    const target = splitTarget(name);
    if (digest) {
      const node = { target, digest };
      return (await this.#catalog.isHeld(node)) ? node : undefined;
    }
    const record = tag && (await this.#catalog.findTag(target, tag));
    return record && { target, digest: record.digest };
  }
}

function isSame(before: readonly Pin[] = [], after: readonly Pin[] = []): boolean {
  return (
    before.length === after.length &&
    before.every(
      ({ image, origin, reason }, n) =>
        image === after[n]?.image && origin === after[n].origin && reason === after[n].reason,
    )
  );
}

export function describePin({ origin, reason }: Pin): string {
  return reason === undefined ? TEXTS.pinned({ origin }) : TEXTS.pinnedFor({ origin, reason });
}
