import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { hash } from '@node-rs/bcrypt';
import { KeyHolder } from '../admission/signing.ts';
import { installPacked, packProject } from '../deploy/packed.ts';
import { BUDGETS } from './budgets.ts';
import { startEntrepot } from './peers/entrepot.ts';
import { interleave, median } from './rounds.ts';
import { judge, type Row } from './row.ts';
import type { Workbench } from './workbench.ts';

const ROUNDS = 5;
/** After the start; by then what it does only once is done. */
const IDLE_MS = 5_000;

interface Start {
  readonly seconds: number;
  readonly mebibytes: number;
}

/**
 * What a start and a mirror that nobody asks cost, in turn: from the packed package, from it with
 * access and admission, and from the source.
 */
export async function measurePackageStart(bench: Workbench): Promise<Row[]> {
  const folder = bench.newPath('installed');
  await mkdir(folder);
  await installPacked(folder, (await packProject(bench.newPath('packed'))).tarball);
  const program = join(folder, 'node_modules', 'entrepot', 'dist', 'main.js');
  const subjects = [
    { name: 'package', options: { program } },
    { name: 'guarded', options: { program, settings: await guards(bench) } },
    { name: 'source', options: {} },
  ];
  const rounds = bench.options.rounds ?? ROUNDS;
  const [plain = [], guarded = [], source = []] = await interleave(
    subjects,
    rounds,
    async ({ name, options }, round): Promise<Start> => {
      const begun = performance.now();
      await using entrepot = await startEntrepot(bench, bench.upstream, options);
      await fetch(`${entrepot.url}/v2/`);
      const seconds = (performance.now() - begun) / 1000;
      await sleep(IDLE_MS);
      const { now: mebibytes } = entrepot.memoryMiB;
      bench.progress(
        `start: round ${round + 1}, ${name}: ${seconds.toFixed(2)} s, ${Math.round(mebibytes)} MiB`,
      );
      return { seconds, mebibytes };
    },
  );
  return [
    ...rowsOf('the packed package', plain, source),
    ...rowsOf('the packed package with access and admission', guarded),
  ];
}

function rowsOf(what: string, own: readonly Start[], source?: readonly Start[]): Row[] {
  const fromSource = (of: (start: Start) => number, unit: string) =>
    source && { note: `from the source ${median(source.map(of)).toFixed(2)} ${unit}` };
  return [
    judge({
      work: `${what}: resident memory when nobody asks`,
      unit: 'MiB',
      entrepot: own.map(({ mebibytes }) => mebibytes),
      budget: BUDGETS.packageIdleMiB,
      ...fromSource(({ mebibytes }) => mebibytes, 'MiB'),
    }),
    judge({
      work: `${what}: start to its first answer`,
      unit: 's',
      entrepot: own.map(({ seconds }) => seconds),
      budget: BUDGETS.packageFirstAnswerS,
      ...fromSource(({ seconds }) => seconds, 's'),
    }),
  ];
}

/** A user, a rule of who may pull, and a rule of who must have signed. */
async function guards(bench: Workbench): Promise<object> {
  const folder = bench.newPath('guards');
  await mkdir(folder);
  const users = join(folder, 'htpasswd');
  await writeFile(users, `ci:${await hash('correct horse', 10)}\n`);
  const file = new KeyHolder().writeKey(folder);
  const pulling = { who: ['user:ci'], may: ['pull'], images: ['**'] };
  const signed = {
    images: ['upstream.test/bench/image'],
    mode: 'enforce',
    signedBy: [{ key: 'release' }],
  };
  return {
    access: { token: { ttl: '1h' }, htpasswd: { file: users }, rules: [pulling] },
    admission: { trust: { keys: { release: { file } } }, rules: [signed] },
  };
}
