// node test/summary.ts FILE BROKEN: reads what ava printed, says which tests were slowest and which failed, and ends with
// "N passed, N failed[, N skipped]". BROKEN commands ended badly, with or without a test that says so.
import { readFileSync } from 'node:fs';
import { stripVTControlCharacters } from 'node:util';

const SLOWEST = 15;
const [file = '', broken] = process.argv.slice(2);
const lines = stripVTControlCharacters(readFileSync(file, 'utf8')).split('\n');

// One line a test, two spaces from the margin: "  ✔ mirror › chains › a title (1m 2.5s)".
const passed = lines.filter((line) => /^ {2}[✔√] /u.test(line));
const skipped = lines.filter((line) => /^ {2}- \[skip\] /.test(line));
const failed = lines.filter(
  (line) =>
    /^ {2}([✘×] |Uncaught exception in |Unhandled rejection in )/u.test(line) &&
    // Said of a file beside its uncaught exception.
    !/ exited (with|due) /.test(line),
);

const timed = passed.flatMap((line) => {
  const found = /^ {2}. (?<title>.*) \((?:(?<minutes>\d+)m )?(?<seconds>[\d.]+)s\)$/u.exec(line);
  if (!found?.groups) return [];
  const { title, minutes = '0', seconds } = found.groups;
  return [{ title, seconds: Number(minutes) * 60 + Number(seconds) }];
});
timed.sort((one, other) => other.seconds - one.seconds);
if (timed.length > 0) say('The slowest tests:');
for (const { title, seconds } of timed.slice(0, SLOWEST)) {
  say(`${seconds.toFixed(1).padStart(7)} s  ${title}`);
}

tell(
  'Unsteady, they failed and passed when run again:',
  lines.filter((line) => line.startsWith('  ~ ')),
);
tell('Failed:', failed);
const failures = Math.max(failed.length, Number(broken));
const skips = skipped.length > 0 ? `, ${skipped.length} skipped` : '';
say(`${passed.length} passed, ${failures} failed${skips}`);
process.exitCode = failures === 0 ? 0 : 1;

function tell(what: string, titles: readonly string[]): void {
  if (titles.length > 0) say([what, ...titles].join('\n'));
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
