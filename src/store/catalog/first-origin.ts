import type { BlobRecord } from './catalog.ts';

/**
 * A blob that comes again came when it first did, and from there, where that is known; whose it is counts
 * also where it first came by another way.
 */
export function withFirstOrigin(record: BlobRecord, known: BlobRecord | undefined): BlobRecord {
  if (!known || (known.upstream ?? known.bundle ?? known.layout) === undefined) return record;
  const { bundle: _bundle, layout: _layout, ...came } = record;
  const { storedAt, upstream, bundle, layout } = known;
  return {
    ...came,
    storedAt,
    ...(upstream !== undefined && { upstream }),
    ...(bundle !== undefined && { bundle }),
    ...(layout && { layout }),
  };
}
