import type { Digest } from '../oci/digest.ts';
import type { Tag, Target } from '../oci/reference.ts';
import type { Health, Pins } from '../store/care/care.ts';
import type { Catalog } from '../store/catalog/catalog.ts';

/** Whether what selects images for this site calls the tag, as it is held, complete and young enough. */
export type ReadyCheck = (image: {
  readonly target: Target;
  readonly tag: Tag;
  readonly digest: Digest;
}) => Promise<boolean>;

/**
 * Held tags that the upstream said it has no more. They are gone, also while it cannot be asked,
 * unless a pin, as sync sets one for what its rules keep, keeps the image.
 */
export class GoneTags {
  readonly #parts: { catalog: Catalog; pins: Pins; health: Health };

  constructor(parts: { catalog: Catalog; pins: Pins; health: Health }) {
    this.#parts = parts;
  }

  async has(target: Target, tag: Tag): Promise<boolean> {
    const record = await this.#parts.catalog.findTag(target, tag);
    return record?.goneAt !== undefined && !this.isKept(target, tag, record.digest);
  }

  /** Whether a pin keeps what the tag means here, whatever the upstream removes. */
  isKept(target: Target, tag: Tag, digest: Digest): boolean {
    return this.#parts.pins.of({ target, digest, tags: [tag] }).length > 0;
  }

  async add(target: Target, tag: Tag, goneAt: number): Promise<void> {
    const { catalog, health } = this.#parts;
    const record = await catalog.findTag(target, tag);
    if (record?.goneAt !== undefined || !record) return;
    await health.recorded(catalog.recordTag(target, tag, { ...record, goneAt }));
  }
}
