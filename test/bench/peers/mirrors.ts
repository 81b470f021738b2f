import type { BenchProcess } from '../bench-process.ts';
import type { TlsFiles } from '../tls-files.ts';
import type { Workbench } from '../workbench.ts';
import { startDistribution, startDockerRegistry } from './docker-registry.ts';
import { startZot } from './zot.ts';

/** Every other mirror that there is to compare with: docker-registry if installed, and the given peers. */
export async function startMirrors(
  bench: Workbench,
  origin: BenchProcess,
  tls?: TlsFiles,
): Promise<BenchProcess[]> {
  const { distribution, zot } = bench.options.peers;
  const started = [await startDockerRegistry(bench, origin, tls)];
  if (distribution !== undefined) {
    const options = { name: 'distribution', command: distribution, tls };
    started.push(await startDistribution(bench, origin, options));
  }
  if (zot !== undefined) started.push(await startZot(bench, origin, { command: zot, tls }));
  return started.filter((mirror) => mirror !== undefined);
}
