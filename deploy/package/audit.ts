// npm run audit: fails on a high or critical advisory for a package that is shipped, unless vex.json says that it
// does not affect Entrepot. Says so where the registry offers no advisories.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { STATEMENTS } from './vex.ts';

const HARMLESS: readonly string[] = ['not_affected', 'false_positive'];
const BAD: readonly string[] = ['high', 'critical'];

interface Advisory {
  readonly name: string;
  readonly severity: string;
  readonly title: string;
  readonly url: string;
}

interface Audit {
  /** Absent where the registry could not be asked. */
  readonly vulnerabilities?: Readonly<
    Record<string, { readonly via: readonly (Advisory | string)[] }>
  >;
  readonly message?: string;
  readonly error?: { readonly summary: string };
}

const args = ['audit', '--omit=dev', '--json'];
const cwd = join(import.meta.dirname, '..', '..');
const { stdout } = spawnSync('npm', args, { cwd, encoding: 'utf8' });
const { vulnerabilities, message, error } = JSON.parse(stdout) as Audit;
if (vulnerabilities === undefined) {
  process.stdout.write(
    `not audited: the registry offers no advisories (${message ?? error?.summary})\n`,
  );
} else {
  const harmless = STATEMENTS.filter(({ analysis }) => HARMLESS.includes(analysis.state));
  const found = Object.values(vulnerabilities)
    .flatMap(({ via }) => via)
    .filter((advisory) => typeof advisory !== 'string')
    .filter(({ severity }) => BAD.includes(severity))
    .filter(({ url }) => !harmless.some(({ id }) => url.endsWith(`/${id}`)));
  for (const { name, severity, title, url } of found) {
    process.stdout.write(`${severity}: ${name}: ${title} (${url})\n`);
  }
  process.stdout.write(`audited: ${found.length} high or critical\n`);
  process.exitCode = found.length === 0 ? 0 : 1;
}
