import { writeFile } from 'node:fs/promises';
import { BenchProcess, freePort } from '../bench-process.ts';
import { findCommand } from '../commands.ts';
import type { TlsFiles } from '../tls-files.ts';
import type { Workbench } from '../workbench.ts';

export interface DistributionOptions {
  /** What rows call it. */
  readonly name: string;
  readonly command: string;
  readonly tls?: TlsFiles | undefined;
}

/** Debian's docker-registry as a mirror; `undefined` if not installed. */
export async function startDockerRegistry(
  bench: Workbench,
  origin: BenchProcess,
  tls?: TlsFiles,
): Promise<BenchProcess | undefined> {
  const command = findCommand('docker-registry');
  if (command === undefined) return undefined;
  return startDistribution(bench, origin, { name: 'docker-registry', command, tls });
}

/** The registry of the distribution project, of any version, with Debian's configuration, as a mirror. */
export async function startDistribution(
  bench: Workbench,
  origin: BenchProcess,
  { name, command, tls }: DistributionOptions,
): Promise<BenchProcess> {
  const port = await freePort();
  const settings = bench.newPath(`${name}.yaml`);
  // JSON is YAML.
  await writeFile(
    settings,
    JSON.stringify({
      version: '0.1',
      log: { fields: { service: 'registry' } },
      storage: {
        cache: { blobdescriptor: 'inmemory' },
        filesystem: { rootdirectory: bench.newPath(name) },
        delete: { enabled: true },
      },
      http: {
        addr: `127.0.0.1:${port}`,
        headers: { 'X-Content-Type-Options': ['nosniff'] },
        ...(tls && { tls: { certificate: tls.cert, key: tls.key } }),
      },
      health: { storagedriver: { enabled: true, interval: '10s', threshold: 3 } },
      proxy: { remoteurl: origin.url },
    }),
  );
  return BenchProcess.start({
    name,
    command,
    args: ['serve', settings],
    port,
    log: bench.newPath(`${name}.log`),
    isTls: tls !== undefined,
    // Since 3.0 it looks for a collector of traces where none is.
    environment: { OTEL_TRACES_EXPORTER: 'none' },
  });
}
