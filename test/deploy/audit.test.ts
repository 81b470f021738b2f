/** `npm run audit` before a package registry that has advisories, and before one that offers none. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import test, { type ExecutionContext } from 'ava';
import { createTempFolder } from '../helpers/mirror.ts';
import { serve } from '../helpers/serve.ts';

const PROJECT = join(import.meta.dirname, '..', '..');
const ADVISORIES = '/-/npm/v1/security/advisories/bulk';

interface Told {
  readonly code: number;
  readonly output: string;
  readonly asked: readonly string[];
}

interface Situation {
  /** Of an advisory for Koa; without one the registry offers none. */
  readonly severity?: string;
  readonly statements?: readonly object[];
}

async function audit(t: ExecutionContext, { severity, statements }: Situation): Promise<Told> {
  const folder = await createTempFolder(t);
  for (const path of ['deploy/package', 'package.json', 'package-lock.json']) {
    await cp(join(PROJECT, path), join(folder, path), { recursive: true });
  }
  if (statements) {
    await writeFile(join(folder, 'deploy/package/vex.json'), JSON.stringify(statements));
  }
  const asked: string[] = [];
  const registry = createServer((request, response) => {
    asked.push(`${request.method} ${request.url}`);
    if (request.url === ADVISORIES && severity !== undefined) {
      const url = 'https://github.com/advisories/GHSA-test';
      const advisory = { id: 1, url, title: 'Reads too far', severity, vulnerable_versions: '*' };
      response.end(JSON.stringify({ koa: [advisory] }));
    } else {
      response.writeHead(405).end();
    }
  });
  const env = {
    ...process.env,
    npm_config_registry: await serve(t, registry).then(String),
    npm_config_cache: join(folder, 'cache'),
    npm_config_fetch_retries: '0',
  };
  const child = spawn(process.execPath, [join(folder, 'deploy/package/audit.ts')], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [output, [code]] = await Promise.all([text(child.stdout), once(child, 'exit')]);
  return { code: Number(code), output, asked };
}

test('a high advisory for a package that is shipped fails the audit', async (t) => {
  const { code, output } = await audit(t, { severity: 'high' });
  t.is(code, 1);
  t.is(
    output,
    'high: koa: Reads too far (https://github.com/advisories/GHSA-test)\naudited: 1 high or critical\n',
  );
});

test('a moderate advisory does not fail it, nor one that is stated not to affect Entrepot', async (t) => {
  const { code, output } = await audit(t, { severity: 'moderate' });
  t.deepEqual([code, output], [0, 'audited: 0 high or critical\n']);
  const analysis = { state: 'not_affected', detail: 'what it reads is never given' };
  const statement = { id: 'GHSA-test', affects: [{ ref: 'koa@3.3.0' }], analysis };
  const stated = await audit(t, { severity: 'critical', statements: [statement] });
  t.deepEqual([stated.code, stated.output], [0, 'audited: 0 high or critical\n']);
});

test('a registry without advisories is told to be one', async (t) => {
  const { code, output, asked } = await audit(t, {});
  t.is(code, 0);
  t.regex(output, /^not audited: the registry offers no advisories \(405 /);
  t.true(asked.includes(`POST ${ADVISORIES}`));
});
