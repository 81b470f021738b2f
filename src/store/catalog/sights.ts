import type { Batch, Tables } from './tables.ts';

/** Manifests that are not held and whose first sight is known. */
const MAX_SIGHTS = 50_000;
/** In the meta table. */
const NEXT_SLOT = 'exits';

export interface Sight {
  readonly unit: string;
  readonly at: number;
}

/**
 * When manifests that are not held were first seen. They leave one after the other, each into a slot of its own;
 * of 50,000 slots the one that was filled first is used again, so that no clock decides what is forgotten.
 */
export class Sights {
  readonly #tables: Tables;
  readonly #max: number;

  constructor(tables: Tables, max = MAX_SIGHTS) {
    this.#tables = tables;
    this.#max = max;
  }

  async find(unit: string): Promise<number | undefined> {
    return (await this.#tables.sights.get(unit))?.at;
  }

  /** What a batch has to write when these leave. Writes come one at a time. */
  async leave(sights: readonly Sight[]): Promise<(batch: Batch) => void> {
    const { sights: sublevel, exits, meta } = this.#tables;
    if (sights.length === 0) return () => undefined;
    const next = (await meta.get(NEXT_SLOT)) ?? 0;
    const slots = sights.map((_, place) => (next + place) % this.#max);
    const before = await exits.getMany(slots.map(String));
    const known = await sublevel.getMany(before.map((unit) => unit ?? ''));
    return (batch) => {
      for (const [place, { unit, at }] of sights.entries()) {
        const [slot, old] = [slots[place]!, before[place]];
        // It may have left once more since, into another slot.
        if (old !== undefined && known[place]?.slot === slot) batch.del(old, { sublevel });
        batch.put(String(slot), unit, { sublevel: exits });
        batch.put(unit, { at, slot }, { sublevel });
      }
      batch.put(NEXT_SLOT, (next + sights.length) % this.#max, { sublevel: meta });
    };
  }
}
