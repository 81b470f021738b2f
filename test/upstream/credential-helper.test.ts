import { readFileSync } from 'node:fs';
import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { askProvider } from '../../src/upstream/credentials/ask-provider.ts';
import { issueFromHelper } from '../../src/upstream/credentials/credential-helper.ts';
import { MINUTE } from '../helpers/clock.ts';
import { createTempFolder } from '../helpers/mirror.ts';
import { until } from '../helpers/until.ts';
import { REPOSITORY, UPSTREAM, refusalOf, startScene, told } from '../helpers/scene.ts';

const TOKEN = `GET token repository:${REPOSITORY}:pull`;
const HEAD_LATEST = `HEAD /v2/${REPOSITORY}/manifests/latest`;
const GET_APP = `GET /v2/${REPOSITORY}/manifests/<app>`;
const MISS = { status: 200, cache: 'entrepot; fwd=miss; stored', age: '0' };

interface Helper {
  readonly name: string;
  readonly program: string;
  /** The lines that the program was asked with so far. */
  readonly asked: () => Promise<string[]>;
  /** Gives the program another body. */
  readonly become: (script: string) => Promise<void>;
}

let helpers = 0;

/** A shell script that is a helper on the PATH of this file's tests. */
async function installHelper(t: ExecutionContext, script: string): Promise<Helper> {
  const folder = await createTempFolder(t);
  const name = `test-${++helpers}`;
  const program = join(folder, `docker-credential-${name}`);
  const log = join(folder, 'asked');
  const become = async (body: string): Promise<void> => {
    await writeFile(program, `#!/bin/sh\nread -r server\necho "$1 $server" >> '${log}'\n${body}\n`);
    await chmod(program, 0o755);
  };
  await become(script);
  process.env['PATH'] = `${folder}:${process.env['PATH']}`;
  const asked = async (): Promise<string[]> => (await readFile(log, 'utf8')).trim().split('\n');
  return { name, program, asked, become };
}

function prints(username: string, secret: string): string {
  const answer = JSON.stringify({ ServerURL: 'reg.example', Username: username, Secret: secret });
  return `cat <<'END'\n${answer}\nEND`;
}

function credentials(name: string) {
  return [{ provider: 'helper', name, server: 'reg.example:5000' }] as const;
}

test('a pull logs in with what the helper prints, and asks it once', async (t) => {
  const user = { username: '$robot', password: 'pa"ss:word' };
  const helper = await installHelper(t, prints(user.username, user.password));
  const { registry, manifest, blob, image } = await startScene(t, {
    registry: { auth: { kind: 'bearer', ...user } },
    upstream: { credentials: credentials(helper.name) },
  });
  t.deepEqual(told(await manifest('latest')), MISS);
  t.is((await blob(image.layer(0))).status, 200);
  t.deepEqual(registry.conversation(), [
    'GET /v2/',
    TOKEN,
    HEAD_LATEST,
    GET_APP,
    `GET /v2/${REPOSITORY}/blobs/<app.layer0>`,
  ]);
  t.deepEqual(await helper.asked(), ['get reg.example:5000']);
});

test('the name <token> means an identity token, which is exchanged by POST', async (t) => {
  const helper = await installHelper(t, prints('<token>', 'refresh-me'));
  const { registry, manifest } = await startScene(t, {
    registry: {
      auth: { kind: 'bearer', anonymous: false, postForm: true, identityToken: 'refresh-me' },
    },
    upstream: { credentials: credentials(helper.name) },
  });
  t.deepEqual(told(await manifest('latest')), MISS);
  t.deepEqual(
    registry.requests.map(({ origin, method }) => `${origin} ${method}`),
    ['registry GET', 'token POST', 'registry HEAD', 'registry GET'],
  );
});

test('a login that is made anew is known ten minutes later', async (t) => {
  const helper = await installHelper(t, prints('robot', 'old'));
  const { registry, manifest, clock } = await startScene(t, {
    registry: { auth: { kind: 'basic', username: 'robot', password: 'new' } },
    upstream: { credentials: credentials(helper.name) },
  });
  t.is((await manifest('latest')).status, 403);
  await helper.become(prints('robot', 'new'));
  clock.advance(10 * MINUTE);
  registry.clear();
  t.deepEqual(told(await manifest('latest')), MISS);
  t.deepEqual(await helper.asked(), ['get reg.example:5000', 'get reg.example:5000']);
});

test('a helper without the credentials is the reason that a pull is refused with', async (t) => {
  const helper = await installHelper(t, 'echo credentials not found in native keychain; exit 1');
  const { registry, manifest } = await startScene(t, {
    registry: { auth: { kind: 'bearer', anonymous: false } },
    upstream: { credentials: credentials(helper.name) },
  });
  t.deepEqual(refusalOf(await manifest('latest')), {
    status: 403,
    code: 'DENIED',
    message: `${UPSTREAM}: no credential from helper ${helper.name}: docker-credential-${helper.name} has no credentials for reg.example:5000`,
    detail: { upstream: UPSTREAM, fault: 'unauthorized' },
  });
  t.deepEqual(registry.conversation(), []);
});

