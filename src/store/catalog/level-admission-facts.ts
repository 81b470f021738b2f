import type { Digest } from '../../oci/digest.ts';
import { formatTarget, type Tag, type Target } from '../../oci/reference.ts';
import type { AdmissionFacts, Finding } from './admission-facts.ts';
import { unitOf, type ManifestRecord, type Node } from './catalog.ts';
import { Sights } from './sights.ts';
import { below, keysBelow, lastPart, tagOf, type Batch, type Tables } from './tables.ts';

export interface LevelAdmissionFactsParts {
  readonly tables: Tables;
  readonly findManifest: (target: Target, digest: Digest) => Promise<ManifestRecord | undefined>;
  /** Runs one write after the other. */
  readonly inTurn: (work: () => Promise<void>) => Promise<void>;
}

/** Of one manifest. */
const MAX_FINDINGS = 8;
const MAX_FINDING_BYTES = 64 * 1024;

/** What is known of manifests for who judges them, on LevelDB. */
export class LevelAdmissionFacts implements AdmissionFacts {
  readonly #parts: LevelAdmissionFactsParts;
  readonly #sights: Sights;

  constructor(parts: LevelAdmissionFactsParts) {
    this.#parts = parts;
    this.#sights = new Sights(parts.tables);
  }

  async firstSight(target: Target, digest: Digest): Promise<number | undefined> {
    const record = await this.#parts.findManifest(target, digest);
    return record ? seenAt(record) : this.#sights.find(unitOf(target, digest));
  }

  async recordSight(target: Target, digest: Digest, at: number): Promise<void> {
    await this.#parts.inTurn(async () => {
      if ((await this.firstSight(target, digest)) !== undefined) return;
      const put = await this.#sights.leave([{ unit: unitOf(target, digest), at }]);
      await this.#parts.tables.write(put);
    });
  }

  /** What a batch has to write when these manifests are evicted. */
  async leave(manifests: readonly Node[]): Promise<(batch: Batch) => void> {
    const units = manifests.map(({ target, digest }) => unitOf(target, digest));
    const records = await this.#parts.tables.manifests.getMany(units);
    const sights = units.flatMap((unit, place) => {
      const record = records[place];
      return record ? [{ unit, at: seenAt(record) }] : [];
    });
    return this.#sights.leave(sights);
  }

  async findAdmitted(target: Target, tag: Tag): Promise<Digest | undefined> {
    return this.#parts.tables.admitted.get(`${formatTarget(target)} ${tag}`);
  }

  async recordAdmitted(target: Target, tag: Tag, digest: Digest): Promise<void> {
    const { tables, inTurn } = this.#parts;
    const name = `${formatTarget(target)} ${tag}`;
    await inTurn(async () => {
      const before = await tables.admitted.get(name);
      if (before === digest || !(await tables.manifests.has(unitOf(target, digest)))) return;
      await tables.write((batch) => {
        batch.put(name, digest, { sublevel: tables.admitted });
        batch.put(`${unitOf(target, digest)} ${tag}`, 1, { sublevel: tables.admittedAs });
        if (!before) return;
        batch.del(`${unitOf(target, before)} ${tag}`, { sublevel: tables.admittedAs });
      });
    });
  }

  async admittedAs(target: Target, digest: Digest): Promise<Tag[]> {
    const keys = keysBelow(this.#parts.tables.admittedAs, unitOf(target, digest));
    return (await Array.fromAsync(keys)).map(tagOf);
  }

  async findFinding(target: Target, digest: Digest, name: string): Promise<Finding | undefined> {
    return (await this.#parts.tables.findings.get(`${unitOf(target, digest)} ${name}`))?.finding;
  }

  async recordFinding(
    target: Target,
    digest: Digest,
    { name, finding }: { readonly name: string; readonly finding: Finding },
  ): Promise<void> {
    const { tables, inTurn } = this.#parts;
    const { findings: sublevel } = tables;
    const unit = unitOf(target, digest);
    const isShort = Buffer.byteLength(JSON.stringify(finding)) <= MAX_FINDING_BYTES;
    await inTurn(async () => {
      if (!(await tables.manifests.has(unit))) return;
      const known = await sublevel.iterator(below(unit)).all();
      const others = known
        .filter(([key]) => lastPart(key) !== name)
        .toSorted(([, a], [, b]) => a.turn - b.turn);
      const turn = 1 + Math.max(0, ...known.map(([, each]) => each.turn));
      await tables.write((batch) => {
        const tooMany = others.length + 1 - MAX_FINDINGS;
        for (const [key] of others.slice(0, Math.max(0, tooMany))) batch.del(key, { sublevel });
        if (isShort) batch.put(`${unit} ${name}`, { turn, finding }, { sublevel });
        else batch.del(`${unit} ${name}`, { sublevel });
      });
    });
  }
}

function seenAt({ seenAt: first, storedAt }: ManifestRecord): number {
  return first ?? storedAt;
}
