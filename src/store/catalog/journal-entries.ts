import type { Digest } from '../../oci/digest.ts';
import { formatTarget, type Tag, type Target } from '../../oci/reference.ts';
import type { JournalEntry, ManifestRecord, TagRecord } from './catalog.ts';

export function tagEntry(target: Target, tag: Tag, record: TagRecord): JournalEntry {
  const { digest, checkedAt, goneAt } = record;
  const until = goneAt !== undefined && { until: goneAt };
  return { tag, of: formatTarget(target), is: digest, at: checkedAt, ...until };
}

export function manifestEntry(
  target: Target,
  digest: Digest,
  { mediaType: type, storedAt: at, seenAt }: ManifestRecord,
): JournalEntry {
  const seen = seenAt !== undefined && { seen: seenAt };
  return { manifest: digest, of: formatTarget(target), type, at, ...seen };
}
