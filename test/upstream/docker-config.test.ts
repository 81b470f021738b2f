import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { Credential } from '../../src/upstream/credentials/credential.ts';
import { issueFromDockerConfig } from '../../src/upstream/credentials/docker-config.ts';
import { MINUTE } from '../helpers/clock.ts';
import { createTempFolder } from '../helpers/mirror.ts';
import { REPOSITORY, UPSTREAM, refusalOf, startScene, told } from '../helpers/scene.ts';

const HEAD_LATEST = `HEAD /v2/${REPOSITORY}/manifests/latest`;
const MISS = { status: 200, cache: 'entrepot; fwd=miss; stored', age: '0' };
const USER = { username: 'org+robot', password: 'pass:word' };
const HUB = 'https://index.docker.io/v1/';

function base64(text: string): string {
  return Buffer.from(text).toString('base64');
}

const AUTH = base64(`${USER.username}:${USER.password}`);

async function writeConfig(t: ExecutionContext, document: unknown): Promise<string> {
  const file = join(await createTempFolder(t), 'config.json');
  await writeFile(file, typeof document === 'string' ? document : JSON.stringify(document));
  return file;
}

test('a pull logs in with what docker login left, and with what it leaves later', async (t) => {
  const file = await writeConfig(t, { auths: { 'reg.example': { auth: base64('robot:old') } } });
  const { registry, manifest, clock } = await startScene(t, {
    registry: { auth: { kind: 'basic', ...USER } },
    upstream: { credentials: [{ provider: 'docker-config', file, server: 'reg.example' }] },
  });
  t.is((await manifest('latest')).status, 403);
  await writeFile(file, JSON.stringify({ auths: { 'reg.example': { auth: AUTH } } }));
  clock.advance(10 * MINUTE);
  registry.clear();
  t.deepEqual(told(await manifest('latest')), MISS);
  t.deepEqual(
    registry.requests.map(({ method, authorization }) => `${method} ${authorization}`),
    ['HEAD basic:org+robot', 'GET basic:org+robot'],
  );
});

test('a file without the registry is the reason that a pull is refused with', async (t) => {
  const file = await writeConfig(t, { auths: { 'other.example': { auth: AUTH } } });
  const { registry, manifest } = await startScene(t, {
    registry: { auth: { kind: 'basic', ...USER } },
    upstream: { credentials: [{ provider: 'docker-config', file, server: 'reg.example' }] },
  });
  t.deepEqual(refusalOf(await manifest('latest')), {
    status: 403,
    code: 'DENIED',
    message: `${UPSTREAM}: no credential from docker-config: ${file} has no credentials for reg.example`,
    detail: { upstream: UPSTREAM, fault: 'unauthorized' },
  });
  t.deepEqual(registry.conversation(), []);
});

test('a file that goes away does not end a login that works', async (t) => {
  const file = await writeConfig(t, { auths: { 'reg.example': { auth: AUTH } } });
  const { registry, manifest, clock } = await startScene(t, {
    registry: { auth: { kind: 'basic', ...USER } },
    upstream: { credentials: [{ provider: 'docker-config', file, server: 'reg.example' }] },
  });
  t.is((await manifest('latest')).status, 200);
  await writeFile(file, '');
  clock.advance(9 * MINUTE);
  registry.clear();
  t.is((await manifest('latest')).status, 200);
  t.deepEqual(registry.conversation(), [HEAD_LATEST]);
});

interface Case {
  readonly file: object;
  readonly server?: string;
  readonly gives: Credential;
}

const reads = test.macro({
  async exec(t: ExecutionContext, _claim: string, { file, server = 'reg.example', gives }: Case) {
    const path = await writeConfig(t, file);
    const issued = await issueFromDockerConfig({ file: path, server });
    t.deepEqual(issued, { value: gives, lifeMs: 600_000 });
  },
  title: (_, claim) => claim,
});

