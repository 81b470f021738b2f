import { hash } from '@node-rs/bcrypt';
import { writeFile } from 'node:fs/promises';
import { freePort, type BenchProcess } from './bench-process.ts';
import { BUDGETS } from './budgets.ts';
import { curl } from './curl.ts';
import { startEntrepot } from './peers/entrepot.ts';
import { interleave } from './rounds.ts';
import { judge, type Row } from './row.ts';
import { blobUrl, manifestUrl, type Workbench } from './workbench.ts';
import { wrk } from './wrk.ts';

const BLOB_BYTES = 256 * 1024 ** 2;
/** Fetched one after the other in a round. */
const BLOBS = 4;
const ROUNDS = 7;
const LOAD = { connections: 32, seconds: 2 };
const TAG = 'v1';
const LAYERS = 8;
const PULLS = 10_000;
const [USER, PASSWORD] = ['ci', 'correct horse'];
const BASIC = `Authorization: Basic ${Buffer.from(`${USER}:${PASSWORD}`).toString('base64')}`;
const WITHOUT = 'without access';

/** What it costs to ask who pulls: two mirrors of the same content, one of which has rules. */
export async function measureAccess(bench: Workbench): Promise<Row[]> {
  const { digest } = await bench.content.addBlob(BLOB_BYTES);
  const manifest = await bench.content.addManifest(TAG, LAYERS);
  await using scope = new AsyncDisposableStack();
  const open = scope.use(await startEntrepot(bench, bench.upstream));
  const guarded = await startGuarded(bench);
  scope.use(guarded.server);
  const servers = [
    { server: guarded.server, headers: [await tokenOf(guarded.server)] },
    { server: open, headers: [] },
  ];
  for (const { server, headers } of servers) {
    await curl([blobUrl(server, digest)], { headers });
    await wrk(manifestUrl(server, manifest), { ...LOAD, headers });
  }
  await bench.settle();
  const rounds = bench.options.rounds ?? ROUNDS;
  const [blobs = [], openBlobs = []] = await interleave(servers, rounds, async (each) => {
    const startedAt = performance.now();
    await curl(
      Array.from({ length: BLOBS }, () => blobUrl(each.server, digest)),
      { headers: each.headers },
    );
    return (BLOBS * BLOB_BYTES) / 1e6 / (performance.now() - startedAt);
  });
  const [manifests = [], openManifests = []] = await interleave(servers, rounds, async (each) => {
    const cpuBefore = each.server.cpuSeconds;
    const load = { ...LOAD, headers: each.headers };
    const { rate, requests } = await wrk(manifestUrl(each.server, manifest), load);
    return { rate, cpuMicros: ((each.server.cpuSeconds - cpuBefore) / requests) * 1e6 };
  });
  return [
    judge({
      work: 'held 256 MiB blob, with rules and a token',
      unit: 'GB/s',
      entrepot: blobs,
      peer: { name: WITHOUT, values: openBlobs },
      budget: BUDGETS.guardedBlobByOpen,
    }),
    judge({
      work: 'held manifest by digest, with rules and a token',
      unit: 'requests/s',
      entrepot: manifests.map(({ rate }) => rate),
      peer: { name: WITHOUT, values: openManifests.map(({ rate }) => rate) },
      budget: BUDGETS.guardedManifestByOpen,
    }),
    judge({
      work: 'its CPU',
      unit: 'µs',
      entrepot: manifests.map(({ cpuMicros }) => cpuMicros),
      peer: { name: WITHOUT, values: openManifests.map(({ cpuMicros }) => cpuMicros) },
    }),
    await countHashes(guarded, manifest),
  ];
}

interface Guarded {
  readonly server: BenchProcess;
  readonly metrics: string;
}

async function startGuarded(bench: Workbench): Promise<Guarded> {
  const users = bench.newPath('htpasswd');
  await writeFile(users, `${USER}:${await hash(PASSWORD, 10)}\n`);
  const metrics = `127.0.0.1:${await freePort()}`;
  const rules = [{ who: [`user:${USER}`], may: ['pull'], images: ['**'] }];
  const server = await startEntrepot(bench, bench.upstream, {
    settings: {
      metrics: { listen: metrics },
      access: { token: { ttl: '1h' }, htpasswd: { file: users }, rules },
    },
  });
  return { server, metrics: `http://${metrics}/metrics` };
}

/** As a client has it for a pull. */
async function tokenOf(server: BenchProcess): Promise<string> {
  const scope = 'scope=repository:bench/image:pull';
  const answer = await fetch(`${server.url}/token?service=bench&${scope}`, {
    headers: { authorization: BASIC.slice('Authorization: '.length) },
  });
  const { token } = (await answer.json()) as { token: string };
  return `Authorization: Bearer ${token}`;
}

/** Pulls with a password, which was compared before. */
async function countHashes({ server, metrics }: Guarded, manifest: string): Promise<Row> {
  const count = async (): Promise<number> => {
    const text = await (await fetch(metrics)).text();
    const counts = text.matchAll(/^entrepot_access_passwords_total\{[^}]*\} (\d+)$/gm);
    return [...counts].reduce((sum, [, value]) => sum + Number(value), 0);
  };
  const before = await count();
  let pulls = 0;
  while (pulls < PULLS) {
    const load = { ...LOAD, headers: [BASIC] };
    pulls += (await wrk(manifestUrl(server, manifest), load)).requests;
  }
  return judge({
    work: 'passwords compared in 10,000 pulls after the first',
    unit: '',
    entrepot: [(await count()) - before],
    budget: BUDGETS.passwordsCompared,
    note: `${pulls} pulls`,
  });
}
