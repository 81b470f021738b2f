import type { Pin } from '../../api/store-api.ts';
import { isGlob } from '../../config/glob.ts';
import { parseImageName } from '../../oci/image-name.ts';
import { formatTarget, splitTarget } from '../../oci/reference.ts';
import { unitOf, type Catalog, type Node } from '../catalog/catalog.ts';
import { TEXTS } from '../texts.ts';
import type { Pins } from './pins.ts';

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
  /** By repository, for each unit that stays. */
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
