import type { ReadBytes } from './held-manifest.ts';
import { migrateToSchema2 } from './schema-2.ts';
import { noStep, type Step } from '../step.ts';
import { SCHEMA_VERSION, type Tables } from './tables.ts';

export interface Migration {
  readonly tables: Tables;
  readonly readBytes: ReadBytes;
  readonly step: Step;
}

/**
 * By the schema they lead to. Each ends by writing its number; interrupted before, it is called
 * again and ends the same.
 */
const MIGRATIONS: ReadonlyMap<number, (migration: Migration) => Promise<void>> = new Map([
  [2, migrateToSchema2],
]);

/** Brings a catalog of an older schema up to this one. Interrupted anywhere, it begins anew. */
export async function migrate(
  tables: Tables,
  readBytes: ReadBytes | undefined,
  step: Step = noStep,
): Promise<void> {
  if (!readBytes) throw new Error('an older catalog cannot be migrated without its blobs');
  const from = (await tables.schema()) ?? SCHEMA_VERSION;
  for (let version = from + 1; version <= SCHEMA_VERSION; version += 1) {
    const migrateTo = MIGRATIONS.get(version);
    if (!migrateTo) throw new Error(`no way leads from schema ${version - 1} to ${version}`);
    await migrateTo({ tables, readBytes, step });
  }
}