const PASSWORD: Credential = { kind: 'password', ...USER };
const OTHER = { username: 'other', password: 'other' };
test(reads, 'name and password in base64', {
  file: { auths: { 'reg.example': { auth: AUTH } } },
  gives: PASSWORD,
});
test(reads, 'name and password in base64, filled with NULs', {
  file: { auths: { 'reg.example': { auth: base64('u:p\0\0') } } },
  gives: { kind: 'password', username: 'u', password: 'p' },
});
test(reads, 'name and password as they are', {
  file: { auths: { 'reg.example': USER } },
  gives: PASSWORD,
});
test(reads, 'an identity token goes before name and password', {
  file: { auths: { 'reg.example': { auth: AUTH, identitytoken: 'refresh' } } },
  gives: { kind: 'identity-token', token: 'refresh' },
});
test(reads, 'a registry token is a bearer token', {
  file: { auths: { 'reg.example': { registrytoken: 'ready' } } },
  gives: { kind: 'bearer', token: 'ready' },
});
for (const key of [
  'reg.example',
  'https://reg.example',
  'https://reg.example/',
  'http://reg.example/v1/',
  'https://reg.example/v2/',
  'REG.example',
  'reg.example/namespace',
]) {
  test(reads, `the key ${key} means reg.example`, {
    file: { auths: { 'other.example': OTHER, 'reg.example:5000': OTHER, [key]: USER } },
    gives: PASSWORD,
  });
}
for (const key of [HUB, 'docker.io', 'index.docker.io', 'registry-1.docker.io']) {
  test(reads, `the key ${key} means Docker Hub`, {
    file: { auths: { [key]: USER } },
    server: HUB,
    gives: PASSWORD,
  });
}
test(reads, 'a key for the host goes before one for a namespace', {
  file: { auths: { 'reg.example/a': OTHER, 'https://reg.example': USER } },
  gives: PASSWORD,
});
test(reads, 'the very key goes before all', {
  file: { auths: { 'reg.example': OTHER, 'reg.example/b': USER } },
  server: 'reg.example/b',
  gives: PASSWORD,
});
test(reads, "another registry's helper has no part in it", {
  file: { credHelpers: { 'other.example': 'gone' }, auths: { 'reg.example': USER } },
  gives: PASSWORD,
});
test(reads, 'an empty helper means the file itself', {
  file: { credHelpers: { 'reg.example': '' }, credsStore: 'gone', auths: { 'reg.example': USER } },
  gives: PASSWORD,
});

const HELPED: Credential = { kind: 'password', username: 'helped', password: 'reg.example' };

/** Two helpers on the PATH: their password is the server that they are asked for. */
async function installHelpers(t: ExecutionContext): Promise<void> {
  const folder = await createTempFolder(t);
  for (const name of ['config-one', 'config.two']) {
    const program = join(folder, `docker-credential-${name}`);
    const answer = `{"Username":"helped","Secret":"$server"}`;
    await writeFile(program, `#!/bin/sh\nread -r server\ncat <<END\n${answer}\nEND\n`);
    await chmod(program, 0o755);
  }
  process.env['PATH'] = `${folder}:${process.env['PATH']}`;
}

for (const [what, file] of Object.entries({
  "the registry's helper goes before the one of all": {
    credHelpers: { 'reg.example': 'config-one' },
    credsStore: 'gone',
  },
  'the helper of all goes before the file itself, as with Docker': {
    credsStore: 'config.two',
    auths: { 'reg.example': OTHER },
  },
})) {
  test(what, async (t) => {
    await installHelpers(t);
    const path = await writeConfig(t, file);
    const { value } = await issueFromDockerConfig({
      file: path,
      server: 'reg.example',
    });
    t.deepEqual(value, HELPED);
  });
}

const faults: Readonly<Record<string, readonly [document: unknown, says: string]>> = {
  'no entries': [{}, 'FILE has no credentials for reg.example'],
  'an entry that a helper keeps': [
    { auths: { 'reg.example': {} } },
    'FILE has no credentials for reg.example',
  ],
  'base64 of something else': [
    { auths: { 'reg.example': { auth: base64('hunter2') } } },
    'FILE has no credentials for reg.example',
  ],
  'a name without a password': [
    { auths: { 'reg.example': { auth: base64('u:') } } },
    'FILE has no credentials for reg.example',
  ],
  'entries of the wrong type': [
    { auths: ['hunter2'], credHelpers: 'hunter2', credsStore: 7 },
    'FILE has no credentials for reg.example',
  ],
  'an entry that is nothing': [
    { auths: { 'reg.example': null } },
    'FILE has no credentials for reg.example',
  ],
  'broken JSON': [
    '{"auths":{"hunter2"',
    'FILE is not JSON as docker login or podman login writes it',
  ],
  'a list': ['["hunter2"]', 'FILE is not JSON as docker login or podman login writes it'],
  'a helper that is not there': [
    { credsStore: 'test-gone' },
    'docker-credential-test-gone is not on the PATH',
  ],
  'a helper with a path': [
    { credHelpers: { 'reg.example': '../../tmp/hunter2' } },
    'FILE names a credential helper that cannot be a program',
  ],
};
for (const [what, [document, says]] of Object.entries(faults)) {
  test(`a faulty file is told without what it holds: ${what}`, async (t) => {
    const file = await writeConfig(t, document);
    const error = await t.throwsAsync(issueFromDockerConfig({ file, server: 'reg.example' }));
    t.is(error.message, says.replace('FILE', file));
  });
}

test('a file that is gone is named', async (t) => {
  const file = join(await createTempFolder(t), 'gone.json');
  const error = await t.throwsAsync(issueFromDockerConfig({ file, server: 'reg.example' }));
  t.is(error.message, `cannot read ${file}: there is no such file`);
});
