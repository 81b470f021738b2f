import type { Digest } from '../../oci/digest.ts';
import { attachedSubject, cosignTags, fallbackTag } from '../../oci/cosign.ts';
import { formatTarget, splitTarget, type Tag, type Target } from '../../oci/reference.ts';
import type { Link } from './facts.ts';
import { keysBelow } from './keys-below.ts';
import { below, digestPart, tagOf, type Members, type Tables } from './tables.ts';

/** A manifest of a repository; as a root of nothing above it, an image. */
export interface Node {
  readonly target: Target;
  readonly digest: Digest;
}

/**
 * How held manifests hang together: an index holds its platforms, a manifest its config and layers,
 * a subject its referrers. What nothing holds is a root, and with all below it an image. Nothing of
 * this is kept in memory.
 */
export class ImageGraph {
  readonly #tables: Tables;

  constructor(tables: Tables) {
    this.#tables = tables;
  }

  async members(digest: Digest): Promise<Members | undefined> {
    return this.#tables.members.get(digest);
  }

  async isHeld({ target, digest }: Node): Promise<boolean> {
    return this.#tables.manifests.has(unitOf(target, digest));
  }

  /** Of these digests, those that are held as manifests of the repository. */
  async heldOf(target: Target, digests: readonly Digest[]): Promise<Digest[]> {
    const units = digests.map((digest) => unitOf(target, digest));
    const isHeld = await this.#tables.manifests.hasMany(units);
    return digests.filter((_, place) => isHeld[place]);
  }

