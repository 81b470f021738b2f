/** `token create`, `list` and `revoke` against a running server. */
import { existsSync, mkdirSync, readFileSync, rmdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { ApiTokens } from '../../src/access/api-tokens.ts';
import { breakDisk } from '../faults/bad-sectors.ts';
import { Clock } from '../helpers/clock.ts';
import { createTempFolder, startMirror, type TestMirror } from '../helpers/mirror.ts';
import { runStoreCommand } from '../cli/run-store-command.ts';

async function start(t: ExecutionContext): Promise<TestMirror> {
  return startMirror(t, { upstreams: { 'hub.example': { url: 'http://127.0.0.1:9' } } });
}

async function run(t: ExecutionContext, { server }: TestMirror, args: readonly string[]) {
  const parts = { readStoreId: async () => undefined };
  return runStoreCommand(t, ['token', ...args], { admin: new URL(server.adminUrl).host, parts });
}

test('a token is made, listed without its secret, and taken back', async (t) => {
  const mirror = await start(t);
  const { code, stdout, stderr } = await run(t, mirror, [
    'create',
    'ci',
    '--owner',
    'alice',
    '--expires',
    '90d',
  ]);
  t.is(code, 0, stderr);
  t.regex(stdout, /^ent_[a-z0-9]{12}_[A-Za-z0-9_-]{43}\n$/);
  const secret = stdout.trim();
  const [, id = ''] = secret.split('_');
  const listed = await run(t, mirror, ['list']);
  t.regex(
    listed.stdout,
    new RegExp(
      `^ID +NAME +OWNER +ROLE +MADE +USED +EXPIRES\\n${id} +ci +alice +- .* never +\\d{4}-`,
    ),
  );
  t.false(listed.stdout.includes(secret));
  t.false(readFileSync(join(mirror.storePath, 'tokens.json'), 'utf8').includes(secret));
  t.is((await run(t, mirror, ['revoke', id])).stdout, `token ${id} counts no more\n`);
  t.is((await run(t, mirror, ['list'])).stdout, 'no token was made here\n');
  const again = await run(t, mirror, ['revoke', id]);
  t.deepEqual([again.code, again.stderr], [1, `entrepot: there is no token ${id}\n`]);
});

test("a key file has the form that clients take, and is its maker's alone", async (t) => {
  const mirror = await start(t);
  const path = join(await createTempFolder(t), 'key.json');
  const { code, stdout } = await run(t, mirror, ['create', 'site', '--json-key', path]);
  t.is(code, 0);
  t.false(stdout.includes('ent_'));
  t.like(JSON.parse(readFileSync(path, 'utf8')), { type: 'entrepot_key' });
  t.is(statSync(path).mode & 0o777, 0o600);
  t.is((await run(t, mirror, ['create', 'site', '--json-key', path])).code, 1);
  const other = `${path}.other`;
  t.is((await run(t, mirror, ['create', 'a b', '--json-key', other])).code, 64);
  t.false(existsSync(other));
  t.is((await run(t, mirror, ['create', 'x', '--expires', '1s'])).code, 64);
  t.is((await run(t, mirror, ['create', 'x', '--role', 'root'])).code, 64);
});

test('a token whose key file the disk does not take counts no more', async (t) => {
  const mirror = await start(t);
  const path = join(await createTempFolder(t), 'full-disk.json');
  await breakDisk(t, path, { call: 'writeFile', times: 1, code: 'ENOSPC' });
  const { code, stderr } = await run(t, mirror, ['create', 'site', '--json-key', path]);
  t.is(code, 1);
  t.is(stderr, `entrepot: ${path} cannot be written (ENOSPC)\n`);
  t.false(existsSync(path));
  t.is((await run(t, mirror, ['list'])).stdout, 'no token was made here\n');
});

test('a disk that refuses one change undoes no other one', async (t) => {
  const folder = await createTempFolder(t);
  const tokens = await ApiTokens.open(folder, new Clock(), () => t.fail());
  const { id, secret } = await tokens.create({ name: 'ci', owner: 'alice' });
  // Where the new file would be written.
  mkdirSync(join(folder, 'tokens.json.new'));
  t.truthy(tokens.find(secret));
  const refused = tokens.create({ name: 'other', owner: 'alice' });
  const revoked = refused
    .catch(() => undefined)
    .then(async () => {
      rmdirSync(join(folder, 'tokens.json.new'));
      return tokens.revoke(id);
    });
  await t.throwsAsync(refused);
  t.true(await revoked);
  t.is(tokens.find(secret), undefined);
  t.deepEqual(tokens.list(), []);
  const again = await ApiTokens.open(folder, new Clock(), () => t.fail());
  t.is(again.find(secret), undefined);
});

test('of a damaged file no token counts, and what it was is put beside', async (t) => {
  const first = await start(t);
  const { stdout } = await run(t, first, ['create', 'ci']);
  await first.stop();
  const path = join(first.storePath, 'tokens.json');
  writeFileSync(path, readFileSync(path, 'utf8').slice(0, -3));
  const second = await startMirror(t, {
    upstreams: { 'hub.example': { url: 'http://127.0.0.1:9' } },
    storePath: first.storePath,
  });
  t.is((await run(t, second, ['list'])).stdout, 'no token was made here\n');
  t.true(
    second.log.some(({ msg }) => msg === 'the file of tokens is damaged: none of them counts'),
  );
  t.true(existsSync(`${path}.damaged`));
  t.regex(stdout, /^ent_/);
});
