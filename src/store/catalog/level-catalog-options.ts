import type { JournalEntry } from './catalog.ts';

export interface LevelCatalogOptions {
  readonly durability: 'full' | 'rename';
  /** Told of every fact that the files of blobs do not tell, once it is written. */
  readonly journal?: (entries: readonly JournalEntry[]) => void;
  /** Told when the database cannot be read. */
  readonly unreadable?: (error: unknown) => void;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
  /** What is recorded happened when it says, and not just now; where files came from is not known. */
  readonly isReplay?: boolean;
  /** Tables of the database may be links to those of another one. */
  readonly isLinked?: boolean;
}
