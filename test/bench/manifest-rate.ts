import { writeFile } from 'node:fs/promises';
import { Agent, request } from 'undici';
import type { BenchProcess } from './bench-process.ts';
import { BUDGETS, type Budget } from './budgets.ts';
import type { BenchBlob } from './content.ts';
import { OTHER_CHECKOUT, startEntrepot, startOtherCheckout } from './peers/entrepot.ts';
import { startMirrors } from './peers/mirrors.ts';
import { interleave } from './rounds.ts';
import { judge, type Row } from './row.ts';
import type { TlsFiles } from './tls-files.ts';
import { manifestUrl, type Workbench } from './workbench.ts';
import { wrk } from './wrk.ts';

const LAYERS = 8;
const CONNECTIONS = 32;
const ROUNDS = 7;
const SECONDS = 2;
const BARE = 'bare node:http';

/** What containerd sends. */
const ACCEPT = [
  'application/vnd.docker.distribution.manifest.v2+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.oci.image.index.v1+json',
  '*/*',
].join(', ');

interface Asked {
  readonly what: string;
  readonly url: (server: BenchProcess) => string;
  readonly byDockerRegistry?: Budget;
}

/** A held manifest to many connections, and `/v2/`: what a request costs apart from its bytes. */
export async function measureManifestRate(bench: Workbench, tls?: TlsFiles): Promise<Row[]> {
  const { tag, digest } = await addImage(bench);
  await using scope = new AsyncDisposableStack();
  const entrepot = scope.use(await startEntrepot(bench, bench.upstream, { tls }));
  const other = await startOtherCheckout(bench, bench.upstream, tls);
  const peers = [...(other ? [other] : []), ...(await startMirrors(bench, bench.upstream, tls))];
  for (const peer of peers) scope.use(peer);
  const { tag: byTag, digest: byDigest } = BUDGETS.manifestRateByRegistry;
  const asked: readonly Asked[] = [
    {
      what: 'held manifest by tag',
      url: (server) => manifestUrl(server, tag),
      byDockerRegistry: byTag,
    },
    {
      what: 'held manifest by digest',
      url: (server) => manifestUrl(server, digest),
      byDockerRegistry: byDigest,
    },
    { what: '/v2/', url: (server) => `${server.url}/v2/` },
  ];
  const rows: Row[] = [];
  for (const each of asked) {
    for (const server of [entrepot, ...peers]) await load(bench, server, each);
    await using bare = await startBare(bench, each.url(entrepot), tls);
    await load(bench, bare, each);
    rows.push(...(await compare(bench, each, [entrepot, bare, ...peers])));
  }
  return rows;
}

/** Entrepot is the first of the servers. */
async function compare(
  bench: Workbench,
  asked: Asked,
  servers: readonly BenchProcess[],
): Promise<Row[]> {
  const isTls = servers[0]?.isTls === true;
  const work = `${asked.what}${isTls ? ' over TLS' : ''}, ${CONNECTIONS} connections`;
  const rounds = bench.options.rounds ?? ROUNDS;
  const results = await interleave(servers, rounds, async (server, round) => {
    const rate = await load(bench, server, asked);
    bench.progress(`manifest: round ${round + 1}, ${work}, ${server.name}: ${Math.round(rate)}/s`);
    return rate;
  });
  const [own = [], ...others] = results;
  return servers.slice(1).map(({ name }, position) => {
    const budget = isTls ? undefined : budgetBeside(name, asked);
    return judge({
      work,
      unit: 'requests/s',
      entrepot: own,
      peer: { name, values: others[position] ?? [] },
      ...(budget && { budget }),
    });
  });
}

function budgetBeside(name: string, { byDockerRegistry }: Asked): Budget | undefined {
  if (name === OTHER_CHECKOUT) return undefined;
  if (name === BARE) return BUDGETS.manifestRateByNode;
  return (name === 'docker-registry' ? byDockerRegistry : undefined) ?? BUDGETS.manifestRateByPeer;
}

/** Its layers are there: a mirror that holds whole images holds this one. */
async function addImage(bench: Workbench): Promise<{ tag: string; digest: string }> {
  const tag = bench.newTag();
  const layers: BenchBlob[] = [];
  for (let layer = 0; layer < LAYERS; layer += 1) layers.push(await bench.content.addBlob(1024));
  const config = await bench.content.addConfig(tag);
  const { digest } = await bench.content.addImage(tag, { config, layers });
  return { tag, digest };
}

/** It gives what Entrepot gave at this URL, header by header. */
async function startBare(bench: Workbench, url: string, tls?: TlsFiles): Promise<BenchProcess> {
  const dispatcher = new Agent({ connect: { rejectUnauthorized: false } });
  const { headers, body } = await request(url, { dispatcher, headers: { accept: ACCEPT } });
  const file = bench.newPath('body');
  await writeFile(file, await body.bytes());
  await dispatcher.close();
  const { date: _, connection: __, 'keep-alive': ___, ...fields } = headers;
  const args = [JSON.stringify(fields), file, ...(tls ? [tls.cert, tls.key] : [])];
  return bench.startScript(BARE, 'peers/bare-http-server.ts', args, { isTls: tls !== undefined });
}

/** Requests a second. */
async function load(bench: Workbench, server: BenchProcess, { url }: Asked): Promise<number> {
  const seconds = bench.options.isShort ? SECONDS / 2 : SECONDS;
  const headers = [`Accept: ${ACCEPT}`];
  return (await wrk(url(server), { connections: CONNECTIONS, headers, seconds })).rate;
}