  /** The tags that mean this manifest. */
  async tagsOf({ target, digest }: Node): Promise<Tag[]> {
    const entries = await Array.fromAsync(keysBelow(this.#tables.names, unitOf(target, digest)));
    const tags = entries.map((entry) => ({ tag: tagOf(entry) }));
    const meaning = await this.#meaning(target, tags);
    // A tag that moved while it was being written may have left its old name behind.
    return tags.flatMap(({ tag }, place) => (meaning[place]?.digest === digest ? [tag] : []));
  }

  /**
   * Of what a manifest brings, the tags of which nothing later is known. What a clock that ran ahead
   * has written is not later.
   */
  async newest<Entry extends { tag: Tag; checkedAt: number }>(
    target: Target,
    entries: readonly Entry[],
    now: number,
  ): Promise<Entry[]> {
    const known = await this.#meaning(target, entries);
    return entries.filter(({ checkedAt }, place) => {
      const knownAt = known[place]?.checkedAt ?? 0;
      return knownAt <= checkedAt || knownAt > now;
    });
  }

  /** The ways back from what these tags meant, where that is not this manifest. */
  async movedNames(
    target: Target,
    digest: Digest,
    entries: readonly { tag: Tag }[],
  ): Promise<string[]> {
    const known = await this.#meaning(target, entries);
    return entries.flatMap(({ tag }, place) => {
      const before = known[place]?.digest;
      return before && before !== digest ? [`${unitOf(target, before)} ${tag}`] : [];
    });
  }

  async #meaning(target: Target, entries: readonly { tag: Tag }[]) {
    return this.#tables.tags.getMany(entries.map(({ tag }) => `${formatTarget(target)} ${tag}`));
  }

  /** Manifests of the same repository that list it, and its subject, as far as they are held. */
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

  /** Manifests of this repository that list the digest. */
  async *holdersIn(target: Target, digest: Digest): AsyncGenerator<Digest> {
    const prefix = `${digest} ${formatTarget(target)}`;
    for await (const entry of keysBelow(this.#tables.holders, prefix)) {
      const holder = digestPart(entry);
      if (holder !== digest) yield holder;
    }
  }

  /** Every repository's manifests that list the digest, and the digest itself where it is one. */
  async *holders(digest: Digest): AsyncGenerator<Node> {
    for await (const entry of keysBelow(this.#tables.holders, digest)) {
      yield parseNode(entry.slice(digest.length + 1));
    }
  }

  /** Of a key `digest target`. */
  async link(place: string): Promise<Link | undefined> {
    const { links, holders } = this.#tables;
    if (await links.has(place)) return 'proven';
    const claims = await holders.keys({ ...below(place), limit: 1 }).all();
    return claims.length > 0 ? 'claimed' : undefined;
  }

  /** Repositories that the upstream served the digest from. */
  async linked(digest: Digest): Promise<Target[]> {
    const keys = await this.#tables.links.keys(below(digest)).all();
    return keys.map((key) => splitTarget(key.slice(digest.length + 1)));
  }

  /** Referrers of a subject that are held, by the API's account and by cosign's tags. */
  async *referrers({ target, digest }: Node): AsyncGenerator<Digest> {
    for await (const entry of keysBelow(this.#tables.referrers, unitOf(target, digest))) {
      yield digestPart(entry);
    }
    for (const { digest: attached } of await this.attachedTags({ target, digest })) yield attached;
  }

  /** Tags that are named after this manifest: its fallback tag and cosign's. */
  async attachedTags({ target, digest }: Node): Promise<{ tag: Tag; digest: Digest }[]> {
    const tags = [fallbackTag(digest), ...cosignTags(digest)];
    const records = await this.#tables.tags.getMany(
      tags.map((tag) => `${formatTarget(target)} ${tag}`),
    );
    return tags.flatMap((tag, position) => {
      const record = records[position];
      return record && record.digest !== digest ? [{ tag, digest: record.digest }] : [];
    });
  }

  /** The held manifests that one of its tags says it belongs to, by cosign's naming. */
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

  /** All above a manifest that it is part of, itself first. */
  async ancestors({ target, digest }: Node): Promise<Digest[]> {
    const seen = new Set<Digest>([digest]);
    for (const each of seen) {
      const above = { target, digest: each };
      for (const parent of await this.parents(above)) seen.add(parent);
      for (const subject of await this.attachedTo(above)) seen.add(subject);
    }
    return [...seen];
  }

  /** The held manifests of an image: the root first, with their referrers. */
  async below({ target, digest }: Node): Promise<Digest[]> {
    const seen = new Set<Digest>([digest]);
    for (const each of seen) {
      const { successors = [] } = (await this.members(each)) ?? {};
      const members = successors.map((successor) => successor.digest);
      const referrers = await Array.fromAsync(this.referrers({ target, digest: each }));
      for (const held of await this.heldOf(target, [...members, ...referrers])) seen.add(held);
    }
    return [...seen];
  }

  /** Every held manifest, of each repository. */
  async *manifests(): AsyncGenerator<Node> {
    for await (const unit of this.#tables.manifests.keys()) yield parseNode(unit);
  }

  /** Units from the one that was not pulled for longest: manifests, and blobs that none lists. */
  async *oldest(): AsyncGenerator<{ unit: string; time: number }> {
    for await (const entry of this.#tables.recency.keys()) {
      const space = entry.indexOf(' ');
      yield { unit: entry.slice(space + 1), time: Number.parseInt(entry.slice(0, space), 16) };
    }
  }

  async lastPulls(units: string[]): Promise<number[]> {
    return (await this.#tables.access.getMany(units)).map((time) => time ?? 0);
  }

  /** Whether a client has asked for a held manifest, or for a part of it, since it was stored. */
  async wasPulled({ target, digest }: Node): Promise<boolean> {
    const unit = unitOf(target, digest);
    const record = await this.#tables.manifests.get(unit);
    const time = record && (await this.lastPull(unit));
    return record !== undefined && time !== undefined && time >= record.storedAt;
  }

  async lastPull(unit: string): Promise<number | undefined> {
    return this.#tables.access.get(unit);
  }
}

export function unitOf(target: Target, digest: Digest): string {
  return `${formatTarget(target)} ${digest}`;
}

/** The other way round; `undefined` for a blob that belongs to no manifest. */
export function nodeOf(unit: string): Node | undefined {
  return unit.includes(' ') ? parseNode(unit) : undefined;
}

function parseNode(unit: string): Node {
  const space = unit.lastIndexOf(' ');
  return { target: splitTarget(unit.slice(0, space)), digest: unit.slice(space + 1) as Digest };
}
