import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { BenchProcess, freePort } from '../bench-process.ts';
import type { Workbench } from '../workbench.ts';

const MAIN = join(import.meta.dirname, '..', '..', '..', 'src', 'main.ts');
const UPSTREAM = 'upstream.test';

/** `entrepot serve` on defaults, but for a tag that stays fresh. A store that is there goes on. */
export async function startEntrepot(
  bench: Workbench,
  origin: BenchProcess,
  store = bench.newPath('store'),
  /** Beside the defaults. */
  settings: object = {},
): Promise<BenchProcess> {
  const port = await freePort();
  const file = bench.newPath('entrepot.yaml');
  // JSON is YAML.
  await writeFile(
    file,
    JSON.stringify({
      listen: `127.0.0.1:${port}`,
      admin: `127.0.0.1:${await freePort()}`,
      grace: '100ms',
      store: { path: store },
      defaultUpstream: UPSTREAM,
      upstreams: { [UPSTREAM]: { url: origin.url, tags: { ttl: '24h' } } },
      ...settings,
    }),
  );
  const { profileFolder } = bench;
  const profiling =
    profileFolder === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profileFolder}`];
  return BenchProcess.start({
    name: 'Entrepot',
    command: process.execPath,
    args: [...profiling, MAIN, 'serve', '--config', file],
    port,
    log: bench.newPath('entrepot.log'),
  });
}
