import { writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { MAIN } from '../../helpers/process.ts';
import { BenchProcess, freePort } from '../bench-process.ts';
import { programOf } from '../program.ts';
import type { TlsFiles } from '../tls-files.ts';
import type { Workbench } from '../workbench.ts';

const UPSTREAM = 'upstream.test';

/** What rows call an Entrepot of `--against`. */
export const OTHER_CHECKOUT = 'other checkout';

export interface EntrepotOptions {
  /** One that is there goes on. */
  readonly store?: string;
  /** Beside the defaults. */
  readonly settings?: object;
  readonly checkout?: string;
  /** Its main file, of a package. */
  readonly program?: string | undefined;
  readonly tls?: TlsFiles | undefined;
}

/** `entrepot serve` on defaults, but for a tag that stays fresh. */
export async function startEntrepot(
  bench: Workbench,
  origin: BenchProcess,
  { store = bench.newPath('store'), settings = {}, checkout, program, tls }: EntrepotOptions = {},
): Promise<BenchProcess> {
  const port = await freePort();
  const file = bench.newPath('entrepot.yaml');
  // JSON is YAML.
  await writeFile(
    file,
    JSON.stringify({
      listen: { address: `127.0.0.1:${port}`, ...(tls && { tls }) },
      admin: `127.0.0.1:${await freePort()}`,
      store: { path: store },
      defaultUpstream: UPSTREAM,
      upstreams: { [UPSTREAM]: { url: origin.url, tags: { ttl: '24h' } } },
      ...settings,
    }),
  );
  const { profileFolder } = bench.options;
  const main = program ?? (checkout === undefined ? MAIN : join(checkout, 'src', 'main.ts'));
  const [command, ...args] =
    profileFolder === undefined
      ? programOf(main)
      : [process.execPath, '--cpu-prof', `--cpu-prof-dir=${profileFolder}`, main];
  return BenchProcess.start({
    name: checkout === undefined ? 'Entrepot' : OTHER_CHECKOUT,
    command,
    args: [...args, 'serve', '--config', file],
    port,
    log: bench.newPath('entrepot.log'),
    isTls: tls !== undefined,
  });
}

/** That of the other checkout with the same settings, if there is one to compare with. */
export async function startOtherCheckout(
  bench: Workbench,
  origin: BenchProcess,
  tls?: TlsFiles,
): Promise<BenchProcess | undefined> {
  const { against } = bench.options;
  if (against === undefined) return undefined;
  return startEntrepot(bench, origin, { checkout: resolve(against), tls });
}
