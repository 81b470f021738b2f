import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { SyncRunState } from '../../src/api/sync-api.ts';
import { Authority, IDENTITY, ISSUER } from '../admission/signatures/authority.ts';
import { KeyHolder, statementOf } from '../admission/signing.ts';
import { freePort, type BenchProcess } from './bench-process.ts';
import { BUDGETS } from './budgets.ts';
import type { BenchBlob } from './content.ts';
import { startEntrepot } from './peers/entrepot.ts';
import { interleave } from './rounds.ts';
import { judge, type Row } from './row.ts';
import { manifestUrl, type Workbench } from './workbench.ts';
import { wrk } from './wrk.ts';

const IMAGES = 100;
const ROUNDS = 7;
const LOAD = { connections: 32, seconds: 2, headers: [] };
const IMAGE = 'upstream.test/bench/image';
const WITHOUT = 'without admission';

type Sign = (image: BenchBlob) => Promise<Buffer>;

/** What it costs to ask who signed an image: the first time, each time, and of images that no rule is about. */
export async function measureAdmission(bench: Workbench): Promise<Row[]> {
  const folder = bench.newPath('trust');
  await mkdir(folder);
  const holder = new KeyHolder();
  const authority = await Authority.create();
  const trustedRoot = join(folder, 'trusted_root.json');
  await writeFile(trustedRoot, JSON.stringify(authority.root));
  const trust = {
    sigstore: { trustedRoot },
    keys: { release: { file: holder.writeKey(folder) } },
  };
  const byKey = await addImages(bench, 'key', async (image) => holder.bundle(ofBench(image)));
  const keyless = await addImages(bench, 'keyless', async (image) =>
    Buffer.from(JSON.stringify(await authority.sign({ payload: statementOf(ofBench(image)) }))),
  );
  const first = async (digests: readonly string[], signer: object): Promise<readonly number[]> => {
    const rules = [{ images: [IMAGE], mode: 'enforce', signedBy: [signer] }];
    await using server = await startEntrepot(bench, bench.upstream, {
      store: await hold(bench, digests),
      settings: { admission: { trust, rules } },
    });
    return await firstVerdicts(server, digests);
  };
  const note = `medians of ${IMAGES} images; what is attached to them is held`;
  return [
    judge({
      work: 'the first verdict on an image, by a key',
      unit: 'ms',
      entrepot: await first(byKey, { key: 'release' }),
      budget: BUDGETS.verdictByKeyMs,
      note,
    }),
    judge({
      work: 'the first verdict on an image, keyless',
      unit: 'ms',
      entrepot: await first(keyless, { identity: IDENTITY, issuer: ISSUER }),
      budget: BUDGETS.verdictKeylessMs,
      note,
    }),
    ...(await measureKnown(bench, { digest: byKey[0]!, trust })),
  ];
}

/** Manifests a second, where a verdict is known, where no rule is about the image, and without rules. */
async function measureKnown(
  bench: Workbench,
  { digest, trust }: { readonly digest: string; readonly trust: object },
): Promise<Row[]> {
  const of = (images: string) => ({
    admission: {
      trust,
      rules: [{ images: [images], mode: 'enforce', signedBy: [{ key: 'release' }] }],
    },
  });
  await using scope = new AsyncDisposableStack();
  const servers: BenchProcess[] = [];
  for (const settings of [of(IMAGE), of('upstream.test/other/**'), {}]) {
    const store = await hold(bench, [digest]);
    servers.push(scope.use(await startEntrepot(bench, bench.upstream, { store, settings })));
  }
  for (const server of servers) await wrk(manifestUrl(server, digest), LOAD);
  await bench.settle();
  const rounds = bench.options.rounds ?? ROUNDS;
  const [judged = [], other = [], without = []] = await interleave(
    servers,
    rounds,
    async (server) => {
      const before = server.cpuSeconds;
      const { rate, requests } = await wrk(manifestUrl(server, digest), LOAD);
      return { rate, cpuMs: ((server.cpuSeconds - before) / requests) * 1e3 };
    },
  );
  const rateOf = ({ rate }: { readonly rate: number }): number => rate;
  const peer = { name: WITHOUT, values: without.map(rateOf) };
  return [
    judge({
      work: 'a verdict that is known: CPU of a manifest beyond that without rules',
      unit: 'ms',
      entrepot: judged.map(({ cpuMs }, round) => cpuMs - (without[round]?.cpuMs ?? NaN)),
      budget: BUDGETS.verdictKnownMs,
    }),
    judge({
      work: 'held manifest by digest whose verdict is known',
      unit: 'requests/s',
      entrepot: judged.map(rateOf),
      peer,
    }),
    judge({
      work: 'held manifest by digest that no rule is about',
      unit: 'requests/s',
      entrepot: other.map(rateOf),
      peer,
    }),
  ];
}

/** Signed images of one small layer; a bundle is listed as the registries without referrers do. */
async function addImages(bench: Workbench, kind: string, sign: Sign): Promise<readonly string[]> {
  const digests: string[] = [];
  for (let n = 0; n < IMAGES; n += 1) {
    const [config, layer] = [await bench.content.addBlob(700), await bench.content.addBlob(4_096)];
    const image = await bench.content.addImage(`${kind}-${n}`, { config, layers: [layer] });
    await bench.content.addBundle(image, await sign(image));
    digests.push(image.digest);
  }
  return digests;
}

/** The folder of a store that holds these images with what is attached to them, and no verdict. */
async function hold(bench: Workbench, digests: readonly string[]): Promise<string> {
  const store = bench.newPath('store');
  const admin = `127.0.0.1:${await freePort()}`;
  const rules = [{ image: IMAGE, digests }];
  const settings = { admin, sync: { schedule: '0 0 1 1 *', rules } };
  await using _ = await startEntrepot(bench, bench.upstream, { store, settings });
  for (;;) {
    const answer = await fetch(`http://${admin}/api/v1/sync/run`);
    const { running, last } = (await answer.json()) as SyncRunState;
    if (last && !last.isOk) throw new Error(`the sync went wrong: ${JSON.stringify(last)}`);
    if (last && !running) return store;
    await sleep(100);
  }
}

/** How much longer the first answer takes than the second one; what verifies is loaded before. */
async function firstVerdicts(
  server: BenchProcess,
  [loading = '', ...digests]: readonly string[],
): Promise<readonly number[]> {
  const ask = async (digest: string): Promise<number> => {
    const begun = performance.now();
    const answer = await fetch(manifestUrl(server, digest));
    await answer.arrayBuffer();
    if (!answer.ok) throw new Error(`${answer.url}: ${answer.status}`);
    return performance.now() - begun;
  };
  await ask(loading);
  const added: number[] = [];
  for (const digest of digests) added.push((await ask(digest)) - (await ask(digest)));
  return added;
}

function ofBench({ digest, size }: BenchBlob): Parameters<typeof statementOf>[0] {
  return { digest, size } as Parameters<typeof statementOf>[0];
}
