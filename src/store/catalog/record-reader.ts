import type { Digest } from '../../oci/digest.ts';
import { formatTarget, type Tag, type Target } from '../../oci/reference.ts';
import { unitOf, type BlobRecord, type Members, type Node, type TagRecord } from './catalog.ts';
import { readMany } from './many-records.ts';
import type { Tables } from './tables.ts';

/** What stands in LevelDB by one key a fact, one or many at a time, without a memory of it. */
export class RecordReader {
  readonly tables: Tables;

  constructor(tables: Tables) {
    this.tables = tables;
  }

  async findBlob(digest: Digest): Promise<BlobRecord | undefined> {
    return this.tables.blobs.get(digest);
  }

  async findBlobs(digests: readonly Digest[]): Promise<(BlobRecord | undefined)[]> {
    const { blobs } = this.tables;
    return readMany(digests, async (keys) => blobs.getMany(keys)).catch(async () =>
      // A damaged record spoils no other one.
      Promise.all(digests.map(async (digest) => this.findBlob(digest))),
    );
  }

  async findTag(target: Target, tag: Tag): Promise<TagRecord | undefined> {
    return this.tables.tags.get(`${formatTarget(target)} ${tag}`);
  }

  async members(digest: Digest): Promise<Members | undefined> {
    return this.tables.members.get(digest);
  }

  async membersOf(digests: readonly Digest[]): Promise<(Members | undefined)[]> {
    return readMany(digests, async (keys) => this.tables.members.getMany(keys));
  }

  async isHeld({ target, digest }: Node): Promise<boolean> {
    return this.tables.manifests.has(unitOf(target, digest));
  }

  async heldOf(target: Target, digests: readonly Digest[]): Promise<Digest[]> {
    const units = digests.map((digest) => unitOf(target, digest));
    const { manifests } = this.tables;
    const isHeld = await readMany(units, async (keys) => manifests.hasMany(keys));
    return digests.filter((_, place) => isHeld[place]);
  }

  /** What these tags mean, in their order. */
  protected async meanings(
    target: Target,
    tags: readonly Tag[],
  ): Promise<(TagRecord | undefined)[]> {
    const names = tags.map((tag) => `${formatTarget(target)} ${tag}`);
    return readMany(names, async (keys) => this.tables.tags.getMany(keys));
  }

  async findTags(target: Target, tags: readonly Tag[]): Promise<(TagRecord | undefined)[]> {
    return this.meanings(target, tags).catch(async () =>
      Promise.all(tags.map(async (tag) => this.findTag(target, tag))),
    );
  }

  async provenOf(target: Target, digests: readonly Digest[]): Promise<Digest[]> {
    const places = digests.map((digest) => `${digest} ${formatTarget(target)}`);
    const { links } = this.tables;
    const isProven = await readMany(places, async (keys) => links.hasMany(keys));
    return digests.filter((_, place) => isProven[place]);
  }

  async lastPulls(units: readonly string[]): Promise<number[]> {
    const times = await readMany(units, async (keys) => this.tables.access.getMany(keys));
    return times.map((time) => time ?? 0);
  }

  async lastPull(unit: string): Promise<number | undefined> {
    return this.tables.access.get(unit);
  }
}
