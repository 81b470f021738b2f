import { formatTarget } from '../../oci/reference.ts';
import type { Catalog } from '../catalog/catalog.ts';
import type { JournalEntry } from '../catalog/journal-entry.ts';
import type { Journal } from './journal.ts';

/** Below this a journal is left to grow. */
const MIN_COMPACTED_BYTES = 1024 * 1024;

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
  await journal.idle();
  if (!isDue(journal, await catalog.journalBytes())) return false;
  await journal.compact(until(signal, describeCatalog(catalog)));
  await catalog.recordJournalBytes(journal.size);
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
export async function* describeCatalog(catalog: Catalog): AsyncGenerator<JournalEntry> {
  for await (const { target, digest, record } of catalog.manifests()) {
    const { mediaType, storedAt } = record;
    yield { manifest: digest, of: formatTarget(target), type: mediaType, at: storedAt };
  }
  for await (const { target, tag, record } of catalog.tags()) {
    yield { tag, of: formatTarget(target), is: record.digest, at: record.checkedAt };
  }
  for await (const { target, digest } of catalog.unlistedLinks()) {
    yield { blob: digest, of: formatTarget(target) };
  }
  for (const pin of await catalog.listPins()) yield { pin };
}
