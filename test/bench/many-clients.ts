import { setTimeout as sleep } from 'node:timers/promises';
import type { BenchProcess } from './bench-process.ts';
import { BUDGETS } from './budgets.ts';
import { curl } from './curl.ts';
import { startDockerRegistry } from './peers/docker-registry.ts';
import { startEntrepot } from './peers/entrepot.ts';
import { judge, type Row } from './row.ts';
import { blobUrl, type Workbench } from './workbench.ts';

const BLOB_BYTES = 1024 ** 3;
const FAST_CLIENTS = 100;
const SLOW_CLIENTS = 100;
const SLOW_BYTES_PER_SECOND = 256 * 1024;
const STREAM_MS = 10_000;

/** Memory must follow the number of bytes on their way, not that of clients or of their blobs. */
export async function measureManyClients(bench: Workbench): Promise<Row[]> {
  const { digest } = await bench.content.addBlob(BLOB_BYTES);
  const store = bench.newPath('store');
  {
    await using filling = await startEntrepot(bench, bench.upstream, { store });
    await bench.warm(filling, digest);
  }
  await using entrepot = await startEntrepot(bench, bench.upstream, { store });
  const atRest = entrepot.memoryMiB.now;
  const own = await stream(bench, entrepot, digest);
  await using registry = await startDockerRegistry(bench, bench.upstream);
  if (registry) await bench.warm(registry, digest);
  const peer = registry && (await stream(bench, registry, digest));
  return [
    judge({
      work: `${FAST_CLIENTS + SLOW_CLIENTS} clients of a held blob, half of them slow: resident memory, highest`,
      unit: 'MiB',
      entrepot: [own],
      budget: BUDGETS.manyClientsMiB,
      note:
        `${Math.round(atRest)} MiB at rest` +
        (peer === undefined ? '' : `; docker-registry ${Math.round(peer)} MiB`),
    }),
  ];
}

/** The highest that resident memory was while all clients were there. */
async function stream(bench: Workbench, server: BenchProcess, digest: string): Promise<number> {
  const stop = new AbortController();
  const { signal } = stop;
  const url = blobUrl(server, digest);
  const urls = (count: number): string[] => Array.from({ length: count }, () => url);
  const clients = [
    // As many as a fast client finishes: new ones follow on those that have ended.
    curl(urls(20 * FAST_CLIENTS), { parallel: FAST_CLIENTS, signal }),
    curl(urls(SLOW_CLIENTS), {
      parallel: SLOW_CLIENTS,
      bytesPerSecond: SLOW_BYTES_PER_SECOND,
      signal,
    }),
  ];
  const failed = Promise.race(clients.map(async (client) => client.catch(failUnlessStopped)));
  for (let passed = 0; passed < STREAM_MS; passed += 2_000) {
    await Promise.race([failed, sleep(2_000)]);
    bench.progress(`memory: ${server.name}: ${Math.round(server.memoryMiB.now)} MiB resident`);
  }
  const { peak } = server.memoryMiB;
  stop.abort();
  await Promise.allSettled(clients);
  return peak;

  function failUnlessStopped(error: unknown): void {
    if (!signal.aborted) throw error;
  }
}
