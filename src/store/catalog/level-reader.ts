import type { Pin } from '../../api/store-api.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import { attachedSubject, cosignTags, fallbackTag } from '../../oci/cosign.ts';
import type { Digest } from '../../oci/digest.ts';
import {
  formatTarget,
  splitTarget,
  type Repository,
  type Tag,
  type Target,
} from '../../oci/reference.ts';
import {
  nodeOf,
  unitOf,
  type BlobRecord,
  type Link,
  type ManifestRecord,
  type Node,
  type Figure,
  type Origin,
  type TagRecord,
} from './catalog.ts';
import { RecordReader } from './record-reader.ts';
import { below, digestPart, keysBelow, recencyTime, tagOf } from './tables.ts';

/** Records of one read. */
const PAGE = 1000;

/** The facts of the catalog as they are read from LevelDB, without a memory of them. */
export class LevelReader extends RecordReader {
  async tagsOf({ target, digest }: Node): Promise<Tag[]> {
    const entries = await Array.fromAsync(keysBelow(this.tables.names, unitOf(target, digest)));
    const tags = entries.map(tagOf);
    const meanings = await this.meanings(target, tags);
    // A tag that moved while it was being written may have left its old name behind.
    return tags.filter((_, place) => meanings[place]?.digest === digest);
  }

  async listTags(target: Target): Promise<Tag[]> {
    const keys = await this.tables.tags.keys(below(formatTarget(target))).all();
    return keys.map(tagOf);
  }

  async findTagList(target: Target): Promise<readonly Tag[] | undefined> {
    return this.tables.lists.get(formatTarget(target));
  }

  async *tags(): AsyncGenerator<{ target: Target; tag: Tag; record: TagRecord }> {
    for await (const [name, record] of this.tables.tags.iterator()) {
      yield { target: splitTarget(name.slice(0, name.indexOf(' '))), tag: tagOf(name), record };
    }
  }

  async hasManifests(target: Target): Promise<boolean> {
    const range = { ...below(formatTarget(target)), limit: 1 };
    return (await this.tables.manifests.keys(range).all()).length > 0;
  }

  /** Seeks from one repository to the next. */
  async listRepositories(upstream: string): Promise<Repository[]> {
    const found: Repository[] = [];
    const lt = `${upstream}0`;
    for (let gt = `${upstream}/`; ;) {
      const [entry] = await this.tables.manifests.keys({ gt, lt, limit: 1 }).all();
      if (entry === undefined) return found.toSorted((a, b) => (a < b ? -1 : 1));
      const repository = entry.slice(upstream.length + 1, entry.indexOf(' '));
      found.push(repository as Repository);
      gt = below(`${upstream}/${repository}`).lt;
    }
  }

  async listReferrers(target: Target, subject: Digest): Promise<Descriptor[]> {
    return this.tables.referrers.values(below(unitOf(target, subject))).all();
  }

  async parents({ target, digest }: Node, limit = Infinity): Promise<Digest[]> {
    const found: Digest[] = [];
    const subject = (await this.members(digest))?.subject;
    if (subject && (await this.isHeld({ target, digest: subject }))) found.push(subject);
    for await (const holder of this.holdersIn(target, digest)) {
      if (found.length >= limit) break;
      found.push(holder);
    }
    return found;
  }

  async *holdersIn(target: Target, digest: Digest): AsyncGenerator<Digest> {
    const prefix = `${digest} ${formatTarget(target)}`;
    for await (const entry of keysBelow(this.tables.holders, prefix)) {
      const holder = digestPart(entry);
      if (holder !== digest) yield holder;
    }
  }

  async *holders(digest: Digest): AsyncGenerator<Node> {
    for await (const entry of keysBelow(this.tables.holders, digest)) {
      yield nodeOf(entry.slice(digest.length + 1))!;
    }
  }

  /** Of a key `digest target`. */
  async link(place: string): Promise<Link | undefined> {
    const { links, holders } = this.tables;
    if (await links.has(place)) return 'proven';
    const claims = await holders.keys({ ...below(place), limit: 1 }).all();
    return claims.length > 0 ? 'claimed' : undefined;
  }

  /** Both tables are in the order of `digest target`, so one pass over each is enough. */
  async *unlistedLinks(): AsyncGenerator<Node> {
    const holders = this.tables.holders.keys();
    try {
      let holder = await holders.next();
      for await (const link of this.tables.links.keys()) {
        const place = `${link} `;
        while (holder !== undefined && holder < place) holder = await holders.next();
        if (holder?.startsWith(place)) continue;
        const space = link.indexOf(' ');
        yield {
          target: splitTarget(link.slice(space + 1)),
          digest: link.slice(0, space) as Digest,
        };
      }
    } finally {
      await holders.close();
    }
  }

  async linked(digest: Digest): Promise<Target[]> {
    const keys = await this.tables.links.keys(below(digest)).all();
    return keys.map((key) => splitTarget(key.slice(digest.length + 1)));
  }

  async originOf(digest: Digest, upstream: string): Promise<Origin> {
    const { links } = this.tables;
    const place = `${digest} ${upstream}`;
    // Of a digest that thousands of repositories share no more than two keys are read.
    const own = await links.keys({ gt: `${place}/`, lt: `${place}0`, limit: 1 }).all();
    if (own.length > 0) return 'own';
    const others = await links.keys({ ...below(digest), limit: 1 }).all();
    if (others.length > 0) return 'foreign';
    const came = (await this.findBlob(digest))?.upstream;
    if (came === undefined) return 'unknown';
    return came === upstream ? 'own' : 'foreign';
  }

