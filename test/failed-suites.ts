// node test/failed-suites.ts FILE: names the suites that failed by what ava printed, a line each. Fails when
// there is none, or more than a chance explains.
import { globSync, readFileSync } from 'node:fs';
import { sep } from 'node:path';
import { stripVTControlCharacters } from 'node:util';

const MOST = 3;
const [file = ''] = process.argv.slice(2);
const lines = stripVTControlCharacters(readFileSync(file, 'utf8')).split('\n');
const suites = globSync('**/*.test.{ts,js}', { exclude: ['node_modules'] });

const failed = new Set(lines.flatMap((line) => [...ofTitle(line), ...ofPlace(line)]));
if (failed.size === 0 || failed.size > MOST) process.exit(1);
process.stdout.write(`${[...failed].join('\n')}\n`);

/** "  ✘ e2e › bundles › a title" is of a suite below the folder that the run has in common. */
function ofTitle(line: string): string[] {
  const [, title = ''] = /^ {2}[✘×] (?:\[fail\]: )?(.*)/u.exec(line) ?? [];
  const parts = title.split(' › ').slice(0, -1);
  for (; parts.length > 0; parts.pop()) {
    const end = `${sep}${parts.join(sep)}.test.`;
    const found = suites.filter((suite) => `${sep}${suite}`.includes(end));
    if (found.length > 0) return found;
  }
  return [];
}

/**
 * "  test/e2e/bundles.test.ts:12" stands above the lines of an error; an uncaught one names its suite, and so does a
 * test that never ended.
 */
function ofPlace(line: string): string[] {
  const form =
    /^ {2}(?:(?:Uncaught exception|Unhandled rejection|\d+ tests were pending) in )?(\S+\.test\.[jt]s)(?::\d+)?$/;
  const [, suite] = form.exec(line) ?? [];
  return suites.filter((each) => each === suite);
}
