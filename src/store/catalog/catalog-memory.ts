import { totalmem } from 'node:os';

const MIB = 1024 * 1024;

/**
 * What LevelDB may take: a cache of uncompressed blocks, 8 MiB up to 64 MiB where there are 4 GiB, and what
 * is written before it is sorted into a file, 4 MiB up to 16 MiB, twice of that. `bytes`: the memory of this
 * machine, or of its container where that has less.
 */
export function catalogMemory(
  bytes = Math.min(totalmem(), process.constrainedMemory() || Infinity),
): { cacheSize: number; writeBufferSize: number } {
  const share = (part: number, least: number, most: number): number =>
    Math.min(most * MIB, Math.max(least * MIB, Math.floor(bytes / part)));
  return { cacheSize: share(64, 8, 64), writeBufferSize: share(256, 4, 16) };
}
