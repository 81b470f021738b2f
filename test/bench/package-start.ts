import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { installPacked, packProject } from '../deploy/packed.ts';
import { BUDGETS } from './budgets.ts';
import { startEntrepot } from './peers/entrepot.ts';
import { interleave, median } from './rounds.ts';
import { judge, type Row } from './row.ts';
import type { Workbench } from './workbench.ts';

const ROUNDS = 5;
/** After the start; by then what it does only once is done. */
const IDLE_MS = 5_000;

/** What a start and a mirror that nobody asks cost, from the packed package and from the source in turn. */
export async function measurePackageStart(bench: Workbench): Promise<Row[]> {
  const folder = bench.newPath('installed');
  await mkdir(folder);
  await installPacked(folder, (await packProject(bench.newPath('packed'))).tarball);
  const main = join(folder, 'node_modules', 'entrepot', 'dist', 'main.js');
  const [own = [], source = []] = await interleave(
    [main, undefined],
    bench.options.rounds ?? ROUNDS,
    async (program) => {
      const begun = performance.now();
      await using entrepot = await startEntrepot(bench, bench.upstream, { program });
      await fetch(`${entrepot.url}/v2/`);
      const seconds = (performance.now() - begun) / 1000;
      await sleep(IDLE_MS);
      const { now: mebibytes } = entrepot.memoryMiB;
      bench.progress(
        `package: ${program ? 'package' : 'source'}: ${seconds.toFixed(2)} s, ${Math.round(mebibytes)} MiB`,
      );
      return { seconds, mebibytes };
    },
  );
  const sourceMiB = median(source.map(({ mebibytes }) => mebibytes));
  const sourceSeconds = median(source.map(({ seconds }) => seconds));
  return [
    judge({
      work: 'nobody asks, from the packed package: resident memory',
      unit: 'MiB',
      entrepot: own.map(({ mebibytes }) => mebibytes),
      budget: BUDGETS.packageIdleMiB,
      note: `from the source ${Math.round(sourceMiB)} MiB`,
    }),
    judge({
      work: 'start of the packed package to its first answer',
      unit: 's',
      entrepot: own.map(({ seconds }) => seconds),
      budget: BUDGETS.packageFirstAnswerS,
      note: `from the source ${sourceSeconds.toFixed(2)} s`,
    }),
  ];
}
