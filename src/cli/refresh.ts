import type { RefreshReport } from '../api/store-api.ts';
import { askOnce } from './admin-client.ts';
import { EXIT_CODE, print, type CommandOptions, type StoreContext } from './command-context.ts';
import { TEXTS } from './texts.ts';

/** Asks the upstream what a tag means now. That it does not have it is a failure. */
export async function refresh(
  image: string,
  options: CommandOptions,
  context: StoreContext,
): Promise<number> {
  const report = await askOnce<RefreshReport>(options, context, {
    path: '/api/v1/refresh',
    method: 'POST',
    body: { image },
  });
  print(options, context, report, () => `${describe(report)}\n`);
  return report.digest === undefined ? EXIT_CODE.failed : EXIT_CODE.ok;
}

function describe({ image, state, digest = '', before = '', isKept }: RefreshReport): string {
  if (state === 'unchanged') return TEXTS.tagUnchanged({ image, digest });
  if (state === 'moved') return TEXTS.tagMoved({ image, digest, before });
  if (state === 'unheld') return TEXTS.tagUnheld({ image, digest });
  if (state === 'absent') return TEXTS.tagAbsent({ image });
  return isKept ? TEXTS.tagKept({ image }) : TEXTS.tagGone({ image });
}
