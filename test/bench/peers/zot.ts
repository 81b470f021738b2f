import { writeFile } from 'node:fs/promises';
import { BenchProcess, freePort } from '../bench-process.ts';
import type { TlsFiles } from '../tls-files.ts';
import type { Workbench } from '../workbench.ts';

export interface ZotOptions {
  readonly command: string;
  readonly tls?: TlsFiles | undefined;
}

/** zot that fetches on demand, with all else as it is by default. It has a blob only with an image of it. */
export async function startZot(
  bench: Workbench,
  origin: BenchProcess,
  { command, tls }: ZotOptions,
): Promise<BenchProcess> {
  const port = await freePort();
  const settings = bench.newPath('zot.json');
  const registry = {
    urls: [origin.url],
    onDemand: true,
    tlsVerify: false,
    content: [{ prefix: '**' }],
  };
  await writeFile(
    settings,
    JSON.stringify({
      storage: { rootDirectory: bench.newPath('zot') },
      http: { address: '127.0.0.1', port: String(port), ...(tls && { tls }) },
      log: { level: 'info' },
      extensions: { sync: { enable: true, registries: [registry] } },
    }),
  );
  return BenchProcess.start({
    name: 'zot',
    command,
    args: ['serve', settings],
    port,
    log: bench.newPath('zot.log'),
    isTls: tls !== undefined,
  });
}
