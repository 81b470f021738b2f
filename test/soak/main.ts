// npm run soak [-- --hours 24 --minutes-per-hour 0.25 --pulls 20 --seed 1]
import { parseArgs } from 'node:util';
import { growth, Soak } from './soak.ts';

const MIB = 1024 * 1024;
/** What may differ between two thirds of a run in which nothing grows. */
const MOST = { rss: 1.1, heap: 1.1, files: 1.2, timers: 1.5 } as const;

const { values } = parseArgs({
  options: {
    hours: { type: 'string', default: '24' },
    'minutes-per-hour': { type: 'string', default: '0.25' },
    pulls: { type: 'string', default: '20' },
    seed: { type: 'string', default: '1' },
  },
});
await using scope = new AsyncDisposableStack();
const soak = await Soak.open(
  { teardown: (work) => scope.defer(work) },
  {
    seed: Number(values.seed),
    hours: Number(values.hours),
    pullsPerMinute: Number(values.pulls),
    minuteMs: Number(values['minutes-per-hour']) * 1000,
    told: (hour, { rss, heap, files, timers, usage }) =>
      void process.stdout.write(
        `hour ${hour}: ${Math.round(rss / MIB)} MiB resident, ${Math.round(heap / MIB)} MiB of objects, ` +
          `${files} descriptors, ${timers} timers, ${usage.blobs} blobs of ${usage.bytes} bytes\n`,
      ),
  },
);
const { pulls, refused, verified, wrong, measures, left } = await soak.run();
const faults = [
  ...wrong,
  ...left.ingest.map((name) => `left: ingest/${name}`),
  ...left.quarantine.map((name) => `left: quarantine/${name}`),
];
for (const [figure, most] of Object.entries(MOST) as [keyof typeof MOST, number][]) {
  const grown = growth(measures, figure);
  process.stdout.write(`${figure}: last third by middle third ${grown.toFixed(3)}\n`);
  if (grown > most) faults.push(`${figure} grew to ${grown.toFixed(3)} of what it was`);
}
for (const fault of faults) process.stdout.write(`${fault}\n`);
process.stdout.write(
  `${values.hours} hours: ${pulls} pulls, ${refused} refused while the upstream was away, ` +
    `${verified} blobs verified, ${faults.length} faults\n`,
);
process.exitCode = faults.length === 0 ? 0 : 1;
