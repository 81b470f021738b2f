import { writeFile } from 'node:fs/promises';
import type { BenchProcess } from './bench-process.ts';
import { BUDGETS, type Budget } from './budgets.ts';
import { startDockerRegistry } from './peers/docker-registry.ts';
import { startEntrepot, startOtherCheckout } from './peers/entrepot.ts';
import { interleave } from './rounds.ts';
import { judge, type Row } from './row.ts';
import { manifestUrl, type Workbench } from './workbench.ts';
import { wrk } from './wrk.ts';

const TAG = 'v1';
const LAYERS = 8;
const CONNECTIONS = 32;
const ROUNDS = 7;
const SECONDS = 2;
const WARM_UP_SECONDS = 2;

/** What containerd sends. */
const ACCEPT = [
  'application/vnd.docker.distribution.manifest.v2+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.oci.image.index.v1+json',
  '*/*',
].join(', ');

/** A held manifest to many connections: what a request costs apart from its bytes. */
export async function measureManifestRate(bench: Workbench): Promise<Row[]> {
  const digest = await bench.content.addManifest(TAG, LAYERS);
  await using scope = new AsyncDisposableStack();
  const entrepot = scope.use(await startEntrepot(bench, bench.upstream));
  const other = await startOtherCheckout(bench, bench.upstream);
  if (other) scope.use(other);
  const registry = await startDockerRegistry(bench, bench.upstream);
  if (registry) scope.use(registry);
  const rows: Row[] = [];
  for (const [kind, reference] of [
    ['tag', TAG],
    ['digest', digest],
  ] as const) {
    await using koa = await startKoa(bench, entrepot, reference);
    const peers = [koa, other, registry].filter((server) => server !== undefined);
    const servers = [entrepot, ...peers];
    for (const server of servers) await load(server, reference, WARM_UP_SECONDS);
    const results = await interleave(
      servers,
      bench.options.rounds ?? ROUNDS,
      async (server, round) => {
        const rate = await load(server, reference, SECONDS);
        bench.progress(
          `manifest: round ${round + 1}, by ${kind}, ${server.name}: ${Math.round(rate)}/s`,
        );
        return rate;
      },
    );
    const [own = [], ...others] = results;
    const budgets: Readonly<Record<string, Budget>> = {
      'bare Koa route': BUDGETS.manifestRateByKoa,
      'docker-registry': BUDGETS.manifestRateByRegistry[kind],
    };
    for (const [position, { name }] of peers.entries()) {
      const budget = budgets[name];
      rows.push(
        judge({
          work: `held manifest by ${kind}, ${CONNECTIONS} connections`,
          unit: 'requests/s',
          entrepot: own,
          peer: { name, values: others[position] ?? [] },
          ...(budget && { budget }),
        }),
      );
    }
  }
  return rows;
}

/** The route gives what Entrepot gave, header by header. */
async function startKoa(
  bench: Workbench,
  entrepot: BenchProcess,
  reference: string,
): Promise<BenchProcess> {
  const url = manifestUrl(entrepot, reference);
  await (await fetch(url, { headers: { accept: ACCEPT } })).bytes();
  const held = await fetch(url, { headers: { accept: ACCEPT } });
  const {
    date: _,
    connection: __,
    'keep-alive': ___,
    ...headers
  } = Object.fromEntries(held.headers);
  const body = bench.newPath('manifest');
  await writeFile(body, await held.bytes());
  return bench.startScript('bare Koa route', 'peers/bare-koa-server.ts', [
    JSON.stringify(headers),
    body,
  ]);
}

/** Requests a second. */
async function load(server: BenchProcess, reference: string, seconds: number): Promise<number> {
  const url = manifestUrl(server, reference);
  return (await wrk(url, { connections: CONNECTIONS, headers: [`Accept: ${ACCEPT}`], seconds }))
    .rate;
}
