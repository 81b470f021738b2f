import { getHeapStatistics } from 'node:v8';

const MIB = 1024 * 1024;

/**
 * What LevelDB may take: a cache of uncompressed blocks, 8 to 64 MiB, and what is written before it is
 * sorted into a file, 4 to 16 MiB, twice of that. `bytes`: the limit of the heap, which Node sets to about
 * half of the memory of the machine, or of its container where that has less.
 */
export function catalogMemory(bytes = getHeapStatistics().heap_size_limit): {
  cacheSize: number;
  writeBufferSize: number;
} {
  const share = (part: number, least: number, most: number): number =>
    Math.min(most * MIB, Math.max(least * MIB, Math.floor(bytes / part)));
  return { cacheSize: share(32, 8, 64), writeBufferSize: share(128, 4, 16) };
}
