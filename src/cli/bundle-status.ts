import type { BundlesReport } from '../api/bundle-api.ts';
import { askOnce } from './admin-client.ts';
import { describeParts } from './bundle-format.ts';
import { EXIT_CODE, print, type CommandOptions, type StoreContext } from './command-context.ts';
import { formatAge, formatTable, shortDigest } from './format.ts';
import { TEXTS } from './texts.ts';

/** Says how bundles stand here, so that a person can read out what is to be sent again; 1 while parts are awaited. */
export async function printBundles(
  options: CommandOptions,
  context: StoreContext,
): Promise<number> {
  const report = await askOnce<BundlesReport>(options, context, { path: '/api/v1/bundles' });
  print(options, context, report, (columns) => formatBundles(report, context.now(), columns));
  return report.awaited.length === 0 ? EXIT_CODE.ok : EXIT_CODE.failed;
}

function formatBundles(
  { awaited, applied }: BundlesReport,
  now: number,
  columns: number | undefined,
): string {
  if (awaited.length + applied.length === 0) return `${TEXTS.noBundles}\n`;
  const rows = [
    ...applied.map(({ number, series, id, appliedAt }) => [
      String(number),
      series,
      shortDigest(id),
      `in force ${formatAge(appliedAt, now)}`,
    ]),
    ...awaited.map((each) => [
      String(each.number),
      each.series,
      shortDigest(each.id),
      TEXTS.partsAwaited({
        received: each.received.length,
        all: each.received.length + each.awaited.length,
        awaited: describeParts(each.awaited),
      }),
    ]),
  ];
  return formatTable([['BUNDLE', 'SERIES', 'ID', 'STATE'], ...rows], columns);
}
