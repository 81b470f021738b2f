/** Clients ask for tokens by the names that they know: the token counts for the repository that is meant. */
import { hashSync } from '@node-rs/bcrypt';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { get } from '../helpers/client.ts';
import { buildImage } from '../helpers/image.ts';
import { createTempFolder, startMirror } from '../helpers/mirror.ts';

const HUB = 'docker.io';
const PORTED = 'registry.test:5000';
const IMAGE = buildImage({ seed: 'scopes', layers: [1000] });
const ALICE = `Basic ${Buffer.from('alice:wonder').toString('base64')}`;
/** As Docker, Podman and skopeo take them: three parts. */
const SCOPE = /^[^:]+:[^:]+:pull$/;

async function start(t: ExecutionContext) {
  const registry = await FakeRegistry.start(t);
  registry.addImage('library/app', 'v1', IMAGE);
  const file = join(await createTempFolder(t), 'htpasswd');
  writeFileSync(file, `alice:${hashSync('wonder', 4)}\n`);
  const mirror = await startMirror(t, {
    upstreams: { [HUB]: { url: registry.url }, [PORTED]: { url: registry.url } },
    access: {
      token: { ttl: 300_000 },
      htpasswd: { file },
      rules: [{ who: ['user:alice'], may: ['pull'], images: ['**'] }],
    },
  });
  const ask = async (path: string, authorization?: string) =>
    get(`${mirror.url}${path}`, {
      headers: { accept: '*/*', ...(authorization && { authorization }) },
    });
  const tokenFor = async (scope: string) => {
    const { body } = await ask(`/token?${new URLSearchParams({ scope }).toString()}`, ALICE);
    return `Bearer ${(JSON.parse(String(body)) as { token: string }).token}`;
  };
  return { ask, tokenFor };
}

const PATHS = [
  'library/app',
  'app',
  'docker.io/library/app',
  'docker.io/app',
  'index.docker.io/library/app',
  'registry.test_5000/library/app',
];

test('a token for the name that stands in the path, or that the challenge says, is for the image', async (t) => {
  const { ask, tokenFor } = await start(t);
  for (const name of PATHS) {
    const path = `/v2/${name}/manifests/v1`;
    const refused = await ask(path);
    const [, told = ''] = /scope="([^"]*)"/.exec(String(refused.headers['www-authenticate'])) ?? [];
    t.regex(told, SCOPE, name);
    for (const scope of [told, `repository:${name}:pull`]) {
      t.is((await ask(path, await tokenFor(scope))).status, 200, `${name} by ${scope}`);
    }
    const other = await ask(path, await tokenFor('repository:library/other:pull'));
    t.is(other.status, 401, name);
    t.regex(String(other.headers['www-authenticate']), /error="insufficient_scope"/);
  }
  const namespaced = `/v2/library/app/manifests/v1?ns=${PORTED}`;
  t.is((await ask(namespaced, await tokenFor('repository:library/app:pull'))).status, 200);
});

test('a token for a hundred repositories is for each of them', async (t) => {
  const { ask } = await start(t);
  const names = Array.from({ length: 99 }, (_, n) => `${'team/'.repeat(14)}app-${n}`);
  const scopes = [...names, 'library/app'].map((name) => ['scope', `repository:${name}:pull`]);
  const { body } = await ask(`/token?${new URLSearchParams(scopes).toString()}`, ALICE);
  const token = `Bearer ${(JSON.parse(String(body)) as { token: string }).token}`;
  t.is((await ask('/v2/', token)).status, 200);
  t.is((await ask('/v2/library/app/manifests/v1', token)).status, 200);
});
