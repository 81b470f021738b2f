import { below } from './tables.ts';

/** Of one read; most of what is asked for has fewer. */
const PAGE = 100;

interface Keys {
  nextv(size: number): Promise<string[]>;
  close(): Promise<void>;
}

/**
 * The keys that continue a prefix, in byte order. Few of them cost one read of the database, where
 * `for await` over its own iterator costs two.
 */
export async function* keysBelow(
  table: { keys(range: ReturnType<typeof below>): Keys },
  prefix: string,
): AsyncGenerator<string> {
  const keys = table.keys(below(prefix));
  try {
    for (;;) {
      const page = await keys.nextv(PAGE);
      if (page.length === 0) return;
      yield* page;
    }
  } finally {
    await keys.close();
  }
}
