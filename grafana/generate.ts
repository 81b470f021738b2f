import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Page } from './dashboard.ts';
import { makeDashboard } from './dashboard.ts';
import { OVERVIEW } from './overview.ts';
import { PROCESS } from './process.ts';
import { STORE } from './store.ts';
import { SYNC } from './sync.ts';

export const PAGES: Readonly<Record<string, Page>> = {
  overview: OVERVIEW,
  sync: SYNC,
  store: STORE,
  process: PROCESS,
};

/** The file of each page, as it is committed. */
export function generate(): Map<string, string> {
  return new Map(
    Object.entries(PAGES).map(([name, page]) => [
      join(import.meta.dirname, 'dashboards', `${name}.json`),
      `${JSON.stringify(makeDashboard(page), null, 2)}\n`,
    ]),
  );
}

if (import.meta.main) for (const [path, text] of generate()) writeFileSync(path, text);
