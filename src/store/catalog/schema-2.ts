import { Batches } from './batches.ts';
import { readManifest } from './held-manifest.ts';
import { listMembers } from './members.ts';
import type { Migration } from './migrate.ts';
import { below, digestPart, lastPart, type ManifestRecord, type Tables } from './tables.ts';

/** In the meta table: all is written, and only what schema 1 had besides is still to go. */
const FILLED = 'schema-2-filled';

/**
 * Schema 1 had links as `proofs` and `claims`, both `target digest`, and knew nothing of how
 * manifests hang together or when they were pulled. Manifests whose bytes are gone or broken are
 * dropped, and tags that then mean nothing.
 */
export async function migrateToSchema2({ tables, readBytes, step }: Migration): Promise<void> {
  const proofs = tables.db.sublevel<string, 1>('proofs', { valueEncoding: 'json' });
  const claims = tables.db.sublevel<string, 1>('claims', { valueEncoding: 'json' });
  if ((await tables.meta.get(FILLED)) === undefined) {
    const { members, names, links, holders, access, recency } = tables;
    // What an interrupted migration left may speak of a manifest that was lost since.
    for (const table of [members, names, links, holders, access, recency]) await table.clear();
    step('migrate.cleared');
    await fill({ tables, readBytes, step }, proofs.keys());
  }
  step('migrate.filled');
  await proofs.clear();
  step('migrate.proofs-cleared');
  await claims.clear();
  step('migrate.claims-cleared');
  await tables.write((batch) => {
    batch.put('schema', 2, { sublevel: tables.meta });
    batch.del(FILLED, { sublevel: tables.meta });
  });
  step('migrate.done');
}

async function fill(migration: Migration, proofs: AsyncIterable<string>): Promise<void> {
  const { tables, step } = migration;
  const batches = new Batches(tables);
  await fillManifests(migration, batches);
  step('migrate.manifests');
  await fillNames(tables, batches);
  await dropReferrers(tables, batches);
  step('migrate.tags');
  for await (const proof of proofs) {
    const link = `${lastPart(proof)} ${targetOf(proof)}`;
    await batches.add((batch) => batch.put(link, 1, { sublevel: tables.links }));
  }
  step('migrate.links');
  await fillLooseBlobs(tables, batches);
  await batches.add((batch) => batch.put(FILLED, 1, { sublevel: tables.meta }));
  await batches.flush();
}

async function fillManifests(migration: Migration, batches: Batches): Promise<void> {
  const { tables, step } = migration;
  for await (const [unit, record] of tables.manifests.iterator()) {
    await fillManifest(migration, batches, { unit, record });
    step('migrate.manifest');
  }
  // Here, since what follows asks for them.
  await batches.flush();
}

async function fillManifest(
  { tables, readBytes }: Migration,
  batches: Batches,
  { unit, record }: { unit: string; record: ManifestRecord },
): Promise<void> {
  const digest = digestPart(unit);
  const manifest = await readManifest(readBytes, digest, record.mediaType);
  if (!manifest) {
    await batches.add((batch) => {
      batch.del(unit, { sublevel: tables.manifests });
      batch.del(digest, { sublevel: tables.blobs });
    });
    return;
  }
  const members = listMembers(manifest);
  await batches.add((batch) => {
    batch.put(digest, members, { sublevel: tables.members });
    for (const held of new Set([digest, ...members.successors.map((member) => member.digest)])) {
      batch.put(`${held} ${unit}`, 1, { sublevel: tables.holders });
    }
    tables.putAccess(batch, unit, record.storedAt, undefined);
  });
}

/** The way back from manifests to their tags; tags that lead nowhere go. */
async function fillNames(tables: Tables, batches: Batches): Promise<void> {
  for await (const [key, { digest }] of tables.tags.iterator()) {
    const unit = `${targetOf(key)} ${digest}`;
    const isHeld = await tables.manifests.has(unit);
    await batches.add((batch) => {
      if (isHeld) batch.put(`${unit} ${lastPart(key)}`, 1, { sublevel: tables.names });
      else batch.del(key, { sublevel: tables.tags });
    });
  }
}

async function dropReferrers(tables: Tables, batches: Batches): Promise<void> {
  for await (const key of tables.referrers.keys()) {
    if (await tables.manifests.has(`${targetOf(key)} ${lastPart(key)}`)) continue;
    await batches.add((batch) => batch.del(key, { sublevel: tables.referrers }));
  }
}

/** Blobs that no manifest lists are units of their own. */
async function fillLooseBlobs(tables: Tables, batches: Batches): Promise<void> {
  for await (const [digest, { storedAt }] of tables.blobs.iterator()) {
    const holders = await tables.holders.keys({ ...below(digest), limit: 1 }).all();
    if (holders.length > 0) continue;
    await batches.add((batch) => tables.putAccess(batch, digest, storedAt, undefined));
  }
}

/** Its first part. */
function targetOf(key: string): string {
  return key.slice(0, key.indexOf(' '));
}