  async *referrers({ target, digest }: Node): AsyncGenerator<Digest> {
    for await (const entry of keysBelow(this.tables.referrers, unitOf(target, digest))) {
      yield digestPart(entry);
    }
    yield* (await this.#tagged(target, [digest]))[0]!;
  }

  /** What the tags that name each of these digests mean. */
  async #tagged(target: Target, digests: readonly Digest[]): Promise<Digest[][]> {
    const tags = digests.map((digest) => [fallbackTag(digest), ...cosignTags(digest)]);
    const meanings = await this.meanings(target, tags.flat());
    return tags.map((own, place) => {
      const records = meanings.splice(0, own.length);
      return records.flatMap((record) =>
        record && record.digest !== digests[place] ? [record.digest] : [],
      );
    });
  }

  async attachedTo({ target, digest }: Node): Promise<Digest[]> {
    const found: Digest[] = [];
    for (const tag of await this.tagsOf({ target, digest })) {
      const subject = attachedSubject(tag);
      if (subject && subject !== digest && (await this.isHeld({ target, digest: subject }))) {
        found.push(subject);
      }
    }
    return found;
  }

  async isRoot(node: Node): Promise<boolean> {
    return (await this.parents(node, 1)).length === 0;
  }

  async ancestors({ target, digest }: Node): Promise<Digest[]> {
    const seen = new Set<Digest>([digest]);
    for (const each of seen) {
      const above = { target, digest: each };
      for (const parent of await this.parents(above)) seen.add(parent);
      for (const subject of await this.attachedTo(above)) seen.add(subject);
    }
    return [...seen];
  }

  async below({ target, digest }: Node): Promise<Digest[]> {
    const seen = new Set<Digest>([digest]);
    for (let level = [digest]; level.length > 0;) {
      const members = await this.membersOf(level);
      const tagged = await this.#tagged(target, level);
      const listed: Digest[] = [];
      for (const [place, each] of level.entries()) {
        for (const { digest: member } of members[place]?.successors ?? []) listed.push(member);
        const referrers = keysBelow(this.tables.referrers, unitOf(target, each));
        for await (const entry of referrers) listed.push(digestPart(entry));
        listed.push(...tagged[place]!);
      }
      level = [...new Set(await this.heldOf(target, listed)).difference(seen)];
      for (const each of level) seen.add(each);
    }
    return [...seen];
  }

  async *manifests(): AsyncGenerator<Node & { record: ManifestRecord }> {
    for await (const [unit, record] of this.tables.manifests.iterator()) {
      yield { ...nodeOf(unit)!, record };
    }
  }

  async hasBlob(digest: Digest): Promise<boolean> {
    return this.tables.blobs.has(digest);
  }

  async *listBlobs(prefix = ''): AsyncGenerator<[Digest, BlobRecord]> {
    for await (const page of this.#pagesOfBlobs(prefix)) yield* page;
  }

  async *unlistedBlobs(): AsyncGenerator<[Digest, BlobRecord]> {
    for await (const page of this.#pagesOfBlobs('')) {
      const free = new Map(page);
      const lt = below(page.at(-1)![0]).lt;
      for await (const entry of this.tables.holders.keys({ gt: page[0]![0], lt })) {
        free.delete(entry.slice(0, entry.indexOf(' ')) as Digest);
      }
      yield* free;
    }
  }

  /** One iterator for all of it would keep the database from freeing space meanwhile. */
  async *#pagesOfBlobs(prefix: string): AsyncGenerator<[Digest, BlobRecord][]> {
    // `~` sorts behind every digest.
    const lt = `${prefix}~`;
    for (let gt = prefix; ;) {
      const page = await this.tables.blobs.iterator({ gt, lt, limit: PAGE }).all();
      if (page.length > 0) yield page as [Digest, BlobRecord][];
      if (page.length < PAGE) return;
      gt = page.at(-1)![0];
    }
  }

  async *oldest(): AsyncGenerator<{ unit: string; time: number }> {
    for await (const entry of this.tables.recency.keys()) {
      yield { unit: entry.slice(entry.indexOf(' ') + 1), time: recencyTime(entry) };
    }
  }

  /** 0 where there was none. */
  async newestPull(): Promise<number> {
    const [newest] = await this.tables.recency.keys({ reverse: true, limit: 1 }).all();
    return newest === undefined ? 0 : recencyTime(newest);
  }

  async countPulls({ target, digest }: Node): Promise<number> {
    return (await this.tables.pulls.get(unitOf(target, digest))) ?? 0;
  }

  async wasPulled({ target, digest }: Node): Promise<boolean> {
    const unit = unitOf(target, digest);
    const record = await this.tables.manifests.get(unit);
    const time = record && (await this.lastPull(unit));
    if (record === undefined || time === undefined) return false;
    const { storedAt, unpulledAt } = record;
    // Earlier versions put the last pull of what was not pulled before the moment it was stored.
    return unpulledAt === undefined ? time >= storedAt : time !== unpulledAt;
  }

  async wasUsed({ target, digest }: Node): Promise<boolean> {
    return this.tables.uses.has(unitOf(target, digest));
  }

  async wasSearched({ target, digest }: Node): Promise<boolean> {
    return this.tables.searched.has(unitOf(target, digest));
  }

  async listPins(): Promise<Pin[]> {
    return this.tables.pins.values().all();
  }

  async findFigure(name: Figure): Promise<number | undefined> {
    return this.tables.meta.get(name);
  }

  async keepReserve(): Promise<void> {
    await this.tables.keepReserve();
  }
}
