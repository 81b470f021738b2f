import { setTimeout as sleep } from 'node:timers/promises';
import type { BenchProcess } from './bench-process.ts';
import { BUDGETS } from './budgets.ts';
import { KeptConnections } from './kept-connections.ts';
import { startEntrepot } from './peers/entrepot.ts';
import { startMirrors } from './peers/mirrors.ts';
import { interleave, median } from './rounds.ts';
import { judge, type Row } from './row.ts';
import { REPOSITORY, type Workbench } from './workbench.ts';

const CLIENTS = 1_000;
const TAGS = 50;
const ROUNDS = 5;
/** Longer than a storm: what it has asked for is fresh to its end. */
const TTL_MS = 10_000;
const LINK = { megabytesPerSecond: 100, roundTripMs: 50 };

/** All clients look for new versions of the same tags in the moment in which these are no longer fresh. */
export async function measureStorm(bench: Workbench): Promise<Row[]> {
  const tags: string[] = [];
  while (tags.length < TAGS) {
    const tag = bench.newTag();
    const config = await bench.content.addConfig(tag);
    await bench.content.addImage(tag, { config, layers: [await bench.content.addBlob(1024)] });
    tags.push(tag);
  }
  const pathOf = (client: number): string => `/v2/${REPOSITORY}/manifests/${tags[client % TAGS]}`;
  await using scope = new AsyncDisposableStack();
  const link = scope.use(await bench.startLink(LINK));
  const upstreams = { 'upstream.test': { url: link.url, tags: { ttl: `${TTL_MS / 1000}s` } } };
  const servers = [
    await startEntrepot(bench, link, { settings: { upstreams } }),
    ...(bench.options.isShort ? [] : await startMirrors(bench, link)),
  ];
  for (const server of servers) scope.use(server);
  const rounds = bench.options.rounds ?? ROUNDS;
  const [own = [], ...others] = await interleave(servers, rounds, async (server, round) => {
    try {
      const storm = await brew(bench, server, pathOf);
      const { requests, milliseconds } = storm;
      bench.progress(
        `storm: round ${round + 1}, ${server.name}: ${requests} requests to upstream, ` +
          `all answered after ${Math.round(milliseconds)} ms`,
      );
      return [storm];
    } catch (error) {
      if (server === servers[0]) throw error;
      // A peer that breaks off is a result too.
      bench.progress(`storm: round ${round + 1}, ${server.name}: ${String(error)}`);
      return [];
    }
  });
  const beside = servers.slice(1).map(({ name }, position) => {
    const storms = (others[position] ?? []).flat();
    if (storms.length === 0) return `${name} answers not all of them`;
    const requests = median(storms.map((each) => each.requests));
    const milliseconds = Math.round(median(storms.map((each) => each.milliseconds)));
    return `${name} ${requests} requests, ${milliseconds} ms`;
  });
  const work = `${CLIENTS.toLocaleString('en')} clients revalidate ${TAGS} tags at the end of the ttl`;
  return [
    judge({
      work: `${work}: requests to upstream`,
      unit: '',
      entrepot: own.flat().map(({ requests }) => requests),
      budget: BUDGETS.stormRequests,
      ...(beside.length > 0 && { note: beside.join('; ') }),
    }),
    judge({
      work: `${work}: until the last is answered, ${LINK.roundTripMs} ms link`,
      unit: 'ms',
      entrepot: own.flat().map(({ milliseconds }) => milliseconds),
    }),
  ];
}

async function brew(
  bench: Workbench,
  server: BenchProcess,
  pathOf: (client: number) => string,
): Promise<{ requests: number; milliseconds: number }> {
  {
    await using first = new KeptConnections(server, TAGS);
    await first.ask('GET', pathOf);
  }
  await using clients = new KeptConnections(server, CLIENTS);
  await clients.ask('GET', () => '/v2/');
  await sleep(TTL_MS);
  await bench.settle();
  const begun = performance.now();
  await clients.ask('HEAD', pathOf);
  const milliseconds = performance.now() - begun;
  const { manifestRequests: requests = NaN } = await bench.upstream.ask();
  return { requests, milliseconds };
}
