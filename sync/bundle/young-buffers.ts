import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** How much of what went by may be in memory until it is collected. */
const EVERY_BYTES = 8 * 1024 * 1024;

/**
 * Passes chunks on, and has those that went by collected. V8 sees of a chunk the few bytes of its object alone:
 * left to itself it waits until the chunks take much memory, and goes through all of the heap then.
 */
export async function* collected<Chunk extends Uint8Array>(
  chunks: AsyncIterable<Chunk>,
): AsyncGenerator<Chunk, void> {
  let bytes = 0;
  for await (const chunk of chunks) {
    yield chunk;
    bytes += chunk.length;
    if (bytes < EVERY_BYTES) continue;
    bytes = 0;
    collectYoung();
  }
}

let collect: ((options: { readonly type: 'minor' }) => void) | undefined;

function collectYoung(): void {
  if (!collect) {
    setFlagsFromString('--expose-gc');
    collect = runInNewContext('gc') as NonNullable<typeof collect>;
    setFlagsFromString('--no-expose-gc');
  }
  collect({ type: 'minor' });
}
