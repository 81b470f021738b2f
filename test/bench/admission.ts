import { cp, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { SyncRunState } from '../../src/api/sync-api.ts';
import { issue, NAME, seal } from '../admission/notation/forger.ts';
import { writeStore } from '../admission/notation/notation-scene.ts';
import { Authority, IDENTITY, ISSUER } from '../admission/signatures/authority.ts';
import { KeyHolder, statementOf } from '../admission/signing.ts';
import { freePort, type BenchProcess } from './bench-process.ts';
import { BUDGETS } from './budgets.ts';
import { NOTATION, SIGSTORE, type BenchBlob } from './content.ts';
import { startEntrepot } from './peers/entrepot.ts';
import { interleave } from './rounds.ts';
import { judge, type Row } from './row.ts';
import { manifestUrl, type Workbench } from './workbench.ts';
import { wrk } from './wrk.ts';

/** Fewer where a lone round is asked for. */
const IMAGES = { usual: 100, once: 10 };
const ROUNDS = 7;
const LOAD = { connections: 32, headers: [] };
const IMAGE = 'upstream.test/bench/image';
const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const WITHOUT = 'without admission';

interface Signing {
  readonly form: typeof SIGSTORE | typeof NOTATION;
  readonly sign: (image: BenchBlob) => Promise<Buffer>;
}

/** What it costs to ask who signed an image: the first time, each time, and of images that no rule is about. */
export async function measureAdmission(bench: Workbench): Promise<Row[]> {
  const folder = bench.newPath('trust');
  await mkdir(folder);
  const holder = new KeyHolder();
  const authority = await Authority.create();
  const trustedRoot = join(folder, 'trusted_root.json');
  await writeFile(trustedRoot, JSON.stringify(authority.root));
  const root = await issue({ isCa: true, subject: `${NAME}, CN=root` });
  const notary = await issue({ issuer: root });
  writeStore(folder, 'ca/bench/root.crt', root.chain[0]!);
  const trust = {
    sigstore: { trustedRoot },
    keys: { release: { file: holder.writeKey(folder) } },
    notation: { stores: folder },
  };
  const byKey = await addImages(bench, 'key', {
    form: SIGSTORE,
    sign: async (image) => holder.bundle(ofBench(image)),
  });
  const keyless = await addImages(bench, 'keyless', {
    form: SIGSTORE,
    sign: async (image) =>
      Buffer.from(JSON.stringify(await authority.sign({ payload: statementOf(ofBench(image)) }))),
  });
  const byNotation = await addImages(bench, 'notation', {
    form: NOTATION,
    sign: async (image) => seal('jws', notary, { target: { mediaType: MANIFEST, ...image } }),
  });
  const held = await hold(bench, [...byKey, ...keyless, ...byNotation]);
  const first = async (digests: readonly string[], signer: object): Promise<readonly number[]> => {
    const rules = [{ images: [IMAGE], mode: 'enforce', signedBy: [signer] }];
    await using server = await startEntrepot(bench, bench.upstream, {
      store: await copyOf(bench, held),
      settings: { admission: { trust, rules } },
    });
    return await firstVerdicts(server, digests);
  };
  const note = `medians of ${byKey.length - 1} images; what is attached to them is held`;
  const identities = [`x509.subject: ${notary.subject}`];
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
    judge({
      work: 'the first verdict on an image, by Notation',
      unit: 'ms',
      entrepot: await first(byNotation, { notation: { identities } }),
      budget: BUDGETS.verdictByKeyMs,
      note,
    }),
    ...(await measureKnown(bench, { digest: byKey[0]!, held, trust })),
  ];
}

/** Manifests a second, where a verdict is known, where no rule is about the image, and without rules. */
async function measureKnown(
  bench: Workbench,
  {
    digest,
    held,
    trust,
  }: { readonly digest: string; readonly held: string; readonly trust: object },
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
    const store = await copyOf(bench, held);
    servers.push(scope.use(await startEntrepot(bench, bench.upstream, { store, settings })));
  }
  const rounds = bench.options.rounds ?? ROUNDS;
  const load = { ...LOAD, seconds: rounds === 1 ? 1 : 2 };
  for (const server of servers) await wrk(manifestUrl(server, digest), load);
  await bench.settle();
  const [judged = [], other = [], without = []] = await interleave(
    servers,
    rounds,
    async (server) => {
      const before = server.cpuSeconds;
      const { rate, requests } = await wrk(manifestUrl(server, digest), load);
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

/** Signed images of one small layer; signatures are listed as the registries without referrers do. */
async function addImages(
  bench: Workbench,
  kind: string,
  { form, sign }: Signing,
): Promise<readonly string[]> {
  const digests: string[] = [];
  const count = bench.options.rounds === 1 ? IMAGES.once : IMAGES.usual;
  for (let n = 0; n < count; n += 1) {
    const [config, layer] = [await bench.content.addBlob(700), await bench.content.addBlob(4_096)];
    const image = await bench.content.addImage(`${kind}-${n}`, { config, layers: [layer] });
    await bench.content.addSignature(image, await sign(image), form);
    digests.push(image.digest);
  }
  return digests;
}

/** What is held is held in another folder too: one store serves one mirror. */
async function copyOf(bench: Workbench, store: string): Promise<string> {
  const copy = bench.newPath('store');
  await cp(store, copy, { recursive: true });
  return copy;
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
