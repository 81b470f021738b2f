import { writeFile } from 'node:fs/promises';
import { BenchProcess, freePort } from '../bench-process.ts';
import { findCommand } from '../commands.ts';
import type { Workbench } from '../workbench.ts';

/** Debian's docker-registry with Debian's configuration, as a mirror; `undefined` if not installed. */
export async function startDockerRegistry(
  bench: Workbench,
  origin: BenchProcess,
): Promise<BenchProcess | undefined> {
  const command = findCommand('docker-registry');
  if (command === undefined) return undefined;
  const port = await freePort();
  const settings = bench.newPath('docker-registry.yaml');
  // JSON is YAML.
  await writeFile(
    settings,
    JSON.stringify({
      version: '0.1',
      log: { fields: { service: 'registry' } },
      storage: {
        cache: { blobdescriptor: 'inmemory' },
        filesystem: { rootdirectory: bench.newPath('docker-registry') },
        delete: { enabled: true },
      },
      http: { addr: `127.0.0.1:${port}`, headers: { 'X-Content-Type-Options': ['nosniff'] } },
      health: { storagedriver: { enabled: true, interval: '10s', threshold: 3 } },
      proxy: { remoteurl: origin.url },
    }),
  );
  return BenchProcess.start({
    name: 'docker-registry',
    command,
    args: ['serve', settings],
    port,
    log: bench.newPath('docker-registry.log'),
  });
}
