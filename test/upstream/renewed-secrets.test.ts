import { mkdir, rename, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { CredentialsConfig } from '../../src/config/config.ts';
import type { AuthOptions } from '../helpers/fake-token-server.ts';
import { createTempFolder } from '../helpers/mirror.ts';
import { buildImage } from '../helpers/image.ts';
import { REPOSITORY, UPSTREAM, startScene, type Scene } from '../helpers/scene.ts';

type Writable<T> = { -readonly [Key in keyof T]: T[Key] };

const OLD = 'old-password';
const NEW = 'new-password';
const KEPT = 'the file of a secret cannot be used, and the secret of before is kept';
const RENEWED = 'the file of a secret is read again';
const SCOPE = `repository:${REPOSITORY}:pull`;

interface Rotation extends Scene {
  /** As the registry knows the account from now on. */
  readonly auth: Writable<AuthOptions>;
  readonly file: string;
}

async function startRotation(
  t: ExecutionContext,
  kind: AuthOptions['kind'],
  {
    provider = 'password',
    text = (secret: string) => secret,
  }: {
    provider?: 'password' | 'identity-token' | 'docker-config';
    text?: (secret: string) => string;
  } = {},
): Promise<Rotation> {
  const file = join(await createTempFolder(t), 'secret');
  await writeFile(file, text(OLD));
  const entries: Record<string, CredentialsConfig> = {
    password: { provider: 'password', username: 'robot', password: OLD, file },
    'identity-token': { provider: 'identity-token', token: OLD, file },
    'docker-config': { provider: 'docker-config', file, server: 'reg.example' },
  };
  const auth: Writable<AuthOptions> =
    provider === 'identity-token'
      ? { kind, username: 'robot', identityToken: OLD, postForm: true }
      : { kind, username: 'robot', password: OLD };
  const scene = await startScene(t, {
    registry: { auth },
    upstream: { credentials: [entries[provider]!], hydrate: 'off' },
  });
  return { ...scene, auth, file };
}

/** As a tool that does it well: nobody ever sees a half. */
async function replace(file: string, text: string): Promise<void> {
  await writeFile(`${file}.new`, text);
  await rename(`${file}.new`, file);
}

/** Something that was not pulled before. */
function addImage({ registry }: Scene, tag: string): void {
  registry.addImage(REPOSITORY, tag, buildImage({ seed: tag, layers: [10] }), { name: tag });
}

test('a password whose file is replaced is the new one with the next request', async (t) => {
  const scene = await startRotation(t, 'basic');
  const { registry, mirror, manifest, auth, file } = scene;
  t.is((await manifest('latest')).status, 200);
  await replace(file, `${NEW}\n`);
  auth.password = NEW;
  addImage(scene, 'next');
  registry.clear();
  t.is((await manifest('next')).status, 200);
  t.deepEqual(registry.conversation(), [
    `HEAD /v2/${REPOSITORY}/manifests/next`,
    `GET /v2/${REPOSITORY}/manifests/<next>`,
  ]);
  t.is(mirror.log.filter(({ msg }) => msg === RENEWED).length, 1);
  t.notRegex(JSON.stringify(mirror.log), new RegExp(`${OLD}|${NEW}`));
});

test('a new password makes a new token, and the old one is used no more', async (t) => {
  const scene = await startRotation(t, 'bearer');
  const { registry, manifest, auth, file } = scene;
  t.is((await manifest('latest')).status, 200);
  auth.password = NEW;
  registry.revokeTokens();
  await replace(file, NEW);
  addImage(scene, 'next');
  registry.clear();
  t.is((await manifest('next', { method: 'HEAD' })).status, 200);
  t.deepEqual(registry.conversation(), [
    `GET token ${SCOPE}`,
    `HEAD /v2/${REPOSITORY}/manifests/next`,
  ]);
});

test('a file that looks as before is read again when its password is refused', async (t) => {
  const scene = await startRotation(t, 'basic');
  const { manifest, auth, file } = scene;
  const stamp = new Date(1_700_000_000_000);
  await utimes(file, stamp, stamp);
  t.is((await manifest('latest')).status, 200);
  // Of the same length, and with the time of before, as on a file system that keeps whole seconds.
  await writeFile(file, NEW);
  await utimes(file, stamp, stamp);
  auth.password = NEW;
  addImage(scene, 'next');
  t.is((await manifest('next')).status, 200);
});

test('an identity token whose file is replaced is the new one', async (t) => {
  const scene = await startRotation(t, 'bearer', { provider: 'identity-token' });
  const { manifest, auth, file } = scene;
  t.is((await manifest('latest')).status, 200);
  auth.identityToken = NEW;
  await replace(file, NEW);
  addImage(scene, 'next');
  t.is((await manifest('next')).status, 200);
});

test("a login that docker writes into its file counts at once, and not only when the old one's time is over", async (t) => {
  const text = (password: string): string =>
    JSON.stringify({
      auths: { 'reg.example': { auth: Buffer.from(`robot:${password}`).toString('base64') } },
    });
  const scene = await startRotation(t, 'basic', { provider: 'docker-config', text });
  const { mirror, manifest, auth, file } = scene;
  t.is((await manifest('latest')).status, 200);
  await replace(file, '{"auths":');
  addImage(scene, 'between');
  t.is((await manifest('between')).status, 200);
  auth.password = NEW;
  await replace(file, text(NEW));
  addImage(scene, 'next');
  t.is((await manifest('next')).status, 200);
  t.deepEqual(
    mirror.log.filter(({ msg }) => msg === KEPT || msg === RENEWED).map(({ msg }) => msg),
    [KEPT, RENEWED],
  );
});

for (const [how, spoil, reason] of [
  ['missing', async (file: string) => rm(file), 'cannot read FILE: there is no such file'],
  [
    'empty',
    async (file: string) => writeFile(file, '\n'),
    'FILE is empty; the secret belongs there',
  ],
  [
    'a folder',
    async (file: string) => rm(file).then(async () => mkdir(file)),
    'FILE is no plain file of at most 1 MiB',
  ],
  [
    'too long',
    async (file: string) => writeFile(file, Buffer.alloc(1024 * 1024 + 1, 'x')),
    'FILE is no plain file of at most 1 MiB',
  ],
] as const) {
  test(`a file that is ${how} for a while keeps the password of before, and is told once`, async (t) => {
    const scene = await startRotation(t, 'basic');
    const { mirror, manifest, auth, file } = scene;
    t.is((await manifest('latest')).status, 200);
    await spoil(file);
    for (const tag of ['one', 'two']) {
      addImage(scene, tag);
      t.is((await manifest(tag)).status, 200);
    }
    const told = (): object[] =>
      mirror.log.flatMap(({ msg, level, upstream, account, reason: why }) =>
        msg === KEPT || msg === RENEWED ? [{ msg, level, upstream, account, why }] : [],
      );
    const of = { upstream: UPSTREAM, account: 'robot' };
    const kept = { ...of, msg: KEPT, level: 'warn', why: reason.replace('FILE', file) };
    t.deepEqual(told(), [kept]);
    auth.password = NEW;
    await rm(file, { recursive: true, force: true });
    await writeFile(file, NEW);
    addImage(scene, 'three');
    t.is((await manifest('three')).status, 200);
    t.deepEqual(told(), [kept, { ...of, msg: RENEWED, level: 'info', why: undefined }]);
  });
}

test('a folder of secrets that is swapped behind a link, as Kubernetes does, is followed', async (t) => {
  const folder = await createTempFolder(t);
  const write = async (version: string, password: string): Promise<void> => {
    await mkdir(join(folder, version));
    await writeFile(join(folder, version, 'password'), password);
    await symlink(version, join(folder, '..new'));
    await rename(join(folder, '..new'), join(folder, '..data'));
  };
  await write('..1', OLD);
  const file = join(folder, 'password');
  await symlink('..data/password', file);
  const auth: Writable<AuthOptions> = { kind: 'basic', username: 'robot', password: OLD };
  const scene = await startScene(t, {
    registry: { auth },
    upstream: {
      credentials: [{ provider: 'password', username: 'robot', password: OLD, file }],
      hydrate: 'off',
    },
  });
  t.is((await scene.manifest('latest')).status, 200);
  await write('..2', NEW);
  auth.password = NEW;
  addImage(scene, 'next');
  t.is((await scene.manifest('next')).status, 200);
});

test('a password that came later is struck out of what the upstream says', async (t) => {
  const scene = await startRotation(t, 'basic');
  const { registry, manifest, auth, file } = scene;
  t.is((await manifest('latest')).status, 200);
  await replace(file, NEW);
  auth.password = NEW;
  const errors = [{ code: 'DENIED', message: `no entry for ${NEW}` }];
  registry.status(`/v2/${REPOSITORY}/manifests/gone`, 403, {
    times: Infinity,
    contentType: 'application/json',
    body: JSON.stringify({ errors }),
  });
  const { body } = await manifest('gone');
  t.regex(body.toString(), /no entry for \(hidden\)/);
});
