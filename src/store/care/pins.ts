import PQueue from 'p-queue';
import type { Pin } from '../../api/store-api.ts';
import { findGlob, isGlob } from '../../config/glob.ts';
import type { Pattern } from '../../config/pattern.ts';
import type { Digest } from '../../oci/digest.ts';
import { formatImageName } from '../../oci/image-name.ts';
import { formatTarget, type Tag, type Target } from '../../oci/reference.ts';
import type { Catalog, PinChange } from '../catalog/catalog.ts';

/** A manifest as pins see it. */
export interface Pinnable {
  readonly target: Target;
  readonly digest: Digest;
  readonly tags: readonly Tag[];
}

/**
 * The images that are never evicted. A pin names a repository, a tag (whatever it means), a
 * digest, or is a glob of names or of `name:tag`.
 */
export class Pins {
  #version = 0;
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

  /** Whether one of them means more than can be looked up by its name. */
  get hasGlobs(): boolean {
    return this.#globs.size > 0;
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
      const reasons = new Map(before.map(({ image, reason }) => [image, reason]));
      const recorded = [...wanted.values()].filter(
        ({ image, reason }) => !reasons.has(image) || reasons.get(image) !== reason,
      );
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
