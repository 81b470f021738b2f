import type { Digest } from '../../oci/digest.ts';
import type { Catalog } from '../catalog/catalog.ts';
import type { JournalEntry } from './journal-entry.ts';
import type { Journal } from './journal.ts';
import { digestPart, lastPart, tagOf, type Tables } from '../catalog/tables.ts';

/** Below this a journal is left to grow. */
const MIN_COMPACTED_BYTES = 1024 * 1024;
/** In the catalog's meta: the journal's size after its last compaction. */
const LIVE_BYTES = 'journal';

/**
 * Rewrites the journal from the catalog where that is worth it, or where the journal is known to
 * lack something: it was never written in full, lost its file, or a disk refused too much of it.
 * Resolves with whether it did. Rejects when the disk refuses or the signal aborts; then the journal
 * is as it was.
 */
export async function compactJournal(
  catalog: Catalog,
  journal: Journal,
  signal?: AbortSignal,
): Promise<boolean> {
  const { tables } = catalog;
  const { meta } = tables;
  await journal.idle();
  if (!isDue(journal, await meta.get(LIVE_BYTES))) return false;
  await journal.compact(until(signal, describeCatalog(catalog)));
  const { size } = journal;
  await tables.write((batch) => batch.put(LIVE_BYTES, size, { sublevel: meta }));
  return true;
}

function isDue({ size, hasGap }: Journal, live: number | undefined): boolean {
  if (hasGap || live === undefined || size < live) return true;
  return size > MIN_COMPACTED_BYTES && size > 2 * live;
}

async function* until<Item>(
  signal: AbortSignal | undefined,
  items: AsyncIterable<Item>,
): AsyncGenerator<Item> {
  for await (const item of items) {
    signal?.throwIfAborted();
    yield item;
  }
}

/** What a catalog knows, as a journal tells it. */
export async function* describeCatalog({ tables }: Catalog): AsyncGenerator<JournalEntry> {
  for await (const [unit, { mediaType, storedAt }] of tables.manifests.iterator()) {
    yield { manifest: digestPart(unit), of: firstPart(unit), type: mediaType, at: storedAt };
  }
  for await (const [key, { digest, checkedAt }] of tables.tags.iterator()) {
    yield { tag: tagOf(key), of: firstPart(key), is: digest, at: checkedAt };
  }
  for await (const link of unlistedLinks(tables)) {
    yield { blob: firstPart(link) as Digest, of: lastPart(link) };
  }
  for await (const pin of tables.pins.values()) yield { pin };
}

/**
 * What a manifest of the repository lists needs no word of its own. Both tables are in the order of
 * `digest target`, so one pass over each is enough.
 */
async function* unlistedLinks({ links, holders }: Tables): AsyncGenerator<string> {
  const listed = holders.keys();
  try {
    let holder = await listed.next();
    for await (const link of links.keys()) {
      const place = `${link} `;
      while (holder !== undefined && holder < place) holder = await listed.next();
      if (holder === undefined || !holder.startsWith(place)) yield link;
    }
  } finally {
    await listed.close();
  }
}

function firstPart(key: string): string {
  return key.slice(0, key.indexOf(' '));
}
