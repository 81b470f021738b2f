/**
 * All that an import names on its way, and at which times that it is passed it is killed, each in an import of its
 * own. Of the files some are put together from pieces.
 */
export const IMPORT_STEPS: Readonly<Record<string, readonly number[]>> = {
  'bundle.admitted': [2],
  'bundle.taken': [5],
  'commit.verified': [3, 5, 8],
  'commit.synced': [3, 5, 8],
  'commit.renamed': [3, 5, 8],
  'commit.done': [1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
  'bundle.received': [1],
  'bundle.made': [1, 4],
  'bundle.checked': [1],
  'bundle.placed': [1],
  'bundle.recorded': [1],
  'bundle.pinned': [1],
  'bundle.tagged': [1],
  'bundle.released': [1],
  'bundle.concluded': [1],
};
