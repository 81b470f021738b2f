const BLOCK_BYTES = 1024 * 1024;

/**
 * Hands bytes on in blocks of 1 MiB, of which one is written while the next one fills: what comes in small
 * chunks costs a call for each block, and who sends waits for no disk. A block counts until `write` has
 * resolved. Holds two blocks, of `size` at most. Nothing is under way when it settles.
 */
export async function writeBehind(
  chunks: AsyncIterable<Uint8Array>,
  size: number,
  write: (block: Buffer) => Promise<void>,
): Promise<void> {
  const length = Math.max(1, Math.min(BLOCK_BYTES, size));
  let [filling, other] = [Buffer.allocUnsafeSlow(length), Buffer.alloc(0)];
  let filled = 0;
  let writing: Promise<void> = Promise.resolve();
  const flush = async (): Promise<void> => {
    await writing;
    writing = write(filling.subarray(0, filled));
    // What it rejects with is thrown by the next look at it.
    writing.catch(() => undefined);
    [filling, other] = [other, filling];
    if (filling.length === 0) filling = Buffer.allocUnsafeSlow(length);
    filled = 0;
  };
  try {
    for await (const chunk of chunks) {
      for (let at = 0; at < chunk.length;) {
        const bytes = chunk.subarray(at, at + length - filled);
        filling.set(bytes, filled);
        filled += bytes.length;
        at += bytes.length;
        if (filled === length) await flush();
      }
    }
    if (filled > 0) await flush();
  } finally {
    await writing.catch(() => undefined);
  }
  await writing;
}
