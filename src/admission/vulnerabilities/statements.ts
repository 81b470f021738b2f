import type { Finding } from './report.ts';
import type { VexPackage, VexStatement, VexStatus } from './vex.ts';

/** Clocks of authors may go before ours by so much. */
const TOLERANCE_MS = 5 * 60_000;
/** Of two that were made at once, the one that says worse counts. */
const WORST_FIRST: readonly VexStatus[] = [
  'affected',
  'under_investigation',
  'not_affected',
  'fixed',
];

/**
 * The statements about an image: of those about a finding the newest counts, whoever made it. One that
 * would lift a finding and is of a time to come does not count at all, since it would be newest for ever.
 */
export class Statements {
  /** The newest of each vulnerability in all of the image, in a package, or in one version of it. */
  readonly #newest = new Map<string, VexStatement>();

  constructor(statements: readonly VexStatement[], now: number) {
    for (const statement of statements) {
      if (isLifting(statement) && statement.at > now + TOLERANCE_MS) continue;
      for (const name of new Set(statement.ids.map(plainId))) this.#add(name, statement);
    }
  }

  /** The newest one about the finding, where it says that it does not count. */
  lifting({ id, aliases, package: name, version }: Finding): VexStatement | undefined {
    if (this.#newest.size === 0) return undefined;
    const keys = [id, ...aliases]
      .map(plainId)
      .flatMap((each) => [keyOf(each), keyOf(each, { name }), keyOf(each, { name, version })]);
    const [newest] = keys.flatMap((key) => this.#newest.get(key) ?? []).toSorted(newestFirst);
    return newest && isLifting(newest) ? newest : undefined;
  }

  #add(name: string, statement: VexStatement): void {
    const keys = statement.packages?.map((each) => keyOf(name, each)) ?? [keyOf(name)];
    for (const key of keys) {
      const known = this.#newest.get(key);
      if (!known || newestFirst(statement, known) < 0) this.#newest.set(key, statement);
    }
  }
}

function keyOf(id: string, about?: Partial<VexPackage>): string {
  return [id, ...(about ? [about.name, about.version ?? []] : [])].flat().join('\0');
}

/** Documents also name a vulnerability by its address, which ends with its name. */
function plainId(name: string): string {
  return name.slice(name.lastIndexOf('/') + 1).toUpperCase();
}

function isLifting({ status, isJustified }: VexStatement): boolean {
  return status === 'fixed' || (status === 'not_affected' && isJustified);
}

/** One that lifts nothing for want of a justification stands with those that say worse. */
function newestFirst(one: VexStatement, other: VexStatement): number {
  if (one.at !== other.at) return other.at > one.at ? 1 : -1;
  const [first, second] = [one, other].map(
    (each) => (isLifting(each) ? WORST_FIRST.length : 0) + WORST_FIRST.indexOf(each.status),
  );
  return (first ?? 0) - (second ?? 0);
}
