import { readdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { Config } from '../../src/config/config.ts';
import { startServer, type RunningServer } from '../../src/server.ts';
import { pino } from 'pino';
import { get } from '../helpers/client.ts';
import { partialPath, TEST_TIMING } from '../helpers/mirror.ts';
import { compare } from './compare.ts';
import { noteFacts, Facts } from './facts.ts';
import { isHit } from './load.ts';
import type { Promises } from './promises.ts';
import type { World } from './world.ts';

export interface InspectionParts {
  readonly config: Config;
  readonly world: World;
  readonly promises: Promises;
  readonly factsFile: string;
  /** By a former inspection. */
  readonly pin: { readonly image: string } | undefined;
  /** Done to the store before it is closed. */
  readonly before?: (server: RunningServer) => Promise<void>;
}

export interface Findings {
  /** What must not be. */
  readonly wrong: readonly string[];
  readonly partials: number;
  readonly kept: number;
  readonly evictions: number;
}

const ENTRIES = [
  'blobs',
  'catalog',
  'catalog.holder',
  'catalog.reserve',
  'ingest',
  'format',
  'journal',
  'quarantine',
];

/** Restarts the mirror without an upstream, and compares what it holds and serves with what it owes. */
export async function inspect(parts: InspectionParts): Promise<Findings> {
  const { config, promises, factsFile } = parts;
  const server = await startServer(
    { ...config, graceMs: 0 },
    {
      log: pino({ level: 'silent' }),
      timing: TEST_TIMING,
    },
  );
  const endNotes = noteFacts(server, factsFile);
  try {
    await server.store.care.settled;
    // Behind whatever the reconciliation made the budget do.
    await server.store.care.budget.evict(0);
    const facts = await Facts.read(factsFile);
    promises.settle(facts);
    const wrong = [
      ...(await compare(server, config.store.path)),
      ...(await listWrongPaths(parts)),
      ...(await listBroken(server, parts)),
    ];
    const names = await readdir(join(config.store.path, 'ingest'));
    const partials = names.filter((name) => !name.endsWith('+map')).length;
    await parts.before?.(server);
    return { wrong, partials, kept: promises.size, evictions: facts.evictions };
  } finally {
    await server.close();
    endNotes();
  }
}

/** What a crash left lying about. */
async function listWrongPaths({ config, world }: InspectionParts): Promise<string[]> {
  const { path } = config.store;
  const partials = [...world.digests].map((digest) => basename(partialPath(path, digest)));
  const names = new Set(partials.flatMap((name) => [name, `${name}+sparse`, `${name}+map`]));
  const strange = (await readdir(join(path, 'ingest'))).filter((name) => !names.has(name));
  const entries = (await readdir(path)).filter((name) => !ENTRIES.includes(name));
  const quarantined = await readdir(join(path, 'quarantine'));
  return [
    ...strange.map((name) => `left over: ingest/${name}`),
    ...entries.map((name) => `left over: ${name}`),
    ...quarantined.map((name) => `left over: quarantine/${name}`),
  ];
}

/** Promises that are not kept. */
async function listBroken(server: RunningServer, parts: InspectionParts): Promise<string[]> {
  const { promises, world, pin } = parts;
  const wrong: string[] = [];
  for (const { kind, repository, digest } of promises.list()) {
    const path = `${repository}/${kind}/${digest}`;
    const answer = await get(`${server.url}/v2/${path}`).catch(String);
    if (typeof answer === 'string') wrong.push(`${path}: ${answer}`);
    else if (answer.status !== 200) wrong.push(`lost: ${path}: ${answer.status}`);
    else if (!isHit(answer)) wrong.push(`${path}: ${String(answer.headers['cache-status'])}`);
    else if (!world.isRight(digest, answer.body)) wrong.push(`${path}: wrong bytes`);
  }
  if (pin && !server.store.care.pins.list().some(({ image }) => image === pin.image)) {
    wrong.push(`lost: the pin of ${pin.image}`);
  }
  return wrong;
}