const LONG = 'x'.repeat(300);
const FAULTS: Readonly<Record<string, readonly [script: string, says: string]>> = {
  'an error on standard output, its first line': [
    'echo "no store"; echo more; exit 1',
    'failed: no store',
  ],
  'an error on standard error': ['echo "no agent" >&2; exit 2', 'failed: no agent'],
  'a long error': [`echo ${LONG}; exit 1`, `failed: ${LONG.slice(0, 200)}`],
  'an error without a word': ['exit 3', 'failed'],
  'an answer and a failure': [`${prints('u', 'hunter2')}\nexit 1`, 'failed'],
  'a signal': ['kill -KILL $$', 'failed'],
  'no JSON': ['echo hunter2', 'printed no Username and Secret for reg.example:5000'],
  'broken JSON': [
    `echo '{"Secret":"hunter2"'`,
    'printed no Username and Secret for reg.example:5000',
  ],
  'no name': [prints('', 'hunter2'), 'printed no Username and Secret for reg.example:5000'],
  'an empty secret': [prints('u', ''), 'printed no Username and Secret for reg.example:5000'],
  'a number for a secret': [
    `echo '{"Username":"u","Secret":7}'`,
    'printed no Username and Secret for reg.example:5000',
  ],
  'nothing, with success': ['exit 0', 'printed no Username and Secret for reg.example:5000'],
  'output without end': ['yes hunter2', 'printed too much'],
};
for (const [what, [script, says]] of Object.entries(FAULTS)) {
  test(`a helper's fault is told in one line without a secret: ${what}`, async (t) => {
    const { name } = await installHelper(t, script);
    const error = await t.throwsAsync(
      askProvider(async () => issueFromHelper({ name, server: 'reg.example:5000' })),
    );
    t.is(error.message, `docker-credential-${name} ${says}`);
    t.is(error.cause, undefined);
  });
}

test('a helper that hangs is ended at its limit, and its child does not hold things up', async (t) => {
  const { name } = await installHelper(t, 'sleep 600');
  const error = await t.throwsAsync(
    askProvider(async () => issueFromHelper({ name, server: 'reg.example:5000' }), {
      limitMs: 200,
    }),
  );
  t.is(error.message, 'no answer within 0.2 s');
});

test('a program that is not there or may not be run is named', async (t) => {
  const issue = async (name: string) => issueFromHelper({ name, server: 'reg.example:5000' });
  const missing = await t.throwsAsync(issue('test-gone'));
  t.is(missing.message, 'docker-credential-test-gone is not on the PATH');
  const { name, program } = await installHelper(t, 'exit 0');
  await chmod(program, 0o644);
  const forbidden = await t.throwsAsync(issue(name));
  t.is(forbidden.message, `docker-credential-${name} may not be run`);
});

test('a helper that does not read what it is asked is no fault', async (t) => {
  const folder = await createTempFolder(t);
  const program = join(folder, 'docker-credential-test-deaf');
  await writeFile(program, `#!/bin/sh\nexec <&-\n${prints('u', 'p')}\n`);
  await chmod(program, 0o755);
  process.env['PATH'] = `${folder}:${process.env['PATH']}`;
  const issued = await issueFromHelper({
    name: 'test-deaf',
    server: `reg.example/${'x'.repeat(200_000)}`,
  });
  t.deepEqual(issued, {
    value: { kind: 'password', username: 'u', password: 'p' },
    lifeMs: 600_000,
  });
});

test('a helper that is late ends together with what it has started', async (t) => {
  const helper = await installHelper(t, '');
  const folder = await createTempFolder(t);
  const pid = join(folder, 'pid');
  // The shell's child holds the output open, and would live on.
  await helper.become(`sleep 600 &\necho $! > '${pid}'\nwait`);
  const { name } = helper;
  const asking = askProvider(async () => issueFromHelper({ name, server: 'reg.example' }), {
    limitMs: 300,
  });
  await t.throwsAsync(asking, { message: 'no answer within 0.3 s' });
  const child = Number(await readFile(pid, 'utf8'));
  await until('the child is gone', () => !isRunning(child));
  t.pass();
});

test('a helper that has ended while what it started holds its output ends at the limit', async (t) => {
  const helper = await installHelper(t, `sleep 600 &\n${prints('robot', 'secret')}`);
  const { name } = helper;
  const asking = askProvider(async () => issueFromHelper({ name, server: 'reg.example' }), {
    limitMs: 300,
  });
  await t.throwsAsync(asking, { message: 'no answer within 0.3 s' });
});

test('a helper that prints without an end is stopped', async (t) => {
  const helper = await installHelper(t, 'yes');
  const { name } = helper;
  await t.throwsAsync(
    askProvider(async () => issueFromHelper({ name, server: 'reg.example' })),
    {
      message: /printed too much/,
    },
  );
});

function isRunning(pid: number): boolean {
  try {
    // A dead process that nobody has waited for is a zombie.
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}
